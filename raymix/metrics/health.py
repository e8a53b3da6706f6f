"""How evenly a mixture uses its components."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from raymix.errors import DataError

CHANCE = 0.693  # loss of a discriminator that cannot tell (log 2), in nats
SATURATED = 0.1  # below which its log ratios say little


def effective_components(weights_K: NDArray[np.floating]) -> float:
    """Effective number of components, exp(H(alpha)) with the entropy H in nats: K for equal weights, 1 for one alone.

    Raises `DataError` unless the weights are non-negative and sum to 1 (within 1e-6).
    """
    weights_K = np.asarray(weights_K, dtype=np.float64)
    if not (weights_K >= 0).all() or not abs(weights_K.sum() - 1) <= 1e-6:
        raise DataError(
            f"sum to {weights_K.sum():.6g}, smallest {weights_K.min(initial=0):.6g}",
            "mixing weights",
            "give non-negative weights that sum to 1",
        )
    return float(np.exp(entr(weights_K).sum()))
