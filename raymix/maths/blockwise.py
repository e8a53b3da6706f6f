"""Assign a data set block by block, where the log ratios lie.

Each function below runs once per block and returns (what stays with the block, a summary). A `BlockMap` runs one over
all blocks, in this process or as tasks on a cluster: what stays is then a handle, and only summaries come together.
The whole N x K matrix exists nowhere.

Axes: n rows of a block, K components, B blocks, C classes, F pairs of components between which rows moved.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from raymix.maths import assignment, balance, flow
from raymix.state import Assigned

Handle = Any
"""What stands for a value that stays with its block: the value itself, or a reference to it."""


class BlockMap(Protocol):
    def __call__(
        self, function: Callable[..., tuple[Any, Any]], common: Any, handles_B: Sequence[Sequence[Handle]]
    ) -> list[tuple[Handle, Any]]:
        """function(common[b], *values of handles_B[b]) for every block b: [(handle of the first result, the second)].

        `common` holds a small value per block.
        """
        ...


class Counts(NamedTuple):
    """The summary of a finished block."""

    won_K: NDArray[np.int64]
    loads_K: NDArray[np.int64]
    moved: int
    contingency_KC: NDArray[np.int64] | None
    flow_F3: NDArray[np.int64]


class Win(NamedTuple):
    """How winners are found."""

    components: tuple[int, ...]
    log_z_K: Sequence[float]
    margin: float = 0.0
    """Nats by which another must be better than who has the row."""


def win(
    task: Win, before: Assigned | None, *log_ratio_Kn: NDArray[np.floating]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Stays: the winner's position of each row. Summary: rows won."""
    positions_n, best_n = assignment.winners(log_ratio_Kn, task.log_z_K)
    if task.margin and before is not None:
        for position, k in enumerate(task.components):
            own = np.flatnonzero(before.winners == k)
            s_n = assignment.normalised(log_ratio_Kn[position][own], task.log_z_K[position])
            positions_n[own[best_n[own] <= s_n + task.margin]] = position
    return positions_n, np.bincount(positions_n, minlength=len(task.log_z_K))


def histogram(
    request: Mapping[int, int | None], positions_n: NDArray[np.int32], *log_ratio_Mn: NDArray[np.floating]
) -> tuple[None, dict[int, NDArray[np.int64]]]:
    """Summary: a key histogram of the rows that each requested component has not won."""
    counts = {}
    for (k, upper), log_ratio_n in zip(request.items(), log_ratio_Mn, strict=True):
        counts[k] = balance.key_histogram(balance.order_key(log_ratio_n[positions_n != k]), upper)
    return None, counts


class Finish(NamedTuple):
    """What `finish` needs beside the arrays."""

    components: tuple[int, ...]
    num_classes: int
    thresholds: dict[int, balance.Threshold]


def finish(
    task: Finish,
    positions_n: NDArray[np.int32],
    classes_n: NDArray[np.integer] | None,
    previous: Assigned | None,
    *log_ratio_Mn: NDArray[np.floating],
) -> tuple[Assigned, Counts]:
    """Stays: the block's assignment. `log_ratio_Mn` are those of the components in `task.thresholds`."""
    ids_K = np.array(task.components, np.int32)
    lent_rows, lent_to = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for (k, threshold), log_ratio_n in zip(task.thresholds.items(), log_ratio_Mn, strict=True):
        rows = balance.lent(balance.order_key(log_ratio_n), positions_n == k, threshold)
        lent_rows.append(rows)
        lent_to.append(np.full(len(rows), ids_K[k], np.int32))
    assigned = Assigned(ids_K[positions_n], np.concatenate(lent_rows), np.concatenate(lent_to))
    return assigned, counts_of(assigned, previous, task.components, classes_n, task.num_classes)


class Deal(NamedTuple):
    """A control's rule for one block."""

    mode: str
    num_rows: int
    num_classes: int
    dealt_to: tuple[int, ...]
    """Every component the run began with."""
    components: tuple[int, ...]
    """Those that compete; rows dealt to another are theirs in turn."""
    run_seed: int
    round: int
    block: int


def deal(task: Deal, classes_n: NDArray[np.integer] | None) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """As `win`, for a control, by no log ratio."""
    dealt_n = assignment.control(
        task.mode,
        task.num_rows,
        classes_n,
        task.num_classes,
        len(task.dealt_to),
        task.run_seed,
        task.round,
        task.block,
    )
    num = len(task.components)
    positions_n = np.arange(task.num_rows, dtype=np.int32) % num
    for position, k in enumerate(task.components):
        positions_n[dealt_n == task.dealt_to.index(k)] = position
    return positions_n, np.bincount(positions_n, minlength=num)


class Keep(NamedTuple):
    """Who keeps their rows."""

    components: tuple[int, ...]
    num_classes: int


def keep(task: Keep, assigned: Assigned, classes_n: NDArray[np.integer] | None) -> tuple[Assigned, Counts]:
    """Stays: the block's assignment, in which rows of others are dealt to these in turn."""
    ids_K, winners_n = np.array(task.components, np.int32), assigned.winners.copy()
    orphans = np.flatnonzero(~np.isin(winners_n, ids_K))
    winners_n[orphans] = ids_K[orphans % len(ids_K)]
    lent = np.isin(assigned.lent_to, ids_K) & (winners_n[assigned.lent_rows] != assigned.lent_to)
    kept = Assigned(winners_n, assigned.lent_rows[lent], assigned.lent_to[lent])
    return kept, counts_of(kept, assigned, task.components, classes_n, task.num_classes)


class Reseed(NamedTuple):
    """Half of the rows of some components go to others."""

    donors: Mapping[int, int]
    """{receiver: donor}"""
    components: tuple[int, ...]
    num_classes: int
    seeds: dict[int, int]
    """The seed of the draw for each receiver in this block."""


def halve(task: Reseed, assigned: Assigned, classes_n: NDArray[np.integer] | None) -> tuple[Assigned, Counts]:
    """Stays: the block's assignment, in which each receiver has every second row of its donor (drawn at random) and
    nothing on loan."""
    winners_n = assigned.winners.copy()
    for receiver, donor in task.donors.items():
        rows = np.flatnonzero(assigned.winners == donor)
        half = assignment.dealt(len(rows), 2, task.seeds[receiver]) == 1
        winners_n[rows[half]] = receiver
    kept = ~np.isin(assigned.lent_to, list(task.donors))
    halved = Assigned(winners_n, assigned.lent_rows[kept], assigned.lent_to[kept])
    return halved, counts_of(halved, assigned, task.components, classes_n, task.num_classes)


def counts_of(
    assigned: Assigned,
    previous: Assigned | None,
    components: tuple[int, ...],
    classes_n: NDArray[np.integer] | None,
    num_classes: int,
) -> Counts:
    positions_n = np.searchsorted(components, assigned.winners)
    contingency = None
    if classes_n is not None:
        flat = positions_n * num_classes + classes_n
        contingency = np.bincount(flat, minlength=len(components) * num_classes).reshape(len(components), -1)
    moves = flow.NO_FLOW if previous is None else flow.flow(previous.winners, assigned.winners)
    won_K = np.bincount(positions_n, minlength=len(components))
    return Counts(
        won_K=won_K,
        loads_K=won_K + np.bincount(np.searchsorted(components, assigned.lent_to), minlength=len(components)),
        moved=len(positions_n) if previous is None else int(moves[:, 2].sum()),
        contingency_KC=contingency,
        flow_F3=flow.largest(moves, len(components)),
    )
