"""Balance: a starved component is lent its best other rows, found without collecting them in one place.

Rows are ordered by a 32-bit key that sorts as their float32 log ratios do. Two passes of per-block histograms (upper,
then lower 16 bits) give the exact key of the last row to lend; ties are taken in row order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 16

Histograms = Callable[[Mapping[int, int | None]], Sequence[Mapping[int, NDArray[np.int64]]]]
"""From {component: upper half of the key, or None for the first pass} to {component: (BINS,) counts} per block."""


class Threshold(NamedTuple):
    """Which rows of one block are lent: all with a key above, and the first `ties` with this very key."""

    key: int
    ties: int


def shortfall(won_K: NDArray[np.int64], min_share: float) -> dict[int, int]:
    """Rows to lend to each starved component: up to min_share * N / K, at most the rows it has not won."""
    total = int(won_K.sum())
    target = min(int(np.ceil(min_share * total / len(won_K))), total)
    return {k: target - int(won) for k, won in enumerate(won_K) if won < target}


def reseeds(
    components: Sequence[int], won_K: Sequence[int], starved_rounds_K: Sequence[int], patience: int
) -> dict[int, int]:
    """{starved component: the one it becomes a copy of}, for those starved for `patience` rounds in a row; 0 is never.

    The largest components go first, each once at most and to the lowest starved id.
    """
    starved = [k for k, rounds in zip(components, starved_rounds_K, strict=True) if patience and rounds >= patience]
    fed = [i for i, rounds in enumerate(starved_rounds_K) if rounds == 0]
    largest = sorted(fed, key=lambda i: -won_K[i])
    return dict(zip(starved, (components[i] for i in largest), strict=False))


def order_key(log_ratio_n: NDArray[np.floating]) -> NDArray[np.uint32]:
    """Unsigned keys in the order of float32 values (negative floats sort backwards by their bits); -0 equals 0."""
    bits = (log_ratio_n.astype(np.float32) + np.float32(0)).view(np.uint32)
    negative = bits >> np.uint32(31) == 1
    return np.where(negative, ~bits, bits | np.uint32(1 << 31))


def key_histogram(keys_m: NDArray[np.uint32], upper: int | None) -> NDArray[np.int64]:
    """Counts of the upper halves of keys, or of the lower halves of those whose upper half is `upper`."""
    if upper is None:
        return np.bincount(keys_m >> np.uint32(16), minlength=BINS)
    lower = keys_m[keys_m >> np.uint32(16) == upper] & np.uint32(BINS - 1)
    return np.bincount(lower, minlength=BINS)


def _last_bin(counts: NDArray[np.int64], need: int) -> tuple[int, int]:
    """The bin in which the need-th largest key lies, and how many are needed from that bin."""
    from_top = np.cumsum(counts[::-1])
    place = int(np.searchsorted(from_top, need))
    above = int(from_top[place - 1]) if place else 0
    return BINS - 1 - place, need - above


def thresholds(need: Mapping[int, int], histograms: Histograms) -> dict[int, list[Threshold]]:
    """For each starved component one `Threshold` per block, which together lend exactly `need` rows."""
    if not need:
        return {}
    first = histograms(dict.fromkeys(need))
    upper = {k: _last_bin(np.sum([block[k] for block in first], axis=0), rows) for k, rows in need.items()}
    second = histograms({k: bin for k, (bin, _) in upper.items()})
    result = {}
    for k, (bin, rows) in upper.items():
        low, ties = _last_bin(np.sum([block[k] for block in second], axis=0), rows)
        per_block = []
        for block in second:
            take = min(ties, int(block[k][low]))
            per_block.append(Threshold((bin << 16) | low, take))
            ties -= take
        result[k] = per_block
    return result


def lent(keys_n: NDArray[np.uint32], won_n: NDArray[np.bool_], threshold: Threshold) -> NDArray[np.int32]:
    """Rows of a block to lend, ascending; rows the component has won are not lent to it."""
    free_n = ~won_n
    above = np.flatnonzero(free_n & (keys_n > threshold.key))
    ties = np.flatnonzero(free_n & (keys_n == threshold.key))[: threshold.ties]
    return np.sort(np.concatenate([above, ties])).astype(np.int32)
