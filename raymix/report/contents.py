"""What a report shows beside the record: plain arrays in data units, made by `raymix.evaluation.portrait`.

Shapes: n rows of a component, C H W of an image, Y X sides of a grid, row_shape (C, H, W) or (D,).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.generic]


@dataclass(frozen=True)
class Neighbours:
    """Samples of one component against the training rows: the check for memorising."""

    rows: Rows
    """(n, *row_shape) the training row nearest to each of the first n samples."""
    numbers: NDArray[np.int64]
    """(n,) their numbers in the data set."""
    owners: NDArray[np.int64]
    """(n,) the components that won them."""
    distances: NDArray[np.float64]
    """Euclidean distance in data units from each sample that was measured (n and more) to the nearest training row."""
    real_distances: NDArray[np.float64]
    """The same from rows that the component owns to the nearest other training row; empty when it owns none."""


@dataclass(frozen=True)
class ComponentPortrait:
    """One component as it looks from outside."""

    component: int
    samples: NDArray[np.floating]
    """(n, *row_shape)"""
    owned: Rows
    """(m, *row_shape) rows that it won, drawn at random; m is 0 when it won none."""
    neighbours: Neighbours
    walks: NDArray[np.floating] | None = None
    """(walks, steps, C, H, W) images along the latent coordinates that change the picture most, from the 2nd
    percentile of the prior to the 98th; None where there are no images or no latent space."""
    log_ratio_YX: NDArray[np.float32] | None = None
    """On the portrait's grid: log p_k(x) - log p_data(x) in nats (the log-density up to a constant where the family has
    its own); None without a grid."""


@dataclass(frozen=True)
class Grid:
    """Points of the plane at which log ratios are drawn."""

    xs: NDArray[np.float64]
    ys: NDArray[np.float64]


@dataclass(frozen=True)
class Portrait:
    """All components of one generation."""

    components: tuple[ComponentPortrait, ...]
    num_rows: int
    """Rows of the data set."""
    num_read: int
    """Rows from which all real rows were drawn: the whole data set, or some of its blocks."""
    num_searched: int
    """Training rows among which the nearest was looked for."""
    grid: Grid | None = None
    """For rows of two columns that are judged."""
