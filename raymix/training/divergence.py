"""Values that stopped being finite are named before an assignment or a commit can see them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from raymix.errors import DivergedError
from raymix.maths.log_ratio import log_sum_exp

LogRatios = dict[int, tuple[NDArray[np.floating], float]]
"""For each component the log ratios of a block's rows, and their log-sum-exp."""


def checked_log_ratios(values: Mapping[int, NDArray[np.floating]], round: int) -> LogRatios:
    """The log ratios of each component with their log-sum-exp. Raises `DivergedError`."""
    for k, log_ratio_n in values.items():
        if not np.isfinite(log_ratio_n).all():
            raise DivergedError(k, round, -1, "a log ratio")
    return {k: (log_ratio_n, log_sum_exp(log_ratio_n)) for k, log_ratio_n in values.items()}
