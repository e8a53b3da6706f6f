"""Stacked MNIST (Metz et al., 2017; Srivastava et al., 2017): three digits in the channels of one image, 1,000 modes.

A classifier of digits names the mode of each sample; what it names is measured here.

Shapes: N samples, K modes, C channels.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from raymix.errors import DataError

NUM_MODES = 1000


class StackedModes(NamedTuple):
    """How samples spread over the modes."""

    captured: int
    """Modes with at least one sample."""
    kl_nats: float
    """KL(samples || data) of the modes' frequencies, in nats; 0 when they agree."""
    floor_nats: float
    """What that KL is on average for as many samples of the data itself."""
    num_modes: int
    num_samples: int


def mode_numbers(digits_NC: NDArray[np.integer]) -> NDArray[np.int64]:
    """(N,) the number that the digits of an image's channels spell, the first channel's digit first.

    Raises `DataError` for anything but digits from 0 to 9.
    """
    digits_NC = np.asarray(digits_NC)
    if digits_NC.ndim != 2 or ((digits_NC < 0) | (digits_NC > 9)).any():
        what = f"have shape {digits_NC.shape} or reach beyond 0 to 9"
        raise DataError(what, "digits", "give one digit per image and channel: (N, C)")
    return digits_NC.astype(np.int64) @ 10 ** np.arange(digits_NC.shape[1])[::-1]


def stacked_modes(
    modes_N: NDArray[np.integer], num_modes: int = NUM_MODES, data_share_K: NDArray[np.floating] | None = None
) -> StackedModes:
    """Captured modes and KL(samples || data) from the predicted mode of each sample.

    `data_share_K` is the share of the data in each mode; equal shares where it is not given. Raises `DataError` for
    no sample, a mode out of range, shares that do not sum to 1, or samples in a mode without data (an infinite KL).
    """
    modes_N = np.asarray(modes_N)
    share_K = np.full(num_modes, 1 / num_modes) if data_share_K is None else np.asarray(data_share_K, np.float64)
    if share_K.shape != (num_modes,) or not (share_K >= 0).all() or not abs(share_K.sum() - 1) <= 1e-6:
        raise DataError(f"are no {num_modes} shares that sum to 1", "shares of the data", "give one per mode")
    if modes_N.ndim != 1 or modes_N.size == 0:
        raise DataError(f"have shape {modes_N.shape}", "modes of samples", "give one mode per sample")
    outside_N = (modes_N < 0) | (modes_N >= num_modes)
    if outside_N.any():
        row = int(outside_N.argmax())
        raise DataError(f"mode {modes_N[row]}", f"modes of samples, row {row}", f"give 0 to {num_modes - 1}")
    counts_K = np.bincount(modes_N, minlength=num_modes)
    if (counts_K[share_K == 0] > 0).any():
        mode = int(((counts_K > 0) & (share_K == 0)).argmax())
        raise DataError(f"mode {mode} has samples and no data", "shares of the data", "the KL would be infinite")
    kl = float(rel_entr(counts_K / modes_N.size, share_K).sum())
    floor = sampling_floor(int((share_K > 0).sum()), modes_N.size)
    return StackedModes(int((counts_K > 0).sum()), kl, floor, num_modes, int(modes_N.size))


def sampling_floor(num_modes: int, num_samples: int) -> float:
    """(K - 1) / 2N nats: the expected KL(samples || data) of N samples drawn from the data itself.

    The first term in 1 / N (Miller, 1955); it is close when every mode expects several samples.
    """
    return (num_modes - 1) / (2 * num_samples)
