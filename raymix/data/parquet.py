"""Parquet: columns of numbers as vectors, or a column of encoded images.

Shapes: n rows of a range, D columns of numbers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymix.data.faults import listing
from raymix.data.images import ImageRows
from raymix.data.layout import array_layout
from raymix.data.parquet_labels import named_labels
from raymix.data.parquet_table import Cursor, ParquetTable, first_null, missing_value
from raymix.data.parquet_types import holds_images, index_columns, is_list, is_number, numpy_type
from raymix.data.paths import Place
from raymix.data.rows import RowReader, RowSource
from raymix.errors import DataError

_BATCH_VALUES = 2**20


class _Column(NamedTuple):
    """A column of numbers, or of lists of them that have one length."""

    name: str
    width: int
    dtype: np.dtype[np.generic]


class _VectorRows:
    """Columns of numbers as rows (D,), lists one number after the other. Raises `DataError` for missing values."""

    def __init__(self, table: ParquetTable, names: list[str]) -> None:
        self._table, self._columns = table, [_column(table, name) for name in names]
        width = sum(column.width for column in self._columns)
        layouts = [array_layout((table.num_rows, width), column.dtype, table.place) for column in self._columns]
        self.num_rows, self.row_shape = table.num_rows, layouts[0].row_shape
        self.dtype = str(np.result_type(*{layout.dtype for layout in layouts}))
        self._cursor = Cursor(table, names, max(1, _BATCH_VALUES // width))

    def read_rows(self, start: int, stop: int) -> NDArray[np.generic]:
        rows = np.empty((stop - start, *self.row_shape), self.dtype)
        done = 0
        for batch in self._cursor.pieces(start, stop):
            left = 0
            for column, values in zip(self._columns, batch.columns, strict=True):
                place = rows[done : done + batch.num_rows, left : left + column.width]
                place[...] = self._numbers(column, values, start + done)
                left += column.width
            done += batch.num_rows
        return rows

    def _numbers(self, column: _Column, values: pa.Array, begin: int) -> NDArray[np.generic]:
        """(n, width) of the values of some rows from `begin` on."""
        if values.null_count:
            raise missing_value(column.name, self.where(begin + first_null(values)))
        if is_list(values.type):
            lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
            if (lengths != column.width).any():
                row = int(np.argmax(lengths != column.width))
                what = f"column {column.name} has {lengths[row]} values, the first row {column.width}"
                raise DataError(what, self.where(begin + row), "give lists of one length")
            values = values.flatten()
            if values.null_count:
                raise missing_value(column.name, self.where(begin + first_null(values) // column.width))
        if pa.types.is_decimal(values.type):
            values = values.cast(pa.float64())
        array: NDArray[np.generic] = values.to_numpy(zero_copy_only=False)
        return array.reshape(-1, column.width)

    def where(self, row: int) -> str:
        return self._table.where(row)


def _column(table: ParquetTable, name: str) -> _Column:
    kind = table.schema.field(name).type
    if not is_list(kind):
        return _Column(name, 1, numpy_type(kind))
    if pa.types.is_fixed_size_list(kind):
        return _Column(name, kind.list_size, numpy_type(kind.value_type))
    first = next(Cursor(table, [name], 1).pieces(0, 1)).column(0)
    if first.null_count:
        raise missing_value(name, table.where(0))
    if not len(first[0]):
        raise DataError(f"column {name} is empty", table.where(0), "give lists of one length")
    return _Column(name, len(first[0]), numpy_type(kind.value_type))


class _ParquetImages:
    """Encoded images in a column of bytes, or of structs with a field `bytes`; read one by one, they may be large."""

    def __init__(self, table: ParquetTable, column: str) -> None:
        self._table, self._column = table, column
        is_struct = pa.types.is_struct(table.schema.field(column).type)
        self._cursor = Cursor(table, [column], 1, [f"{column}.bytes" if is_struct else column])

    def __len__(self) -> int:
        return self._table.num_rows

    def read_bytes(self, row: int) -> bytes:
        value = next(self._cursor.pieces(row, row + 1)).column(0)[0].as_py()
        data = value["bytes"] if isinstance(value, dict) else value
        if data is None:
            what = f"column {self._column} has no bytes"
            raise DataError(what, self.where(row), "store the image itself, not its path")
        return bytes(data)

    def where(self, row: int) -> str:
        return self._table.where(row)


def open_parquet(
    paths: Sequence[Place], name: str, columns: Sequence[str] | None = None, ground: str | None = None
) -> RowSource:
    """Rows of Parquet files: the one column of images if there is one, else all columns of numbers, and of lists of
    numbers, but the label; or the `columns` of these names.

    The label is a column named label, labels, y, target or class that is no coordinate. What a file's own metadata
    calls an index is none of the data. Other columns are passed over beside images and refused beside numbers. Raises
    `DataError`.
    """
    table = ParquetTable(paths)
    index = [] if columns else index_columns(table.schema)
    label, labels, notes = named_labels(table, index, columns)
    notes += [f"column {each} is the frame's index and left out" for each in index]
    fields = (
        _chosen(table, columns) if columns else [field for field in table.schema if field.name not in (label, *index)]
    )
    images = [field.name for field in fields if holds_images(field.type)]
    if len(images) > 1:
        raise DataError(f"has the image columns {listing(images)}", table.place, "name one of them in data.columns")
    if not images:
        names = [field.name for field in fields]
        reader = _vectors(table, fields)
        return RowSource(
            name, reader, labels, columns=tuple(names), settings={"columns": tuple(names)}, notes=tuple(notes)
        )
    others = [field.name for field in fields if field.name != images[0]]
    if others:
        notes.append(f"columns beside the images are left out: {listing(others)}")
    rows = ImageRows(_ParquetImages(table, images[0]), ground=ground)
    settings = {**rows.settings, "columns": (images[0],)}
    return RowSource(name, rows, labels, settings=settings, notes=(*notes, *rows.notes))


def _chosen(table: ParquetTable, columns: Sequence[str]) -> list[pa.Field]:
    missing = [column for column in columns if column not in table.schema.names]
    if missing:
        what = f"has no column {listing(missing)}"
        raise DataError(what, table.place, f"of its columns name some in data.columns: {listing(table.schema.names)}")
    return [table.schema.field(column) for column in columns]


def _vectors(table: ParquetTable, fields: list[pa.Field]) -> RowReader:
    for field in fields:
        if not is_number(field.type.value_type if is_list(field.type) else field.type):
            raise DataError(
                f"column {field.name} holds {str(field.type)[:100]}", table.place, "drop it or turn it into numbers"
            )
    if not fields:
        raise DataError("has no columns of numbers or images", table.place, "give at least one")
    return _VectorRows(table, [field.name for field in fields])
