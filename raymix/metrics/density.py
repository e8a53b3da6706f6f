"""Kernel density estimates of generated samples: how likely are held-out rows under them?

Shapes: N generated rows, M held-out rows, D columns. Densities are taken in the units of the rows; a row of an image
is flattened by the caller.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KernelDensity

from raymix.errors import ConfigError, DataError
from raymix.metrics.rows import checked_rows


def kde_log_likelihood(
    generated_ND: NDArray[np.floating], held_out_MD: NDArray[np.floating], bandwidth: float
) -> float:
    """Mean log-density, in nats per row, of held-out rows under a Gaussian kernel density estimate of generated ones.

    `bandwidth` is the standard deviation of the kernel; the density is normalised over D dimensions, so the value may
    be positive. Raises `DataError` for rows that are empty, not finite or of different widths, `ConfigError` for a
    bandwidth that is not positive.
    """
    generated_ND = checked_rows(generated_ND, "generated rows")
    held_out_MD = checked_rows(held_out_MD, "held-out rows")
    if generated_ND.shape[1] != held_out_MD.shape[1]:
        raise DataError(
            f"have {held_out_MD.shape[1]} columns, the generated ones {generated_ND.shape[1]}",
            "held-out rows",
            "give both in the units and shape of the data",
        )
    if not (np.isfinite(bandwidth) and bandwidth > 0):
        raise ConfigError(f"must be positive, got {bandwidth}", "bandwidth")
    # One leaf, so that every kernel is summed: pruning of the tree loses the log-density of rows far from all generated
    # ones (scikit-learn #7492, #27186), by hundreds of nats at small bandwidths.
    density = KernelDensity(bandwidth=bandwidth, kernel="gaussian", leaf_size=len(generated_ND)).fit(generated_ND)
    return float(density.score_samples(held_out_MD).mean())


def choose_bandwidth(generated_ND: NDArray[np.floating], bandwidths: Sequence[float]) -> float:
    """The bandwidth under which one half of the generated rows makes the other half most likely.

    Every second row is held out, so that rows sorted by component are split evenly; the first of equals wins. Held-out
    data takes no part in the choice. Raises `DataError` for fewer than two rows, `ConfigError` for no bandwidth.
    """
    generated_ND = checked_rows(generated_ND, "generated rows", least=2)
    if len(bandwidths) == 0:
        raise ConfigError("is empty", "bandwidths", "give at least one")
    return max(bandwidths, key=lambda bandwidth: kde_log_likelihood(generated_ND[::2], generated_ND[1::2], bandwidth))
