"""Two-dimensional mixtures of Gaussians that are drawn, not read: the warped sets of the paper, a ring and a grid.

Locatello et al., section 5 (synthetic data; positions are raymix's own); ring and grid as in VEEGAN's experiments.
Shapes: N rows, M modes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymix.data.arrays import ArrayRows
from raymix.data.faults import reading
from raymix.data.rows import Labels, RowSource
from raymix.errors import DataError
from raymix.seeds import ALL, Phase, numpy_rng, phase_seed

DEFAULT_ROWS = 16_000


class Modes(NamedTuple):
    """Equally likely Gaussians with axis-aligned spread, bent by the warp x2 += 0.04 x1^2 - 4 where `warped`."""

    centres: NDArray[np.float64]
    """(M, 2), before the warp."""
    sds: NDArray[np.float64]
    """(M, 2), per axis."""
    warped: bool

    def warp(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Rows (N, 2) as they are drawn from the Gaussians -> as the data set has them."""
        return rows + _bend(rows) if self.warped else rows

    def unwarp(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """The inverse of `warp`, exact up to rounding."""
        return rows - _bend(rows) if self.warped else rows


def _bend(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.stack([np.zeros_like(rows[:, 0]), 0.04 * rows[:, 0] ** 2 - 4], axis=1)


def _modes(centres: list[tuple[float, float]], sds: list[tuple[float, float]] | float, warped: bool) -> Modes:
    place = np.array(centres, dtype=np.float64)
    return Modes(place, np.broadcast_to(np.array(sds, dtype=np.float64), place.shape).copy(), warped)


_ANGLES = 2 * np.pi * np.arange(8) / 8
_MODES = {
    "synthetic-3": _modes([(-12, 0), (0, 8), (12, 0)], 0.8, True),
    "synthetic-5": _modes([(-15, -8), (-15, 8), (15, -8), (15, 8), (0, 0)], [(0.4, 0.4)] * 4 + [(4, 0.4)], True),
    "synthetic-9": _modes([(x, y) for x in (-15, 0, 15) for y in (-15, 0, 15)], 0.35, True),
    "ring": _modes(list(zip(np.cos(_ANGLES), np.sin(_ANGLES), strict=True)), 0.01, False),
    "grid": _modes([(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)], 0.05, False),
}


def is_synthetic(name: str) -> bool:
    """Whether a data set is drawn, and so has known modes."""
    return name in _MODES


def modes(name: str) -> Modes:
    """The true modes of a drawn data set. Raises `DataError` for any other."""
    if not is_synthetic(name):
        raise DataError("has no known modes", name, f"known are those of {', '.join(_MODES)}")
    return _MODES[name]


def open_synthetic(name: str, num_rows: int, seed: int) -> RowSource:
    """Rows (N, 2) float32 in random order, equal shares per mode, the mode as label. Raises `DataError`."""
    return _drawn(name, num_rows, seed)


def open_synthetic_test(name: str, num_rows: int, seed: int) -> RowSource:
    """As `open_synthetic`, from a stream of random numbers that training rows never come from."""
    return _drawn(name, num_rows, phase_seed(seed, 0, ALL, Phase.EVALUATE, draw=1))


def _drawn(name: str, num_rows: int, seed: int) -> RowSource:
    truth, rng = modes(name), numpy_rng(seed)
    with reading(name, f"{num_rows} random rows", "lower data.num_rows"):
        codes = rng.permutation(np.arange(num_rows) % len(truth.centres))
        normal = rng.standard_normal((num_rows, 2))
        rows = truth.warp(truth.centres[codes] + truth.sds[codes] * normal).astype(np.float32)
    classes = tuple(str(mode) for mode in range(len(truth.centres)))
    return RowSource(name, ArrayRows(rows, name), Labels(codes, classes))
