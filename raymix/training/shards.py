"""Which rows a component trains on, as views over the blocks.

Axes: B blocks.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from raymix.config import Config
from raymix.maths.assignment import control, dealt
from raymix.seeds import ALL, Phase, phase_seed
from raymix.state import Assigned
from raymix.training.batches import RowView
from raymix.training.paging import Blocks, sizes_of


def shards(rows_B: Blocks, assigned_B: Iterable[Assigned], components: Sequence[int]) -> dict[int, RowView]:
    """The rows assigned to each of some components: won and lent. Assignments are looked at one after the other."""
    rows_of = [[assigned.rows_of(k) for k in components] for assigned in assigned_B]
    return {k: RowView(rows_B, list(own)) for k, own in zip(components, zip(*rows_of, strict=True), strict=True)}


def pretraining_rows(
    config: Config, rows_B: Blocks, assigned_B: Iterable[Assigned], components: Sequence[int]
) -> dict[int, RowView]:
    """What components see first: their cells, the whole data set, their parts of a random split, or in mode `bag` their
    own bags. `assigned_B` are looked at where there are cells alone."""
    if config.schedule.pretrain_on != "one" and config.has_cells:
        return shards(rows_B, assigned_B, components)
    return {k: _pretraining_rows(config, rows_B, k) for k in components}


def _pretraining_rows(config: Config, rows_B: Blocks, component: int) -> RowView:
    if config.schedule.pretrain_on == "one" or (config.mode != "bag" and config.schedule.pretrain_on == "whole"):
        return RowView(rows_B, None)
    num = len(config.components)
    if config.mode == "bag":
        dealt_B = [control("bag", size, None, 0, num, config.seed, 0, b) for b, size in enumerate(sizes_of(rows_B))]
    else:
        seeds = [phase_seed(config.seed, 0, ALL, Phase.PRETRAIN, b) for b in range(len(rows_B))]
        dealt_B = [dealt(size, num, seed) for size, seed in zip(sizes_of(rows_B), seeds, strict=True)]
    return RowView(rows_B, [np.flatnonzero(dealt_n == component) for dealt_n in dealt_B])
