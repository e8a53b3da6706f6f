"""Do samples reach every mode of a data set whose modes are known, and how many of them lie in one?

Shapes: N rows, M modes, D columns (2 in the synthetic sets).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymix.errors import DataError
from raymix.metrics.rows import checked_rows


class ModeCoverage(NamedTuple):
    """Which modes samples reach. Print the value of the true data beside it (share 0.989 in 2-D at radius 3)."""

    captured: int
    """Modes that are nearest to at least `least` high-quality samples."""
    high_quality_share: float
    """Share of the samples that lie within `radius` of the nearest mode, 0 to 1."""
    num_modes: int
    """M."""


def mode_coverage(
    rows_ND: NDArray[np.floating],
    centres_MD: NDArray[np.floating],
    sds_MD: NDArray[np.floating],
    radius: float = 3.0,
    least: int = 1,
) -> ModeCoverage:
    """Count the captured modes and the share of high-quality samples.

    Distances are Euclidean after division by the mode's own standard deviation per column, and the nearest mode is the
    one at the smallest such distance (ties to the lowest). A sample is of high quality when that distance is at most
    `radius`; a mode is captured when it is nearest to at least `least` such samples.
    All rows are given before the warp of the data set (the caller undoes it), where the modes are Gaussians along the
    axes. Raises `DataError` for rows that are empty or not finite, shapes that do not match, or an sd that is not
    positive.
    """
    rows_ND = checked_rows(rows_ND, "samples")
    centres_MD = checked_rows(centres_MD, "centres of modes")
    sds_MD = checked_rows(sds_MD, "sds of modes")
    if centres_MD.shape != sds_MD.shape or centres_MD.shape[1] != rows_ND.shape[1]:
        raise DataError(
            f"samples {rows_ND.shape}, centres {centres_MD.shape} and sds {sds_MD.shape} do not match",
            "modes",
            "give (N, D), (M, D) and (M, D)",
        )
    if (sds_MD <= 0).any():
        raise DataError("holds an sd that is not positive", "sds of modes", "give positive numbers")
    distance_MN = np.stack(
        [np.linalg.norm((rows_ND - centre_D) / sd_D, axis=1) for centre_D, sd_D in zip(centres_MD, sds_MD, strict=True)]
    )
    good_N = distance_MN.min(axis=0) <= radius
    good_per_mode_M = np.bincount(distance_MN.argmin(axis=0)[good_N], minlength=len(centres_MD))
    return ModeCoverage(int((good_per_mode_M >= least).sum()), float(good_N.mean()), len(centres_MD))
