"""How many rows went from each component to each other one at an assignment.

A flow is a table (F, 3) of integers, the largest first: from component, to component, rows. Rows that stay are not in
it.

Axes: n rows of a block, F pairs of components between which rows moved.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

PAIRS_PER_COMPONENT = 32  # that a block tells of, so that all blocks together tell O(K x blocks)

NO_FLOW = np.empty((0, 3), np.int64)


def flow(before_n: NDArray[np.integer], after_n: NDArray[np.integer]) -> NDArray[np.int64]:
    """The flow (F, 3) between two assignments of the same rows, which hold the component of each."""
    moved = before_n != after_n
    pairs = before_n[moved].astype(np.int64) << 32 | after_n[moved].astype(np.int64)
    codes, rows = np.unique(pairs, return_counts=True)
    return _largest_first(np.stack([codes >> 32, codes & 0xFFFFFFFF, rows], 1))


def largest(flow_F3: NDArray[np.int64], num_components: int) -> NDArray[np.int64]:
    """What a block tells of its flow: all of it up to 33 components, the largest pairs beyond."""
    return flow_F3[: PAIRS_PER_COMPONENT * num_components]


def added(flows: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The flow (F, 3) of several blocks, or of several steps one after another, together."""
    cells_F3 = np.concatenate([NO_FLOW, *flows])
    pairs, cell = np.unique(cells_F3[:, :2], axis=0, return_inverse=True)
    rows = np.zeros(len(pairs), np.int64)
    np.add.at(rows, cell.reshape(-1), cells_F3[:, 2])
    return _largest_first(np.column_stack([pairs, rows]))


def _largest_first(flow_F3: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sorted by rows, then by the components' numbers."""
    order = np.lexsort((flow_F3[:, 1], flow_F3[:, 0], -flow_F3[:, 2]))
    return flow_F3[order]
