"""How well an assignment agrees with known classes.

Every measure is computed from the table of counts, which adds up over blocks, so that no row is ever expanded.
Shapes: N rows, K components, C classes.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from raymix.errors import DataError

Counts = NDArray[np.int64]


def contingency(winners_N: NDArray[np.integer], classes_N: NDArray[np.integer], K: int, C: int) -> Counts:
    """Count the rows of each (component, class).

    Returns (K, C) counts; tables of disjoint blocks of rows add up to the table of the data set.
    Raises `DataError` when lengths differ or a number lies outside its range.
    """
    if winners_N.shape != classes_N.shape or winners_N.ndim != 1:
        raise DataError(
            f"{winners_N.shape} winners against {classes_N.shape} classes", "contingency", "give one of each per row"
        )
    for name, numbers_N, bound in (("winner", winners_N, K), ("class", classes_N, C)):
        outside_N = (numbers_N < 0) | (numbers_N >= bound)
        if outside_N.any():
            row = int(outside_N.argmax())
            raise DataError(
                f"{name} {numbers_N[row]}", f"contingency, row {row}", f"give numbers from 0 to {bound - 1}"
            )
    cells_N = winners_N.astype(np.int64) * C + classes_N
    return np.bincount(cells_N, minlength=K * C).reshape(K, C).astype(np.int64, copy=False)


def nmi(counts_KC: Counts) -> float:
    """Normalised mutual information, 0 to 1: I(c; y) over the arithmetic mean of H(c) and H(y).

    Equals scikit-learn's `normalized_mutual_info_score`, whose import would double a coordinator's memory. Raises
    `DataError` for a table without rows.
    """
    counts_KC = _occupied(counts_KC)
    if counts_KC.size == 1:
        return 1.0  # one component and one class: a perfect match without information
    shares_KC = counts_KC / counts_KC.sum()
    of_classes, of_components, joint = (
        float(entr(shares).sum()) for shares in (shares_KC.sum(0), shares_KC.sum(1), shares_KC)
    )
    information = max(0.0, of_components + of_classes - joint)  # rounding may leave independent ones below 0
    return information / ((of_components + of_classes) / 2)


def ari(counts_KC: Counts) -> float:
    """Adjusted Rand index: 1 for equal partitions, 0 expected by chance, negative below it.

    From the pair confusion matrix (Hubert and Arabie, 1985). Equals scikit-learn's `adjusted_rand_score`.
    Raises `DataError` for a table without rows.
    """
    counts_KC = _occupied(counts_KC)
    # Python's integers: the products of pair counts reach N**4, far above int64
    total = int(counts_KC.sum())
    together = _sum_of_squares(counts_KC)
    in_components = _sum_of_squares(counts_KC.sum(axis=1))
    in_classes = _sum_of_squares(counts_KC.sum(axis=0))
    both = together - total
    component_only = in_components - together
    class_only = in_classes - together
    neither = total**2 - in_components - in_classes + together
    if component_only == 0 and class_only == 0:
        return 1.0
    expected = (both + component_only) * (component_only + neither) + (both + class_only) * (class_only + neither)
    return 2 * (both * neither - component_only * class_only) / expected


def purity(counts_KC: Counts) -> float:
    """Share of rows that belong to the most frequent class of their component, 0 to 1: the accuracy of a majority vote.

    Raises `DataError` for a table without rows.
    """
    counts_KC = _occupied(counts_KC)
    return float(counts_KC.max(axis=1).sum() / counts_KC.sum())


def matched_accuracy(counts_KC: Counts) -> float:
    """Accuracy, 0 to 1, under the best one-to-one match of components and classes (Hungarian algorithm).

    With K > C the rows of unmatched components count as wrong. Raises `DataError` for a table without rows.
    """
    from scipy.optimize import linear_sum_assignment  # takes half a second to import, and few ask

    counts_KC = _occupied(counts_KC)
    components, classes = linear_sum_assignment(counts_KC, maximize=True)
    return float(counts_KC[components, classes].sum() / counts_KC.sum())


def _occupied(counts_KC: Counts) -> Counts:
    """The table without components and classes that no row belongs to."""
    if counts_KC.sum() == 0:
        raise DataError("holds no rows", "contingency", "count at least one labelled row")
    return counts_KC[counts_KC.any(axis=1)][:, counts_KC.any(axis=0)]


def _sum_of_squares(counts: Counts) -> int:
    return sum(int(count) ** 2 for count in counts.flat)
