"""Log ratios and their normalisers, in nats.

    r_j(x) = log p_j(x) - log p_data(x) = -l_j(x) + log(num_real / num_fake)        label 1 = real
    s_j(x) = r_j(x) - log Z_j,   Z_j = sum_i exp r_j(x_i) over the whole data set

Source: Locatello et al., eq. 6 and the two displays that follow it.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def log_ratio(logits: NDArray[np.floating], real_weight: float = 1.0, fake_weight: float = 1.0) -> NDArray[np.floating]:
    """r from a discriminator's logits l.

    The weights are the total weights of the real and of the fake side in its loss: the counts for an unweighted mean
    over a mixed batch, equal when each side is averaged by itself (the default).
    """
    return np.log(real_weight / fake_weight).astype(logits.dtype) - logits


def log_sum_exp(values: ArrayLike) -> float:
    """log sum_i exp(values_i) in float64; -inf for no values."""
    values = np.asarray(values, np.float64)
    if values.size == 0:
        return -np.inf
    top = float(values.max())
    if not np.isfinite(top):
        return top
    return top + float(np.log(np.exp(values - top).sum()))


def normalisers(log_sum_exp_KB: NDArray[np.float64]) -> NDArray[np.float64]:
    """log Z_K from each component's log-sum-exp per block, added up in block order."""
    return np.array([log_sum_exp(blocks) for blocks in log_sum_exp_KB])
