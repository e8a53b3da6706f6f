"""Interleaved timings and their medians."""

import statistics
import time
from collections.abc import Mapping

from raymix.bench.ways import Way
from raymix.training.replay import first_calls

TIMED_S = 0.3  # of one timing, at least
REPEATS = 5
SPREAD = 0.3  # of the quartiles around a median, beyond which a ratio is not to be trusted


class Timing:
    """Seconds per step of one way, several times over."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def steady(self) -> bool:
        """Whether the middle half of the timings lies close together."""
        if len(self.seconds) < 3:
            return True
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return high - low <= SPREAD * self.median


def timings(ways: Mapping[str, Way], repeats: int = REPEATS, timed_s: float = TIMED_S) -> dict[str, Timing]:
    """Time the ways in turn, `repeats` times, each time as many steps as take `timed_s` seconds at least."""
    counts = {name: enough(way, timed_s) for name, way in ways.items()}
    found = {name: Timing() for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way(counts[name])
            found[name].seconds.append((time.perf_counter() - start) / counts[name])
    return found


def enough(way: Way, timed_s: float) -> int:
    """Steps that take about so long; the first steps, which are slow, are made meanwhile."""
    way(first_calls())
    count = 1
    while True:
        start = time.perf_counter()
        way(count)
        took_s = time.perf_counter() - start
        if took_s >= timed_s:
            return count
        count = max(count + 1, min(count * 10, round(count * 1.2 * timed_s / max(took_s, 1e-9))))
