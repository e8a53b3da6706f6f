"""What a data set is to the rest of raymix: rows of one shape and type, read by range.

Shapes: n rows of a range, C H W of an image (channels first), D columns of a vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Block(NamedTuple):
    """An immutable slice of the data set."""

    rows: NDArray[np.generic]
    """(n, *row_shape), in the data's own dtype."""
    labels: NDArray[np.int64] | None
    """(n,) class numbers from 0, or None where labels are unknown."""


@dataclass(frozen=True)
class DataSpec:
    """What must be known of a data set before any of its rows is trained on."""

    name: str
    num_rows: int
    row_shape: tuple[int, ...]
    """(C, H, W) of an image, (D,) of a vector."""
    dtype: str
    """NumPy's name of the rows' type."""
    classes: tuple[str, ...] = ()
    """Names of the classes in the order of their numbers; empty where labels are unknown."""
    columns: tuple[str, ...] = ()
    """Names of the columns that make up a vector, in order; empty where they have none."""

    @property
    def is_image(self) -> bool:
        return len(self.row_shape) == 3

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.row_shape)) * np.dtype(self.dtype).itemsize


class Source(Protocol):
    """Reads a data set. Opening one is cheap; each reader opens its own, so that any process can read any range."""

    @property
    def spec(self) -> DataSpec: ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Fields of `DataConfig` that were left open, as they were taken in reading; a run keeps them."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken by its name or left out in reading, a clause each, for whoever trains on it."""
        ...

    def read(self, start: int, stop: int) -> Block:
        """Rows start <= i < stop. Raises `DataError` with file and row."""
        ...

    def where(self, row: int) -> str:
        """File and row as an error names them."""
        ...


def block_bounds(spec: DataSpec, block_bytes: int) -> tuple[tuple[int, int], ...]:
    """Cut [0, num_rows) into ranges of whole rows of at most `block_bytes` (one row at least)."""
    rows = max(1, block_bytes // spec.row_bytes)
    return tuple((start, min(start + rows, spec.num_rows)) for start in range(0, spec.num_rows, rows))
