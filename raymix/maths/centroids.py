"""A partition to begin with: k-means on principal components of images, on scaled vectors or on given features.

As in `raymix.maths.blockwise`, each function runs once per block, or once per try, and returns (what stays there, a
summary). Axes and centres are found from a bounded number of rows, drawn evenly from all blocks.

Shapes: n rows of a block, D values of a row, P coordinates, K centres.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from raymix.config import Config
from raymix.maths.modality import SEEN, Frame, one_thread
from raymix.seeds import numpy_rng

AXES = 50  # principal components of images
TRIES = 5  # of k-means, of which the best is kept
ROWS_PER_CENTRE, FEWEST_ROWS = 256, 50_000  # as many rows are centres found from, at most
CHUNK_VALUES = 2**22  # of rows that are scaled at a time
MANY = 256  # centres: more are found by mini-batches, which end 1 to 3 % above the inertia of whole passes on MNIST
AXES_VALUES = 2**25  # from as many values are axes found, at most


class Scaling(NamedTuple):
    """From data units to those in which distances are taken: one number each, or one per column."""

    offset: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)

    @classmethod
    def of(cls, config: Config) -> Self:
        """Of what the first partition of a resolved config looks at: rows, or features as they are."""
        if config.schedule.begin == "features":
            return cls()
        assert config.data.offset and config.data.scale
        return cls(config.data.offset, config.data.scale)

    def scaled(self, rows_n: NDArray[np.generic]) -> NDArray[np.float64]:
        """(n, D)"""
        flat_nD = rows_n.reshape(len(rows_n), -1).astype(np.float64)
        found: NDArray[np.float64] = (flat_nD - np.array(self.offset)) * np.array(self.scale)
        return found


def chunks(num: int, rows_n: NDArray[np.generic]) -> Iterator[slice]:
    """Cuts `num` of such rows so that few are scaled at a time."""
    step = max(1, min(SEEN, CHUNK_VALUES // math.prod(rows_n.shape[1:])))
    return (slice(start, start + step) for start in range(0, num, step))


class Centroids(NamedTuple):
    """Centres of cells: a row is of the cell whose centre is nearest."""

    components: tuple[int, ...]
    """Whose cells they are."""
    centres_KP: NDArray[np.floating]
    frame: Frame | None
    """The axes of the centres; None where they are the rows' own."""

    def only(self, components: Sequence[int]) -> Self:
        """Those of some components."""
        places = [place for place, k in enumerate(self.components) if k in components]
        kept = tuple(self.components[place] for place in places)
        return self._replace(components=kept, centres_KP=self.centres_KP[places])

    @one_thread
    def nearest(self, scaled_nD: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """(n,) the cell of each row, where ties go to the first, and (n,) -||x - mu||^2 / 2 of its centre: Lemma 2's
        log-density up to a constant, in nats."""
        coordinates_nP = self.frame.projected(scaled_nD) if self.frame else scaled_nD
        middle_P = self.centres_KP.mean(0, dtype=np.float64)
        rows_nP, centres_KP = coordinates_nP - middle_P, self.centres_KP - middle_P
        cells_n = (rows_nP @ centres_KP.T - 0.5 * (centres_KP**2).sum(1)).argmax(1)
        return cells_n.astype(np.int32), -0.5 * ((rows_nP - centres_KP[cells_n]) ** 2).sum(1)


def shares(sizes_B: Sequence[int], most: int) -> list[int]:
    """Rows to draw from each block, in proportion to its size: `most` in all, or every row."""
    ends_B = np.cumsum(sizes_B)
    drawn_B: list[int] = np.diff(ends_B * min(most, int(ends_B[-1])) // ends_B[-1], prepend=0).tolist()
    return drawn_B


class Draw(NamedTuple):
    """Rows of a block that are drawn."""

    num: int
    seed: int
    scaling: Scaling
    frame: Frame | None = None

    def rows(self, rows_n: NDArray[np.generic]) -> Iterator[NDArray[np.float64]]:
        """The drawn rows in ascending order, some at a time, scaled and projected."""
        numbers = np.arange(len(rows_n))
        if self.num < len(rows_n):
            numbers = np.sort(numpy_rng(self.seed).choice(len(rows_n), self.num, replace=False))
        for some in chunks(self.num, rows_n):
            scaled_nD = self.scaling.scaled(rows_n[numbers[some]])
            yield self.frame.projected(scaled_nD) if self.frame else scaled_nD


@one_thread
def draw(task: Draw, rows_n: NDArray[np.generic]) -> tuple[NDArray[np.float32], None]:
    """Stays: coordinates of rows that are drawn from a block, (num, P)."""
    parts = [each.astype(np.float32) for each in task.rows(rows_n)]
    return np.concatenate(parts) if parts else np.empty((0, 0), np.float32), None


class Fit(NamedTuple):
    """One try to find axes or centres."""

    num: int
    """Of axes at most, or of centres."""
    seed: int

    @property
    def state(self) -> int:
        """scikit-learn's seeds have 32 bits."""
        return self.seed % 2**32


def axes(task: Fit, *drawn_B: NDArray[np.float32]) -> tuple[None, Frame]:
    """Summary: mean and principal components of drawn rows."""
    from sklearn.decomposition import PCA  # takes a second to import

    rows_nD = np.concatenate([drawn for drawn in drawn_B if len(drawn)])
    num = min(task.num, *rows_nD.shape)
    found = fitted(PCA(num, svd_solver="randomized", random_state=task.state), rows_nD)
    return None, Frame(found.mean_.astype(np.float64), found.components_.T.astype(np.float64))


def centres(task: Fit, *drawn_B: NDArray[np.float32]) -> tuple[None, tuple[float, NDArray[np.float32]]]:
    """Summary: inertia and centres (K, P) of one k-means from k-means++."""
    from sklearn.cluster import KMeans, MiniBatchKMeans

    rows_nP = np.concatenate([drawn for drawn in drawn_B if len(drawn)])
    kmeans = KMeans if task.num <= MANY else MiniBatchKMeans
    found = fitted(kmeans(task.num, n_init=1, random_state=task.state), rows_nP)
    return None, (float(found.inertia_), found.cluster_centers_)


@one_thread
def fitted(estimator: Any, rows: NDArray[np.float32]) -> Any:
    """Only libraries that are loaded before can be held to one thread, so the estimator is made by the caller."""
    return estimator.fit(rows)


class Place(NamedTuple):
    """Where rows belong."""

    centroids: Centroids
    scaling: Scaling

    def of(self, rows_n: NDArray[np.generic]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """As `Centroids.nearest`, of rows in data units."""
        cells_n, log_density_n = np.empty(len(rows_n), np.int32), np.empty(len(rows_n))
        for some in chunks(len(rows_n), rows_n):
            cells_n[some], log_density_n[some] = self.centroids.nearest(self.scaling.scaled(rows_n[some]))
        return cells_n, log_density_n


def place(task: Place, rows_n: NDArray[np.generic]) -> tuple[NDArray[np.int32], None]:
    """Stays: the position of each row's cell."""
    return task.of(rows_n)[0], None
