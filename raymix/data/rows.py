"""The one kind of source: rows from a reader, labels beside them.

Shapes: N rows of the whole, n rows of a range.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from raymix.data.faults import printable, reading
from raymix.data.limits import MAX_LABEL
from raymix.data.source import Block, DataSpec
from raymix.errors import DataError


class RowReader(Protocol):
    """Reads ranges of rows in one form of file. May keep a file open; is used by one thread."""

    @property
    def num_rows(self) -> int: ...

    @property
    def row_shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...

    def read_rows(self, start: int, stop: int) -> NDArray[np.generic]:
        """(n, *row_shape) in `dtype`. Raises `DataError`."""
        ...

    def where(self, row: int) -> str:
        """File and row as an error names them."""
        ...


class Labels(NamedTuple):
    """Class numbers of all rows."""

    codes: NDArray[np.integer]
    """(N,) from 0, in the smallest type that holds them."""
    classes: tuple[str, ...]


def encode_labels(values: NDArray[np.generic], where: str) -> Labels:
    """Number classes in sorted order: integers by value, anything else as text.

    `values` (N,). Raises `DataError` for several axes, fractions, missing values and very long names.
    """
    if values.ndim != 1:
        raise DataError(f"labels have shape {values.shape}", where, "give one label per row")
    kind = values.dtype.kind
    if kind not in "biufUSO":
        raise DataError(f"labels are of type {values.dtype}", where, "give integers or strings")
    if kind == "f":
        whole = (values == np.floor(values)) & (np.abs(values) < 2**53)
        if not whole.all():
            row = int(np.argmin(whole))
            raise DataError(f"{values[row]} is no class", f"{where}, row {row}", "give integers or strings")
        values = values.astype(np.int64)
    elif kind == "b":
        values = values.astype(np.uint8)
    elif kind in "USO":  # text of any width; in an array of one width the longest would set the size of all
        if any(len(value) > MAX_LABEL for value in values):
            raise DataError("a label is too long", where, f"give names of at most {MAX_LABEL} characters")
        if kind == "S":
            with reading(where, "labels", "give integers or strings"):
                values = values.astype(str)
    names, codes = np.unique(values, return_inverse=True)
    small = np.min_scalar_type(max(0, len(names) - 1))
    return Labels(codes.astype(small), tuple(printable(name) for name in names))


def require_one_per_row(num_labels: int, num_rows: int, where: str) -> None:
    """Raises `DataError` if labels are too few or too many."""
    if num_labels != num_rows:
        raise DataError(f"holds {num_labels} labels for {num_rows} rows", where, "give one label per row")


@dataclass(frozen=True)
class RowSource:
    """A `Source` made of a reader and, where they are known, labels. Raises `DataError` if their counts differ."""

    name: str
    reader: RowReader
    labels: Labels | None = None
    limit: int | None = None
    """Number of first rows that count; None for all."""
    columns: tuple[str, ...] = ()
    """As in `DataSpec`; the next two are as in `Source`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.labels is not None:
            require_one_per_row(len(self.labels.codes), self.reader.num_rows, self.reader.where(0))

    @property
    def spec(self) -> DataSpec:
        classes = self.labels.classes if self.labels else ()
        num_rows = self.reader.num_rows if self.limit is None else self.limit
        return DataSpec(self.name, num_rows, self.reader.row_shape, self.reader.dtype, classes, self.columns)

    def read(self, start: int, stop: int) -> Block:
        """Rows start <= i < stop. Raises `DataError` with file and row."""
        assert 0 <= start <= stop <= self.spec.num_rows, (start, stop, self.spec)
        rows = self.reader.read_rows(start, stop)
        labels = None if self.labels is None else self.labels.codes[start:stop].astype(np.int64)
        return Block(rows, labels)

    def where(self, row: int) -> str:
        return self.reader.where(row)

    def named(self, columns: tuple[str, ...]) -> Self:
        """With names for its columns. Raises `DataError` where it has others in number, or none."""
        if self.reader.row_shape != (len(columns),):
            what = f"has rows of shape {self.reader.row_shape} and {len(columns)} names of columns"
            raise DataError(what, self.name, "give data.columns one name for each column of a vector")
        return replace(self, columns=columns)

    def first(self, num_rows: int) -> Self:
        """The first rows only. Raises `DataError` if there are fewer."""
        if num_rows > self.spec.num_rows:
            raise DataError(f"{num_rows} rows asked of {self.spec.num_rows}", self.name, "lower data.num_rows")
        return replace(self, limit=num_rows)
