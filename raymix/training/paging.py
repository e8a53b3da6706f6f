"""Blocks of rows: at hand all the time, or fetched one after the other where they do not fit into memory together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.generic]


@dataclass
class PagedBlocks:
    """Blocks of which one at a time is held. Whoever needs rows of many gathers them ahead, in a pass over all."""

    sizes: Sequence[int]
    """Rows of each block."""
    row_shape: tuple[int, ...]
    dtype: np.dtype
    fetch: Callable[[int], Rows]
    """The rows of a block, (n, *row_shape); they may be given back when nobody refers to them any more."""
    ahead_bytes: int
    """Bytes of rows that may be gathered in one pass, into memory of one's own."""
    _held: tuple[int, Rows] | None = field(default=None, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, block: int) -> Rows:
        if self._held is None or self._held[0] != block:
            self._held = None  # given back before there is another
            self._held = block, self.fetch(block)
        return self._held[1]


Blocks = Sequence[Rows] | PagedBlocks
"""The rows of a data set, (n, *row_shape) in each block."""


def sizes_of(blocks: Blocks) -> list[int]:
    """Rows of each block."""
    return list(blocks.sizes) if isinstance(blocks, PagedBlocks) else [len(rows) for rows in blocks]


def form_of(blocks: Blocks) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of a row."""
    if isinstance(blocks, PagedBlocks):
        return blocks.row_shape, blocks.dtype
    return blocks[0].shape[1:], blocks[0].dtype
