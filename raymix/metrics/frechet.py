"""Fréchet distance between Gaussians fitted to two sets of features.

Shapes: N rows, D features. Everything is float64, whatever the features were.
"""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgWarning, sqrtm

from raymix.errors import DataError
from raymix.metrics.rows import checked_rows

Array = NDArray[np.float64]
RELATIVE_RIDGE = 1e-6  # of the mean variance of a feature
RELATIVE_ROUNDING = 1e-5  # imaginary parts below this share of the largest real one are rounding


class FrechetDistance(NamedTuple):
    """A distance with what had to be done to get it."""

    distance: float
    """Squared distance in units of the features, as FID is; rounding may leave it slightly below 0 near equality."""
    ridge: float
    """Added to both covariances' diagonals because the plain root was complex or not finite; 0 when it was neither."""


def statistics(features_ND: NDArray[np.floating]) -> tuple[Array, Array]:
    """Mean (D,) and unbiased covariance (D, D) of the features of N rows.

    Raises `DataError` for fewer rows than features (the covariance would be singular) or a value that is not finite.
    """
    features_ND = checked_rows(features_ND, "features", least=2)
    num_rows, num_features = features_ND.shape
    if num_rows < num_features:
        raise DataError(
            f"{num_rows} rows are fewer than {num_features} dimensions", "features", "give more rows or fewer features"
        )
    return features_ND.mean(axis=0), np.atleast_2d(np.cov(features_ND, rowvar=False))


def frechet_distance(mean1_D: Array, cov1_DD: Array, mean2_D: Array, cov2_DD: Array) -> FrechetDistance:
    """||mean1 - mean2||^2 + tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2)) (Heusel et al., 2017, eq. 6).

    When the root of cov1 cov2 is complex beyond rounding or not finite, a ridge of 1e-6 of the mean variance is added
    to both diagonals and reported. Raises `DataError` for shapes that do not match, values that are not finite, or
    when the ridge does not help.
    """
    mean1_D, mean2_D = (np.asarray(mean, dtype=np.float64) for mean in (mean1_D, mean2_D))
    cov1_DD, cov2_DD = (np.asarray(cov, dtype=np.float64) for cov in (cov1_DD, cov2_DD))
    square = (mean1_D.size, mean1_D.size)
    if mean1_D.ndim != 1 or mean1_D.shape != mean2_D.shape or cov1_DD.shape != square or cov2_DD.shape != square:
        raise DataError(
            f"means {mean1_D.shape}, {mean2_D.shape} and covariances {cov1_DD.shape}, {cov2_DD.shape} do not match",
            "Fréchet distance",
            "take both from features of the same network",
        )
    if not all(np.isfinite(values).all() for values in (mean1_D, cov1_DD, mean2_D, cov2_DD)):
        raise DataError("a mean or covariance is not finite", "Fréchet distance", "check the features")

    mean_variance = (np.trace(cov1_DD) + np.trace(cov2_DD)) / (2 * mean1_D.size)
    for ridge in (0.0, RELATIVE_RIDGE * float(mean_variance)):
        ridge_DD = ridge * np.eye(mean1_D.size)
        root_DD = _real_root((cov1_DD + ridge_DD) @ (cov2_DD + ridge_DD))
        if root_DD is not None:
            spread = np.trace(cov1_DD + cov2_DD + 2 * ridge_DD) - 2 * np.trace(root_DD)
            return FrechetDistance(float(((mean1_D - mean2_D) ** 2).sum() + spread), ridge)
    raise DataError(
        f"the covariances' product has no real root, even with a ridge of {ridge:.3g}",
        "Fréchet distance",
        "check that both are covariances (symmetric, no negative eigenvalue)",
    )


def _real_root(product_DD: Array) -> Array | None:
    """The principal square root, or None where it is complex beyond rounding or not finite."""
    with warnings.catch_warnings():
        # features that never vary make the product singular, which is harmless: what matters is checked below
        warnings.simplefilter("ignore", LinAlgWarning)
        root_DD = sqrtm(product_DD)
    if not np.isfinite(root_DD).all():
        return None
    if np.abs(root_DD.imag).max() > RELATIVE_ROUNDING * np.abs(root_DD.real).max():
        return None
    return root_DD.real
