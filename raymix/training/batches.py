"""Batches of scaled rows, drawn from blocks without a second copy of the data set.

Shapes: M members of a stack, B rows of a batch, S steps, n rows of a block.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raymix.config import DataConfig
from raymix.data.source import DataSpec

ROOM = 0.25  # of a device's free memory that rows may take
CHUNK_BYTES = 2 * 2**20  # of a member's scaled rows that are gathered at a time


class Scaler(NamedTuple):
    """Between data units and the units models work in: scaled = (rows - offset) * scale."""

    offset: Tensor
    scale: Tensor
    dtype: torch.dtype
    """Type of the scaled rows."""

    @classmethod
    def of(cls, config: DataConfig, spec: DataSpec, device: torch.device, dtype: torch.dtype) -> "Scaler":
        """One constant, or one per column of a vector, as the resolved config has them."""
        assert config.offset is not None and config.scale is not None
        # float64 rows may lie far from 0, where float32 would merge them before the offset is taken off
        exact = torch.float64 if spec.dtype == "float64" else dtype
        offset, scale = (
            torch.tensor(values[0] if len(values) == 1 else values, dtype=exact, device=device)
            for values in (config.offset, config.scale)
        )
        return cls(offset, scale, dtype)

    def scaled(self, rows: Tensor) -> Tensor:
        """On the scaler's device. Rows travel there in the data's own dtype; pinned ones do in the background."""
        moved = rows.to(self.offset.device, non_blocking=True)
        return ((moved.to(self.offset.dtype) - self.offset) * self.scale).to(self.dtype)

    def unscaled(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Back to data units, in float64."""
        offset, scale = (values.cpu().double().numpy() for values in (self.offset, self.scale))
        return rows.astype(np.float64) / scale + offset


class RowView:
    """Some rows of some blocks, in ascending order, numbered from 0."""

    def __init__(
        self, blocks: Sequence[NDArray[np.generic]], rows_in_block: Sequence[NDArray[np.int64]] | None
    ) -> None:
        """`rows_in_block`: the chosen rows of each block; None for all rows of all blocks."""
        self.blocks, self.rows_in_block = blocks, rows_in_block
        counts = [len(block) for block in blocks] if rows_in_block is None else [len(rows) for rows in rows_in_block]
        self.starts = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def empty(self, *sizes: int, pinned: bool = False) -> Tensor:
        """Room for rows, (*sizes, *row_shape), in the data's own dtype and torch's own memory; `pinned` for a GPU."""
        shape, dtype = (*sizes, *self.blocks[0].shape[1:]), torch_dtype(self.blocks[0].dtype)
        return torch.empty(shape, dtype=dtype, pin_memory=pinned)

    def take(self, numbers: NDArray[np.int64], out: Tensor | None = None) -> Tensor:
        """The rows of these numbers, (len(numbers), *row_shape), put into `out` where it is given."""
        first = self.blocks[0]
        out = self.empty(len(numbers)) if out is None else out
        target = out.numpy()
        if len(self.blocks) == 1:
            np.take(first, self._in_block(0, numbers), axis=0, out=target, mode="clip")
            return out
        block_of = np.searchsorted(self.starts, numbers, side="right") - 1
        for b in np.unique(block_of):
            here = np.flatnonzero(block_of == b)
            target[here] = self.blocks[b][self._in_block(b, numbers[here] - self.starts[b])]
        return out

    def _in_block(self, block: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        return numbers if self.rows_in_block is None else self.rows_in_block[block][numbers]


def torch_dtype(dtype: np.dtype) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype


class Draws:
    """Batches of scaled rows for the members of a stack, drawn with replacement, each from a view and by a generator of
    its own: what a member sees does not depend on the others."""

    def __init__(
        self,
        views: Sequence[RowView],
        rngs: Sequence[np.random.Generator],
        scaler: Scaler,
        batch_size: int,
        steps: int,
        resident: bool | None = None,
        places: NDArray[np.int64] | None = None,
    ) -> None:
        """`steps` are the batches that will be asked for in all. With `resident` the views are moved to the scaler's
        device once and batches are gathered there, as is done on GPUs where there is room. `places`: only these rows of
        every batch are given."""
        self.views, self.rngs, self.scaler = list(views), list(rngs), scaler
        device = scaler.offset.device
        if resident is None:
            resident = device.type == "cuda" and num_bytes(views) < ROOM * torch.cuda.mem_get_info(device)[0]
        self.on_device = residents(views, device) if resident else None
        self.batch_size, self.left, self.places = batch_size, steps, places
        self.rows_given = batch_size if places is None else len(places)
        row_bytes = 4 * math.prod(self.views[0].blocks[0].shape[1:])
        self.steps_in_chunk = max(1, CHUNK_BYTES // (row_bytes * batch_size))
        self._chunk, self._used = torch.empty(0, 0), 0

    def batch(self) -> Tensor:
        """The next batch of every member, (M, B, *row_shape)."""
        if self._used == self._chunk.shape[1]:
            steps = min(self.steps_in_chunk, self.left)
            self.left -= steps
            num = steps * self.batch_size
            numbers = [rng.integers(0, len(view), size=num) for view, rng in zip(self.views, self.rngs, strict=True)]
            if self.places is not None:
                numbers = [each.reshape(steps, -1)[:, self.places].ravel() for each in numbers]
            self._chunk, self._used = self.scaler.scaled(self._gathered(numbers)), 0
        start, self._used = self._used, self._used + self.rows_given
        return self._chunk[:, start : self._used]

    def _gathered(self, numbers: Sequence[NDArray[np.int64]]) -> Tensor:
        """(M, rows, *row_shape) in the data's own dtype."""
        if self.on_device is not None:
            pairs = zip(self.on_device, numbers, strict=True)
            return torch.stack([rows[torch.from_numpy(each).to(rows.device)] for rows, each in pairs])
        pinned = self.scaler.offset.device.type == "cuda"
        raw = self.views[0].empty(len(self.views), len(numbers[0]), pinned=pinned)
        for view, each, room in zip(self.views, numbers, raw, strict=True):
            view.take(each, room)
        return raw

    def keep(self, members: Sequence[int]) -> None:
        """Go on with some of the members."""
        self.views, self.rngs = [self.views[m] for m in members], [self.rngs[m] for m in members]
        if self.on_device is not None:
            self.on_device = [self.on_device[m] for m in members]
        self._chunk = self._chunk[list(members)]


def residents(views: Sequence[RowView], device: torch.device) -> list[Tensor]:
    """All rows of each view on a device; views of whole blocks share theirs."""
    whole: dict[int, Tensor] = {}
    found = []
    for view in views:
        if view.rows_in_block is not None:
            found.append(view.take(np.arange(len(view))).to(device))
            continue
        key = id(view.blocks[0])
        if key not in whole:
            whole[key] = view.take(np.arange(len(view))).to(device)
        found.append(whole[key])
    return found


def num_bytes(views: Sequence[RowView]) -> int:
    """What `residents` takes."""
    parts = {id(view.blocks[0]) if view.rows_in_block is None else id(view): view for view in views}
    return sum(len(view) * view.empty(1).nbytes for view in parts.values())


def all_batches(view: RowView, scaler: Scaler, batch_size: int) -> Iterator[Tensor]:
    """Every row once, in order."""
    for start in range(0, len(view), batch_size):
        numbers = np.arange(start, min(start + batch_size, len(view)))
        yield scaler.scaled(view.take(numbers))
