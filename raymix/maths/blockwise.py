"""Assign a data set block by block, where the log ratios lie.

Each function below runs once per block and returns (what stays with the block, a summary). A `BlockMap` runs one over
all blocks, in this process or as tasks on a cluster: what stays is then a handle, and only summaries come together.
The whole N x K matrix exists nowhere.

Axes: n rows of a block, K components, B blocks, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from raymix.config import Config
from raymix.maths import assignment, balance
from raymix.state import Assigned, Outcome

Handle = Any
"""What stands for a value that stays with its block: the value itself, or a reference to it."""

Scores = Sequence[Handle]
"""The log-ratio arrays of one block, a handle per component."""


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

    loads_K: NDArray[np.int64]
    moved: int
    contingency_KC: NDArray[np.int64] | None


def win(log_z_K: Sequence[float], *log_ratio_Kn: NDArray[np.floating]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Stays: the winner's position of each row. Summary: rows won."""
    labels_n, _ = assignment.winners(log_ratio_Kn, log_z_K)
    return labels_n, np.bincount(labels_n, minlength=len(log_z_K))


def histogram(
    request: Mapping[int, int | None], labels_n: NDArray[np.int32], *log_ratio_Mn: NDArray[np.floating]
) -> tuple[None, dict[int, NDArray[np.int64]]]:
    """Summary: a key histogram of the rows that each requested component has not won."""
    counts = {}
    for (k, upper), log_ratio_n in zip(request.items(), log_ratio_Mn, strict=True):
        counts[k] = balance.key_histogram(balance.order_key(log_ratio_n[labels_n != k]), upper)
    return None, counts


class Finish(NamedTuple):
    """What `finish` needs beside the arrays."""

    components: tuple[int, ...]
    num_classes: int
    thresholds: dict[int, balance.Threshold]


def finish(
    task: Finish,
    labels_n: NDArray[np.int32],
    classes_n: NDArray[np.integer] | None,
    previous: Assigned | None,
    *log_ratio_Mn: NDArray[np.floating],
) -> tuple[Assigned, Counts]:
    """Stays: the block's assignment. `log_ratio_Mn` are those of the components in `task.thresholds`."""
    ids_K = np.array(task.components, np.int32)
    lent_rows, lent_to = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for (k, threshold), log_ratio_n in zip(task.thresholds.items(), log_ratio_Mn, strict=True):
        rows = balance.lent(balance.order_key(log_ratio_n), labels_n == k, threshold)
        lent_rows.append(rows)
        lent_to.append(np.full(len(rows), ids_K[k], np.int32))
    assigned = Assigned(ids_K[labels_n], np.concatenate(lent_rows), np.concatenate(lent_to))
    loads_K = np.array([len(assigned.rows_of(k)) for k in task.components])
    moved = len(labels_n) if previous is None else int((assigned.labels != previous.labels).sum())
    contingency = None
    if classes_n is not None:
        flat = labels_n.astype(np.int64) * task.num_classes + classes_n
        contingency = np.bincount(flat, minlength=len(ids_K) * task.num_classes).reshape(len(ids_K), -1)
    return assigned, Counts(loads_K, moved, contingency)


class Deal(NamedTuple):
    """A control's rule for one block."""

    mode: str
    num_rows: int
    num_classes: int
    num_components: int
    run_seed: int
    round: int
    block: int


def control_tasks(config: Config, rows_B: Sequence[int], num_classes: int, round: int) -> list[Deal]:
    """The rule of `config.mode` for every block; `rows_B` are their sizes."""
    num = len(config.components)
    return [Deal(config.mode, rows, num_classes, num, config.seed, round, b) for b, rows in enumerate(rows_B)]


def deal(task: Deal, classes_n: NDArray[np.integer] | None) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """As `win`, for a control: labels that depend on no log ratio."""
    labels_n = assignment.control(
        task.mode,
        task.num_rows,
        classes_n,
        task.num_classes,
        task.num_components,
        task.run_seed,
        task.round,
        task.block,
    )
    return labels_n, np.bincount(labels_n, minlength=task.num_components)


def assign(
    block_map: BlockMap,
    scores_B: Sequence[Scores],
    classes_B: Sequence[Handle],
    previous_B: Sequence[Handle],
    *,
    components: tuple[int, ...],
    num_classes: int,
    log_z_K: Sequence[float],
    min_share: float,
) -> tuple[list[Handle], Outcome]:
    """argmax_k s_k for every row, then balance. Returns a handle of each block's `Assigned`, and the counts."""
    every_block = range(len(scores_B))
    won = block_map(win, [log_z_K for _ in every_block], scores_B)
    labels_B = [labels for labels, _ in won]
    won_K = np.sum([counts for _, counts in won], axis=0)

    def histograms(request: Mapping[int, int | None]) -> list[dict[int, NDArray[np.int64]]]:
        handles_B = [(labels_B[b], *(scores_B[b][k] for k in request)) for b in every_block]
        return [counts for _, counts in block_map(histogram, [request for _ in every_block], handles_B)]

    thresholds = balance.thresholds(balance.shortfall(won_K, min_share), histograms)
    tasks = [Finish(components, num_classes, {k: blocks[b] for k, blocks in thresholds.items()}) for b in every_block]
    handles_B = [(labels_B[b], classes_B[b], previous_B[b], *(scores_B[b][k] for k in thresholds)) for b in every_block]
    return _outcome(block_map(finish, tasks, handles_B), won_K)


def assign_control(
    block_map: BlockMap,
    tasks: Sequence[Deal],
    classes_B: Sequence[Handle],
    previous_B: Sequence[Handle],
    components: tuple[int, ...],
) -> tuple[list[Handle], Outcome]:
    """The same for a control's rule, which lends nothing."""
    dealt = block_map(deal, tasks, [(classes,) for classes in classes_B])
    won_K = np.sum([counts for _, counts in dealt], axis=0)
    finishes = [Finish(components, task.num_classes, {}) for task in tasks]
    handles_B = [(labels, classes_B[b], previous_B[b]) for b, (labels, _) in enumerate(dealt)]
    return _outcome(block_map(finish, finishes, handles_B), won_K)


def _outcome(finished: Sequence[tuple[Handle, Counts]], won_K: NDArray[np.int64]) -> tuple[list[Handle], Outcome]:
    counts = [count for _, count in finished]
    tables = [count.contingency_KC for count in counts if count.contingency_KC is not None]
    outcome = Outcome(
        won_K=won_K,
        loads_K=np.sum([count.loads_K for count in counts], axis=0),
        moved=sum(count.moved for count in counts),
        contingency_KC=np.sum(tables, axis=0) if tables else None,
    )
    return [assigned for assigned, _ in finished], outcome
