"""Parquet: columns of numbers as vectors, or a column of encoded images.

Shapes: n rows of a range, D columns of numbers.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raymix.data.faults import listing, reading
from raymix.data.images import ImageRows
from raymix.data.layout import array_layout
from raymix.data.parquet_table import Cursor, ParquetTable
from raymix.data.paths import Place
from raymix.data.rows import Labels, RowReader, RowSource, encode_labels
from raymix.errors import DataError

LABEL_COLUMNS = ("label", "labels", "y", "target", "class")
_BATCH_VALUES, _BATCH_ROWS = 2**20, 2**16


class _VectorRows:
    """Columns of numbers as rows (D,). Raises `DataError` for missing values."""

    def __init__(self, table: ParquetTable, columns: list[str]) -> None:
        self._table, self._columns = table, columns
        dtypes = [np.dtype(table.schema.field(column).type.to_pandas_dtype()) for column in columns]
        layouts = [array_layout((table.num_rows, len(columns)), dtype, table.place) for dtype in dtypes]
        self.num_rows, self.row_shape = table.num_rows, layouts[0].row_shape
        self.dtype = str(np.result_type(*{layout.dtype for layout in layouts}))
        self._cursor = Cursor(table, columns, max(1, _BATCH_VALUES // len(columns)))

    def read_rows(self, start: int, stop: int) -> NDArray[np.generic]:
        rows = np.empty((stop - start, len(self._columns)), self.dtype)
        done = 0
        for batch in self._cursor.pieces(start, stop):
            for index, column in enumerate(batch.columns):
                if column.null_count:
                    row = self.where(start + done + _first_null(column))
                    raise DataError(f"column {self._columns[index]} has no value", row, "fill it or drop the row")
                rows[done : done + batch.num_rows, index] = column.to_numpy(zero_copy_only=False)
            done += batch.num_rows
        return rows

    def where(self, row: int) -> str:
        return self._table.where(row)


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


def open_parquet(paths: Sequence[Place], name: str, ground: str | None = None) -> RowSource:
    """Rows of Parquet files: the one column of images if there is one, else all columns of numbers but the label.

    The label is a column named label, labels, y, target or class; a `y` of fractions is a coordinate. Other columns
    are passed over beside images and refused beside numbers. Raises `DataError`.
    """
    table = ParquetTable(paths)
    label = _label_column(table.schema, table.place)
    fields = [field for field in table.schema if field.name != label]
    images = [field.name for field in fields if _holds_images(field.type)]
    if len(images) > 1:
        raise DataError(f"has the image columns {listing(images)}", table.place, "keep one of them")
    labels = None if label is None else read_parquet_labels(table, label)
    if not images:
        return RowSource(name, _vectors(table, fields), labels)
    rows = ImageRows(_ParquetImages(table, images[0]), ground=ground)
    return RowSource(name, rows, labels, settings=rows.settings, notes=rows.notes)


def read_parquet_labels(table: ParquetTable, column: str) -> Labels:
    """Class numbers of a column of integers, booleans or strings. Raises `DataError`, for missing values too."""
    place = f"{table.place}, column {column}"
    kind = table.schema.field(column).type
    stored = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (_is_text(stored) or _is_number(stored)):
        raise DataError(f"holds {str(kind)[:100]}", place, "give integers or strings as labels")
    cursor = Cursor(table, [column], _BATCH_ROWS, by_dictionary=_is_text(stored))
    names: dict[str, int] = {}  # in the order in which they first appear
    found, row = [], 0
    for batch in cursor.pieces(0, table.num_rows):
        data = batch.column(0)
        if data.null_count:
            missing = table.where(row + _first_null(data))
            raise DataError(f"column {column} has no value", missing, "fill it or drop the row")
        with reading(place, "labels", "give integers or strings"):  # text may be no UTF-8
            if _is_text(stored):
                coded = data if pa.types.is_dictionary(data.type) else data.dictionary_encode()
                known = [names.setdefault(name, len(names)) for name in coded.dictionary.to_pylist()]
                found.append(np.array(known, np.int64)[coded.indices.to_numpy()])
            else:
                plain = data.dictionary_decode() if pa.types.is_dictionary(data.type) else data
                found.append(plain.to_numpy(zero_copy_only=False))
        row += batch.num_rows
    if not _is_text(stored):
        return encode_labels(np.concatenate(found), place)
    distinct = encode_labels(np.array(list(names), dtype=object), place)
    return Labels(distinct.codes[np.concatenate(found)], distinct.classes)


def _first_null(column: pa.Array) -> int:
    return int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])


def _label_column(schema: pa.Schema, place: str) -> str | None:
    found = [
        field.name
        for field in schema
        if field.name.lower() in LABEL_COLUMNS and not (field.name == "y" and pa.types.is_floating(field.type))
    ]
    if len(found) > 1:
        raise DataError(f"has the label columns {listing(found)}", place, "keep one of them")
    return found[0] if found else None


def _vectors(table: ParquetTable, fields: list[pa.Field]) -> RowReader:
    for field in fields:
        if not _is_number(field.type):
            raise DataError(
                f"column {field.name} holds {str(field.type)[:100]}", table.place, "drop it or turn it into numbers"
            )
    if not fields:
        raise DataError("has no columns of numbers or images", table.place, "give at least one")
    return _VectorRows(table, [field.name for field in fields])


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
