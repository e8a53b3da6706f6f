"""Which rows a component trains on, as views over the blocks.

Axes: B blocks.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raymix.config import Config
from raymix.maths.assignment import control, dealt
from raymix.seeds import ALL, Phase, phase_seed
from raymix.state import Assigned
from raymix.training.batches import RowView

Rows = NDArray[np.generic]


def shard(rows_B: Sequence[Rows], assigned_B: Sequence[Assigned], component: int) -> RowView:
    """The rows assigned to a component: won and lent."""
    return RowView(rows_B, [assigned.rows_of(component) for assigned in assigned_B])


def pretraining_rows(config: Config, rows_B: Sequence[Rows], component: int) -> RowView:
    """What a component sees first: the whole data set, its part of a random split, or in mode `bag` its own bag."""
    if config.mode != "bag" and config.schedule.pretrain_on == "whole":
        return RowView(rows_B, None)
    num = len(config.components)
    if config.mode == "bag":
        labels_B = [control("bag", len(rows), None, 0, num, config.seed, 0, b) for b, rows in enumerate(rows_B)]
    else:
        seeds = [phase_seed(config.seed, 0, ALL, Phase.PRETRAIN, b) for b in range(len(rows_B))]
        labels_B = [dealt(len(rows), num, seed) for rows, seed in zip(rows_B, seeds, strict=True)]
    return RowView(rows_B, [np.flatnonzero(labels == component) for labels in labels_B])
