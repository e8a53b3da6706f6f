"""Batches of scaled rows, drawn from blocks without a second copy of the data set.

Shapes: B rows of a batch, S steps, n rows of a block.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raymix.config import DataConfig
from raymix.data.source import DataSpec

CHUNK_BYTES = 2 * 2**20  # of scaled rows that are gathered at a time


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
        return ((rows.to(self.offset.device, self.offset.dtype) - self.offset) * self.scale).to(self.dtype)

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

    def take(self, numbers: NDArray[np.int64]) -> Tensor:
        """The rows of these numbers, (len(numbers), *row_shape), in the data's own dtype and torch's own memory."""
        first = self.blocks[0]
        out = torch.empty((len(numbers), *first.shape[1:]), dtype=torch_dtype(first.dtype))
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


def drawn_batches(
    view: RowView, scaler: Scaler, steps: int, batch_size: int, rng: np.random.Generator
) -> Iterator[Tensor]:
    """`steps` batches (B, *row_shape) of scaled rows, drawn with replacement."""
    row_bytes = 4 * int(np.prod(view.blocks[0].shape[1:]))
    per_chunk = max(1, CHUNK_BYTES // (row_bytes * batch_size))
    for done in range(0, steps, per_chunk):
        num = min(per_chunk, steps - done)
        numbers_S = rng.integers(0, len(view), size=num * batch_size)
        yield from scaler.scaled(view.take(numbers_S)).split(batch_size)


def all_batches(view: RowView, scaler: Scaler, batch_size: int) -> Iterator[Tensor]:
    """Every row once, in order."""
    for start in range(0, len(view), batch_size):
        numbers = np.arange(start, min(start + batch_size, len(view)))
        yield scaler.scaled(view.take(numbers))
