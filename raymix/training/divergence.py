"""Values that stopped being finite are named before an assignment or a commit can see them."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from raymix.errors import DivergedError
from raymix.maths.log_ratio import log_sum_exp

Scores = dict[int, tuple[NDArray[np.floating], float]]
"""For each component the log ratios of a block's rows, and their log-sum-exp."""


def first_not_finite(losses: torch.Tensor) -> int | None:
    """Index of the first loss that is nan or infinite."""
    bad = np.flatnonzero(~np.isfinite(losses.cpu().numpy()))
    return int(bad[0]) if len(bad) else None


def require_finite(network: nn.Module, component: int, round: int, step: int) -> None:
    """Raises `DivergedError` when a weight is not finite, as after a gradient that was not."""
    sums = [value.sum() for value in (*network.parameters(), *network.buffers()) if value.is_floating_point()]
    if sums and not bool(torch.isfinite(torch.stack([value.double() for value in sums])).all()):
        raise DivergedError(component, round, step, "a gradient or weight")


def checked_scores(values: Mapping[int, NDArray[np.floating]], round: int) -> Scores:
    """The log ratios of each component with their log-sum-exp. Raises `DivergedError`."""
    for k, log_ratio_n in values.items():
        if not np.isfinite(log_ratio_n).all():
            raise DivergedError(k, round, -1, "a log ratio")
    return {k: (log_ratio_n, log_sum_exp(log_ratio_n)) for k, log_ratio_n in values.items()}
