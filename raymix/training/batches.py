"""Batches of scaled rows, drawn from blocks without a second copy of the data set.

Shapes: M members of a stack, B rows of a batch, S steps, n rows of a block.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raymix.config import DataConfig
from raymix.data.source import DataSpec
from raymix.training.paging import Blocks, PagedBlocks, form_of, sizes_of

ROOM = 0.25  # of a device's free memory that rows may take
CHUNK_BYTES = 2 * 2**20  # of a member's scaled rows that are gathered at a time


class Scaler(NamedTuple):
    """Between data units and the units models work in: scaled = (rows - offset) * scale.

    A column of scale 0 is held at its offset.
    """

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
        return rows.astype(np.float64) / np.where(scale == 0, np.inf, scale) + offset


class RowView:
    """Some rows of some blocks, in ascending order, numbered from 0."""

    def __init__(self, blocks: Blocks, rows_in_block: Sequence[NDArray[np.int64]] | None) -> None:
        """`rows_in_block`: the chosen rows of each block; None for all rows of all blocks."""
        self.blocks, self.rows_in_block = blocks, rows_in_block
        self.row_shape, self.dtype = form_of(blocks)
        counts = sizes_of(blocks) if rows_in_block is None else [len(rows) for rows in rows_in_block]
        self.starts = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def empty(self, *sizes: int, pinned: bool = False, device: torch.device | None = None) -> Tensor:
        """Room for rows, (*sizes, *row_shape), in the data's own dtype and torch's own memory; `pinned` for a GPU."""
        dtype = torch_dtype(self.dtype)
        return torch.empty((*sizes, *self.row_shape), dtype=dtype, pin_memory=pinned, device=device)

    def take(self, numbers: NDArray[np.int64], out: Tensor | None = None) -> Tensor:
        """The rows of these numbers, (len(numbers), *row_shape), put into `out` where it is given."""
        out = self.empty(len(numbers)) if out is None else out
        take_all([self], [numbers], [out])
        return out

    def by_block(self, numbers: NDArray[np.int64]) -> dict[int, tuple[NDArray[np.int64] | None, NDArray[np.int64]]]:
        """Where rows of these numbers lie: {block: (positions among the numbers, rows of the block)}, in ascending
        order; the positions are None where there is one block only."""
        if len(self.blocks) == 1:
            return {0: (None, self._in_block(0, numbers))}
        block_of = np.searchsorted(self.starts, numbers, side="right") - 1
        found: dict[int, tuple[NDArray[np.int64] | None, NDArray[np.int64]]] = {}
        for b in np.flatnonzero(np.bincount(block_of)).tolist():
            here = np.flatnonzero(block_of == b)
            found[b] = here, self._in_block(b, numbers[here] - self.starts[b])
        return found

    def _in_block(self, block: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        return numbers if self.rows_in_block is None else self.rows_in_block[block][numbers]


def take_all(views: Sequence[RowView], numbers: Sequence[NDArray[np.int64]], outs: Sequence[Tensor]) -> None:
    """As every view's `take` of its numbers into its `out`. Of blocks that views share each is looked up once."""
    takes = [(view, view.by_block(each), out.numpy()) for view, each, out in zip(views, numbers, outs, strict=True)]
    for blocks in {id(view.blocks): view.blocks for view in views}.values():
        sharing = [(places, target) for view, places, target in takes if view.blocks is blocks]
        for b in sorted({b for places, _ in sharing for b in places}):
            rows = blocks[b]
            for positions, inside, target in ((*places[b], target) for places, target in sharing if b in places):
                if positions is None:
                    np.take(rows, inside, axis=0, out=target, mode="clip")
                else:
                    target[positions] = rows[inside]


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
        self.residents = Residents.of(views, device) if resident else None
        self.batch_size, self.left, self.places = batch_size, steps, places
        self.rows_given = batch_size if places is None else len(places)
        row_bytes = 4 * math.prod(self.views[0].row_shape)
        self.steps_in_chunk = max(1, CHUNK_BYTES // (row_bytes * batch_size))
        self.steps_ahead = max(self.steps_in_chunk, 0 if resident else steps_of_a_pass(self.views, batch_size))
        self._chunk, self._used = torch.empty(0, 0), 0
        self._ahead = self.views[0].empty(len(self.views), 0)
        """Rows that are gathered and not scaled yet."""

    def batch(self) -> Tensor:
        """The next batch of every member, (M, B, *row_shape)."""
        if self._used == self._chunk.shape[1]:
            if not self._ahead.shape[1]:
                self._ahead = self.views[0].empty(len(self.views), 0)  # gives back the memory of those before
                self._ahead = self._gathered(min(self.steps_ahead, self.left))
            num = self.steps_in_chunk * self.rows_given
            self._chunk, self._used = self.scaler.scaled(self._ahead[:, :num]), 0
            self._ahead = self._ahead[:, num:]
        start, self._used = self._used, self._used + self.rows_given
        return self._chunk[:, start : self._used]

    def _gathered(self, steps: int) -> Tensor:
        """The rows of the next steps, (M, rows, *row_shape) in the data's own dtype."""
        self.left -= steps
        num = steps * self.batch_size
        numbers = [rng.integers(0, len(view), size=num) for view, rng in zip(self.views, self.rngs, strict=True)]
        if self.places is not None:
            numbers = [each.reshape(steps, -1)[:, self.places].ravel() for each in numbers]
        if self.residents is not None:
            return self.residents.gathered(numbers)
        raw = self.views[0].empty(len(self.views), len(numbers[0]), pinned=self.scaler.offset.device.type == "cuda")
        take_all(self.views, numbers, list(raw))
        return raw

    def keep(self, members: Sequence[int]) -> None:
        """Go on with some of the members."""
        self.views, self.rngs = [self.views[m] for m in members], [self.rngs[m] for m in members]
        if self.residents is not None:
            self.residents = self.residents.only(members)
        self._chunk, self._ahead = self._chunk[list(members)], self._ahead[list(members)]


def steps_of_a_pass(views: Sequence[RowView], batch_size: int) -> int:
    """Steps whose rows are gathered in one pass over paged blocks; 0 where all blocks are at hand."""
    ahead = [view.blocks.ahead_bytes for view in views if isinstance(view.blocks, PagedBlocks)]
    return min(ahead) // (len(views) * batch_size * views[0].empty(1).nbytes) if ahead else 0


class Residents(NamedTuple):
    """All rows of some views on a device."""

    rows: Tensor
    starts_M: NDArray[np.int64]
    """Where the rows of each view begin; views of whole blocks share theirs."""

    @classmethod
    def of(cls, views: Sequence[RowView], device: torch.device) -> Self:
        firsts = {_resident_as(view): view for view in reversed(views)}
        ends = np.cumsum([len(view) for view in firsts.values()])
        rows = views[0].empty(int(ends[-1]), device=device)
        starts = {key: end - len(view) for (key, view), end in zip(firsts.items(), ends.tolist(), strict=True)}
        for key, view in firsts.items():
            rows[starts[key] : starts[key] + len(view)] = view.take(np.arange(len(view))).to(device)
        return cls(rows, np.array([starts[_resident_as(view)] for view in views]))

    def only(self, members: Sequence[int]) -> Self:
        """Those of some of the views."""
        return self._replace(starts_M=self.starts_M[list(members)])

    def gathered(self, numbers_M: Sequence[NDArray[np.int64]]) -> Tensor:
        """The rows of these numbers, (M, numbers, *row_shape), by one kernel for all views."""
        places = torch.from_numpy(np.stack(numbers_M) + self.starts_M[:, None])
        if self.rows.is_cuda:
            places = places.pin_memory().to(self.rows.device, non_blocking=True)  # so that nobody waits
        return self.rows[places]


def _resident_as(view: RowView) -> int:
    """What tells the rows of a view from those of others."""
    return id(view.blocks) if view.rows_in_block is None else id(view)


def num_bytes(views: Sequence[RowView]) -> int:
    """What `Residents` take."""
    parts = {_resident_as(view): view for view in views}
    return sum(len(view) * view.empty(1).nbytes for view in parts.values())


def all_batches(view: RowView, scaler: Scaler, batch_size: int) -> Iterator[Tensor]:
    """Every row once, in order."""
    for start in range(0, len(view), batch_size):
        numbers = np.arange(start, min(start + batch_size, len(view)))
        yield scaler.scaled(view.take(numbers))
