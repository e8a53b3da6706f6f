"""Digits on wave patterns, drawn: what made a row is the pattern's direction, and nearness does not tell it.

Two rows of one pattern are as far from each other as two of different ones, because each wave has a phase of its own;
what a pattern's rows have in common a generator can learn, and a centre in pixels cannot. In the spirit of Parascandolo
et al. (2018), whose experts compete for digits that were transformed in different ways.

Shapes: N rows, M patterns, 16 x 16 grey pixels.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raymix.data.arrays import ArrayRows
from raymix.data.known import open_digits
from raymix.data.rows import Labels, RowSource
from raymix.seeds import ALL, Phase, numpy_rng, phase_seed

NAME = "mechanisms"
DEFAULT_ROWS = 10_000
SIDE, PERIOD = 16, 5.0  # pixels
DIRECTIONS = (0, 45, 90, 135)  # degrees
CONTRAST = 80  # of 255: the wave's amplitude about the middle grey
HELD_OUT = 5  # every such digit is seen in test rows alone


def open_mechanisms(num_rows: int, seed: int) -> RowSource:
    """Rows (N, 1, 16, 16) uint8 in random order, equal shares per pattern; classes are pairs of pattern and digit."""
    return _drawn(num_rows, seed, False)


def open_mechanisms_test(num_rows: int, seed: int) -> RowSource:
    """As `open_mechanisms`, of other digits and from another stream of random numbers."""
    return _drawn(num_rows, phase_seed(seed, 0, ALL, Phase.EVALUATE, draw=1), True)


@lru_cache(maxsize=2)
def _drawn(num_rows: int, seed: int, held_out: bool) -> RowSource:
    digits, rng = open_digits().read(0, open_digits().spec.num_rows), numpy_rng(seed)
    assert digits.labels is not None
    usable = np.flatnonzero((np.arange(len(digits.labels)) % HELD_OUT == 0) == held_out)
    chosen = usable[rng.integers(0, len(usable), num_rows)]
    patterns = rng.permutation(np.arange(num_rows) % len(DIRECTIONS))
    ink = enlarged(digits.rows[chosen, 0] / 16)
    ground = waves(np.radians(DIRECTIONS)[patterns], rng.uniform(0, 2 * np.pi, num_rows))
    rows = np.rint(255 * ink + (1 - ink) * ground).astype(np.uint8)
    classes = tuple(f"{angle}° {digit}" for angle in DIRECTIONS for digit in range(10))
    return RowSource(NAME, ArrayRows(rows, NAME), Labels(10 * patterns + digits.labels[chosen], classes))


def enlarged(small: NDArray[np.floating]) -> NDArray[Any]:
    """(N, 8, 8) -> (N, 16, 16), between pixels in a straight line."""
    places = np.clip((np.arange(SIDE) + 0.5) / 2 - 0.5, 0, 7)
    lower = np.minimum(places.astype(int), 6)
    weights = np.zeros((SIDE, 8))
    weights[np.arange(SIDE), lower] = 1 - (places - lower)
    weights[np.arange(SIDE), lower + 1] = places - lower
    return np.einsum("ya,nab,xb->nyx", weights, small, weights)


def waves(angles_n: NDArray[np.floating], phases_n: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, 16, 16) grey waves about 127.5 that run in a direction each, in radians."""
    y, x = np.mgrid[:SIDE, :SIDE]
    along = np.cos(angles_n)[:, None, None] * x + np.sin(angles_n)[:, None, None] * y
    found: NDArray[np.float64] = 127.5 + CONTRAST * np.sin(2 * np.pi * along / PERIOD + phases_n[:, None, None])
    return found
