"""Improved precision and recall (Kynkäänniemi et al., 2019): are samples real, and is the data covered?

A set of features stands for a manifold: the union of balls around its points, each as wide as the distance to the
point's k-th nearest neighbour in the same set (section 2, eq. 1).

Shapes: N rows of data, M samples, D features.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from raymix.errors import DataError
from raymix.metrics.rows import checked_rows

Array = NDArray[np.float64]
ROUNDING = 1e-7  # of the longest row, below which distances through matrix products cannot be told from 0


class PrecisionRecall(NamedTuple):
    """Both depend on the numbers of rows and samples: print those beside them, and the values of held-out data."""

    precision: float
    """Share of the samples that lie on the manifold of the data, 0 to 1."""
    recall: float
    """Share of the data that lies on the manifold of the samples, 0 to 1."""
    k: int
    """The neighbour whose distance is a ball's radius."""


def precision_recall(data_ND: NDArray[np.floating], samples_MD: NDArray[np.floating], k: int = 3) -> PrecisionRecall:
    """Precision and recall of samples against data, from features of both by one network.

    A ball holds its rim. Distances are Euclidean and exact to 1e-7 of the longest row's distance from the data's mean.
    Raises `DataError` for at most k rows on a side, rows of different widths, or a value that is not finite.
    """
    data_ND = checked_rows(data_ND, "features of the data", least=k + 1)
    samples_MD = checked_rows(samples_MD, "features of the samples", least=k + 1)
    if data_ND.shape[1] != samples_MD.shape[1]:
        what = f"have {samples_MD.shape[1]} columns, those of the data {data_ND.shape[1]}"
        raise DataError(what, "features of the samples", "take both from the same network")
    centre_D = data_ND.mean(axis=0)  # near 0 the products that give the distances round least
    data_ND, samples_MD = data_ND - centre_D, samples_MD - centre_D
    slack = ROUNDING * max(float(np.linalg.norm(rows, axis=1).max()) for rows in (data_ND, samples_MD))
    data_radius_N, sample_radius_M = radii(data_ND, k) + slack, radii(samples_MD, k) + slack
    real, covered_N = 0, np.zeros(len(data_ND), dtype=bool)
    start = 0
    for distance_mN in pairwise_distances_chunked(samples_MD, data_ND):
        stop = start + len(distance_mN)
        real += int((distance_mN <= data_radius_N).any(axis=1).sum())
        covered_N |= (distance_mN <= sample_radius_M[start:stop, None]).any(axis=0)
        start = stop
    return PrecisionRecall(real / len(samples_MD), float(covered_N.mean()), k)


def radii(rows_ND: NDArray[np.floating], k: int) -> Array:
    """(N,) each row's distance to its k-th nearest other row."""
    distance_Nk: Array = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows_ND).kneighbors()[0]
    return distance_Nk[:, -1]
