"""The change of K block by block: what decides about it is gathered, and rows are dealt anew, where they lie.

As in `raymix.maths.blockwise`, each function runs once per block (`look` once per candidate) and returns
(what stays there, a summary).

Axes: n rows of a block, K components, B blocks, G candidates.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymix.maths import assignment, modality
from raymix.maths.blockwise import Counts, counts_of
from raymix.maths.modality import Modality
from raymix.maths.structure import CELL_SHARE, Candidate, Confusion, Reshaping
from raymix.seeds import numpy_rng
from raymix.state import Assigned

SOFTMAX_ROWS = 65_536  # at a time
MOST_ROWS, MOST_VALUES, FEWEST_ROWS = 20_000, 2**24, 2_000  # of a candidate that are looked at


def share(log_z_K: Sequence[float], *log_ratio_Kn: NDArray[np.floating]) -> tuple[NDArray[np.int32], Confusion]:
    """Stays: the winner's position of each row. Summary: rows won, and the posterior of each component for them."""
    num = len(log_z_K)
    positions_n, _ = assignment.winners(log_ratio_Kn, log_z_K)
    posterior_KK = np.zeros((num, num))
    for start in range(0, len(positions_n), SOFTMAX_ROWS):
        part = slice(start, start + SOFTMAX_ROWS)
        pairs = zip(log_ratio_Kn, log_z_K, strict=True)
        s_Kn = np.stack([assignment.normalised(log_ratio_n[part], log_z) for log_ratio_n, log_z in pairs])
        q_Kn = np.exp(s_Kn - s_Kn.max(0))
        q_Kn /= q_Kn.sum(0)
        for k in range(num):
            posterior_KK[k] += q_Kn[:, positions_n[part] == k].sum(1)
    return positions_n, Confusion(np.bincount(positions_n, minlength=num), posterior_KK)


class Pick(NamedTuple):
    """Which rows of a block are looked at: of each candidate's rows one of every so many, drawn, because rows may
    come in some order."""

    block: int
    candidates: Sequence[Candidate]
    """As positions."""
    every_G: Sequence[int]
    before_G: Sequence[int]
    """Rows of the candidate in the blocks before."""


def pick(
    task: Pick, rows_n: NDArray[np.generic], positions_n: NDArray[np.int32]
) -> tuple[list[tuple[NDArray[np.generic], NDArray[np.int32]]], None]:
    """Stays: for each candidate the rows (m, D) that are looked at, and whose they are."""
    flat_nD = rows_n.reshape(len(rows_n), -1)
    found = []
    for candidate, every, before in zip(task.candidates, task.every_G, task.before_G, strict=True):
        own = np.flatnonzero(np.isin(positions_n, candidate))
        if every > 1:
            num = (before + len(own)) // every - before // every
            own = np.sort(numpy_rng(task.block).choice(own, num, replace=False))
        found.append((flat_nD[own], positions_n[own]))
    return found, None


class Look(NamedTuple):
    """Which candidate is looked at, and in which units."""

    candidate: int
    num_rows: int
    """Rows of the candidate."""
    num_all: int
    """Rows of the data set."""
    scale: tuple[float, ...]
    is_image: bool


def look(task: Look, *picked_B: Sequence[tuple[NDArray[np.generic], NDArray[np.int32]]]) -> tuple[None, Modality]:
    """Summary: what the rows of one candidate are like."""
    rows_nD = np.concatenate([picked[task.candidate][0] for picked in picked_B]).astype(np.float64)
    owners_n = np.concatenate([picked[task.candidate][1] for picked in picked_B])
    least_share = CELL_SHARE * task.num_all / task.num_rows
    return None, modality.look(rows_nD * np.array(task.scale), owners_n, least_share, task.is_image)


class Reshape(NamedTuple):
    """A reshaping, for those that it is about."""

    before: tuple[int, ...]
    """Whom the positions mean."""
    reshaping: Reshaping
    scale: tuple[float, ...]
    num_classes: int


def reshape(
    task: Reshape,
    rows_n: NDArray[np.generic],
    positions_n: NDArray[np.int32],
    assigned: Assigned,
    classes_n: NDArray[np.integer] | None,
) -> tuple[Assigned, Counts]:
    """Stays: the block's assignment after the reshaping. Nothing is on loan to those whose rows became others."""
    reshaping = task.reshaping
    before_n = np.array(task.before, np.int32)[positions_n]
    after_n = before_n.copy()
    for component, into in reshaping.merged.items():
        after_n[before_n == component] = into
    flat_nD = rows_n.reshape(len(rows_n), -1)
    for candidate, into_C, cells in reshaping.dealt:
        own = np.flatnonzero(np.isin(before_n, candidate))
        for start in range(0, len(own), modality.SEEN):
            some = own[start : start + modality.SEEN]
            places = cells.places(flat_nD[some].astype(np.float64) * np.array(task.scale))
            after_n[some] = np.array(into_C, np.int32)[places]
    kept = np.isin(assigned.lent_to, sorted(set(task.before) & set(reshaping.components) - reshaping.touched))
    # who was lent a row of a retired component may own it now
    kept &= after_n[assigned.lent_rows] != assigned.lent_to
    changed = Assigned(after_n, assigned.lent_rows[kept], assigned.lent_to[kept])
    return changed, counts_of(changed, assigned, reshaping.components, classes_n, task.num_classes)


def most_rows(row_shape: Sequence[int]) -> int:
    """Rows of a candidate that are looked at, at most."""
    return min(MOST_ROWS, max(FEWEST_ROWS, MOST_VALUES // int(np.prod(row_shape))))
