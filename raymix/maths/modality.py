"""Whether rows have one mode or several: 2-means, and how deep the valley between its two centres is.

Everything is a function of the rows in their order. Shapes: n rows, D columns, P axes, C cells.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from raymix.seeds import numpy_rng

Rows = NDArray[np.floating]

AXES = 8  # of images, on which modes are looked for
DEEPEST = 3  # 2-means inside of 2-means
UNIMODAL = 0.5  # valleys below are between modes; two Gaussians 3.3 standard deviations apart have this one
FLAT = 2.0  # a valley is never told to be shallower
STEPS = 100  # of Lloyd's algorithm
HALF_WIDTH = 0.1  # of the windows in which rows are counted; the centres lie at 0 and 1
VALLEY = np.array([0.3, 0.4, 0.5, 0.6, 0.7])
PEAK = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])  # about a centre
SEEN = 4_096  # rows that are placed at a time

one_thread = threadpool_limits.wrap(limits=1)  # else the last bits of sums depend on how many threads a process has


class Frame(NamedTuple):
    """The coordinates in which modes are looked for."""

    mean_D: NDArray[np.float64]
    axes_DP: NDArray[np.float64]

    def projected(self, rows_nD: Rows) -> NDArray[np.float64]:
        found: NDArray[np.float64] = (rows_nD - self.mean_D) @ self.axes_DP
        return found


class Cells(NamedTuple):
    """A partition of the space: a row is of the cell whose centre is nearest."""

    centres_CP: NDArray[np.float64]
    frame: Frame | None
    """The axes of the centres; None where it is the rows' own."""

    @one_thread
    def places(self, rows_nD: Rows) -> NDArray[np.int64]:
        """(n,) the cell of each row; ties go to the first."""
        found = [np.empty(0, np.int64)]
        for start in range(0, len(rows_nD), SEEN):
            rows = rows_nD[start : start + SEEN]
            rows = self.frame.projected(rows) if self.frame else rows
            found.append(squared_distances(rows, self.centres_CP).argmin(1))
        return np.concatenate(found)


class Modality(NamedTuple):
    """What was found about the rows of one component, or of two together."""

    valley: float
    """Between the two cells of the rows; `FLAT` at most."""
    cells: Cells | None
    """The modes of one component, or the two cells of a pair; None where there is but one."""
    shares_C: tuple[float, ...]
    """Shares of the rows in each cell, the largest first for one component."""
    moved: float = 0.0
    """The share of a pair's rows that the cells, each given to the component that has most of it, would move."""


def squared_distances(rows_nP: Rows, centres_CP: Rows) -> NDArray[np.float64]:
    """(n, C), by differences: products would lose what is small."""
    return np.stack([((rows_nP - centre) ** 2).sum(1) for centre in centres_CP], 1)


def principal_axes(rows_nD: Rows, num: int) -> NDArray[np.float64]:
    """(D, at most num) unit vectors along which the rows vary most, from n x n or D x D products, whichever is less."""
    centred = rows_nD - rows_nD.mean(0)
    if centred.shape[1] <= len(centred):
        axes_DP = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :num]
    else:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        kept = np.flatnonzero(values > 1e-12 * max(values[-1], 1e-300))[::-1][:num]
        axes_DP = centred.T @ vectors[:, kept] / np.sqrt(values[kept])
    signs = np.sign(axes_DP[np.abs(axes_DP).argmax(0), range(axes_DP.shape[1])])
    found: NDArray[np.float64] = axes_DP * signs
    return found


def two_means(rows_nP: Rows) -> NDArray[np.float64] | None:
    """(2, P) centres, by Lloyd's algorithm from the two halves of the first principal axis; None where all rows are
    equal."""
    axis_P1 = principal_axes(rows_nP, 1)
    if not axis_P1.shape[1]:
        return None
    second_n = ((rows_nP - rows_nP.mean(0)) @ axis_P1)[:, 0] > 0
    for _ in range(STEPS):
        if second_n.all() or not second_n.any():
            return None
        centres_2P = np.stack([rows_nP[~second_n].mean(0), rows_nP[second_n].mean(0)])
        nearer_n = between(rows_nP, centres_2P) > 0.5
        if (nearer_n == second_n).all():
            break
        second_n = nearer_n
    return centres_2P


def between(rows_nP: Rows, centres_2P: Rows) -> NDArray[np.float64]:
    """(n,) where the rows lie along the axis through two centres, which are at 0 and 1."""
    axis_P = centres_2P[1] - centres_2P[0]
    along_n: NDArray[np.float64] = (rows_nP - centres_2P[0]) @ axis_P
    return along_n / (axis_P**2).sum()


def valley_along(places_n: NDArray[np.floating]) -> float:
    """The fewest rows in a window between 0 and 1, over the smaller of the two peaks at 0 and 1."""
    ordered_n = np.sort(places_n)

    def counts(middles: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.searchsorted(ordered_n, middles + HALF_WIDTH) - np.searchsorted(ordered_n, middles - HALF_WIDTH)

    peak = int(min(counts(PEAK).max(), counts(1 - PEAK).max()))
    return min(FLAT, int(counts(VALLEY).min()) / peak) if peak else FLAT


def valley(rows_nP: Rows) -> float:
    """How deep the rows part in two: 0 for modes far apart, 1 and more for a single one; cross-validated.

    2-means on one half, the valley on the other, both ways: in many dimensions 2-means parts even noise, but only the
    rows that it has seen. The halves are drawn, always alike, because rows may alternate.
    """
    halves = np.array_split(rows_nP[numpy_rng(len(rows_nP)).permutation(len(rows_nP))], 2)
    found = []
    for seen, unseen in (halves, halves[::-1]):
        centres = two_means(seen) if len(seen) > 1 and len(unseen) else None
        found.append(FLAT if centres is None else valley_along(between(unseen, centres)))
    return float(np.mean(found))


def modes(rows_nP: Rows, least: float, deepest: int = DEEPEST) -> Iterator[NDArray[np.float64]]:
    """The centres of the modes: 2-means inside of 2-means, as long as valleys part rows in cells of `least` rows."""
    parted = deepest > 0 and len(rows_nP) >= 2 * max(1.0, least) and valley(rows_nP) < UNIMODAL
    centres = two_means(rows_nP) if parted else None
    if centres is not None:
        second_n = between(rows_nP, centres) > 0.5
        cells = rows_nP[~second_n], rows_nP[second_n]
        if min(map(len, cells)) >= least:
            for cell in cells:
                yield from modes(cell, least, deepest - 1)
            return
    yield rows_nP.mean(0)


@one_thread
def look(rows_nD: Rows, owners_n: NDArray[np.integer], least_share: float, is_image: bool) -> Modality:
    """The modality of the rows of one component, or of two: `owners_n` tells which, the lower id is the first.

    `least_share` of the rows must be in a cell of one component.
    """
    rows_nD = rows_nD.astype(np.float64)
    frame = Frame(rows_nD.mean(0), principal_axes(rows_nD, AXES)) if is_image else None
    rows_nP = frame.projected(rows_nD) if frame else rows_nD
    owners = np.unique(owners_n)
    if len(owners) < 2:
        return _look_at_one(rows_nP, least_share, frame)
    return _look_at_two(rows_nP, owners_n == owners[1], frame)


def _look_at_one(rows_nP: Rows, least_share: float, frame: Frame | None) -> Modality:
    centres_CP = np.stack(list(modes(rows_nP, least_share * len(rows_nP))))
    sizes_C = np.bincount(squared_distances(rows_nP, centres_CP).argmin(1), minlength=len(centres_CP))
    order = np.argsort(-sizes_C, kind="stable")
    cells = Cells(centres_CP[order], frame) if len(order) > 1 else None
    return Modality(valley(rows_nP), cells, tuple((sizes_C[order] / len(rows_nP)).tolist()))


def _look_at_two(rows_nP: Rows, second_n: NDArray[np.bool_], frame: Frame | None) -> Modality:
    centres = two_means(rows_nP)
    if centres is None:
        return Modality(FLAT, None, (1.0,))
    there_n = between(rows_nP, centres) > 0.5
    moved = float((there_n != second_n).mean())
    if moved > 0.5:
        centres, there_n, moved = centres[::-1], ~there_n, 1 - moved
    share = float(there_n.mean())
    return Modality(valley(rows_nP), Cells(centres, frame), (1 - share, share), moved)
