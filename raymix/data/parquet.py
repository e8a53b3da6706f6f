"""Parquet: columns of numbers as vectors, or a column of encoded images.

Shapes: N rows of all files, n rows of a range, D columns of numbers.
"""

from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raymix.data.faults import reading
from raymix.data.images import ImageRows
from raymix.data.layout import row_dtype
from raymix.data.rows import Labels, RowReader, RowSource, encode_labels
from raymix.errors import DataError

LABEL_COLUMNS = ("label", "labels", "y", "target", "class")
_LABEL_KINDS = (
    pa.types.is_integer,
    pa.types.is_boolean,
    pa.types.is_floating,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_dictionary,
)
_TODO = "write the file again"


class _Group(NamedTuple):
    """A row group: what Parquet reads at a time."""

    path: Path
    number: int
    start: int
    """Its first row, counted from the start of its file."""
    begin: int
    """Its first row, counted over all files."""
    num_rows: int


class ParquetTable:
    """Files of one schema as one table, read by row groups, of which the last one used is kept.

    Raises `DataError` for damage and for schemas that differ.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.groups: list[_Group] = []
        self.num_rows = 0
        self._kept: tuple[_Group, list[str], pa.Table] | None = None
        for path in paths:
            with reading(str(path), "a Parquet file", _TODO), pq.ParquetFile(path) as file:
                if path == paths[0]:
                    self.schema = file.schema_arrow
                    _check_names(self.schema, path)
                elif not file.schema_arrow.equals(self.schema):
                    raise DataError(f"has other columns than {paths[0]}", str(path), "give files of one schema")
                self._add_groups(path, file.metadata)
        if not self.num_rows:
            raise DataError("holds no rows", str(paths[0]), "give at least one row")

    def _add_groups(self, path: Path, metadata: pq.FileMetaData) -> None:
        start = 0
        for number in range(metadata.num_row_groups):
            num_rows = metadata.row_group(number).num_rows
            if num_rows:
                self.groups.append(_Group(path, number, start, self.num_rows, num_rows))
            start += num_rows
            self.num_rows += num_rows

    def read(self, columns: list[str], start: int, stop: int) -> pa.Table:
        """Some columns of rows start <= i < stop."""
        pieces = []
        for group in self.groups[self._index(start) :]:
            low, high = max(start, group.begin), min(stop, group.begin + group.num_rows)
            if low >= high:
                break
            pieces.append(self._group(group, columns).slice(low - group.begin, high - low))
        return pa.concat_tables(pieces) if pieces else self.schema.empty_table().select(columns)

    def _group(self, group: _Group, columns: list[str]) -> pa.Table:
        if self._kept is None or self._kept[:2] != (group, columns):
            with reading(str(group.path), "a Parquet file", _TODO), pq.ParquetFile(group.path) as file:
                table = file.read_row_group(group.number, columns=columns).select(columns)
            if table.num_rows != group.num_rows:
                raise DataError(f"has {table.num_rows} of {group.num_rows} rows", str(group.path), _TODO)
            self._kept = (group, columns, table)
        return self._kept[2]

    def _index(self, row: int) -> int:
        """Number of the group that holds a row."""
        return bisect_right(self.groups, row, key=lambda group: group.begin) - 1

    def where(self, row: int) -> str:
        group = self.groups[self._index(row)]
        return f"{group.path}, row {row - group.begin + group.start}"

    def labels(self, column: str) -> Labels:
        """Class numbers of a column of integers, booleans or strings. Raises `DataError`, for missing values too."""
        place = f"{self.groups[0].path}, column {column}"
        kind = self.schema.field(column).type
        if not any(is_kind(kind) for is_kind in _LABEL_KINDS):
            raise DataError(f"holds {kind}", place, "give integers or strings as labels")
        values = []
        for group in self.groups:
            data = self._group(group, [column]).column(0)
            if data.null_count:
                row = int(np.flatnonzero(data.is_null().to_numpy())[0])
                raise DataError(
                    f"column {column} has no value", self.where(group.begin + row), "fill it or drop the row"
                )
            with reading(place, "labels", "give integers or strings"):  # text may be no UTF-8
                values.append(data.to_numpy())
        return encode_labels(np.concatenate(values), place)


def _check_names(schema: pa.Schema, path: Path) -> None:
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise DataError(f"has several columns {twice[0]!r}", str(path), "give each column a name of its own")
    odd = [name for name in schema.names if not name.isprintable()]
    if odd:
        raise DataError(f"has a column {odd[0]!r}", str(path), "give columns plain names")


class _VectorRows:
    """Columns of numbers as rows (D,). Raises `DataError` for missing values."""

    def __init__(self, table: ParquetTable, columns: list[str], dtype: str) -> None:
        self._table, self._columns = table, columns
        self.num_rows, self.row_shape, self.dtype = table.num_rows, (len(columns),), dtype

    def read_rows(self, start: int, stop: int) -> NDArray[np.generic]:
        table = self._table.read(self._columns, start, stop)
        rows = np.empty((stop - start, len(self._columns)), self.dtype)
        for index, column in enumerate(table.columns):
            if column.null_count:
                row = start + int(np.flatnonzero(column.is_null().to_numpy())[0])
                raise DataError(
                    f"column {self._columns[index]} has no value", self.where(row), "fill it or drop the row"
                )
            rows[:, index] = column.to_numpy()
        return rows

    def where(self, row: int) -> str:
        return self._table.where(row)


class _ParquetImages:
    """Encoded images in a column of bytes, or of structs with a field `bytes`."""

    def __init__(self, table: ParquetTable, column: str) -> None:
        self._table, self._column = table, column

    def __len__(self) -> int:
        return self._table.num_rows

    def read_bytes(self, row: int) -> bytes:
        value = self._table.read([self._column], row, row + 1).column(0)[0].as_py()
        data = value["bytes"] if isinstance(value, dict) else value
        if data is None:
            raise DataError(
                f"column {self._column} has no bytes", self.where(row), "store the image itself, not its path"
            )
        return bytes(data)

    def where(self, row: int) -> str:
        return self._table.where(row)


def open_parquet(paths: list[Path], name: str) -> RowSource:
    """Rows of Parquet files: the one column of images if there is one, else all columns of numbers but the label.

    The label is a column named label, labels, y, target or class; a `y` of fractions is a coordinate. Other columns
    are passed over beside images and refused beside numbers. Raises `DataError`.
    """
    table = ParquetTable(paths)
    place = str(paths[0])
    label = _label_column(table.schema, place)
    labels = None if label is None else table.labels(label)
    fields = [field for field in table.schema if field.name != label]
    images = [field.name for field in fields if _holds_images(field.type)]
    if len(images) > 1:
        raise DataError(f"has the image columns {', '.join(images)}", place, "keep one of them")
    if images:
        return RowSource(name, ImageRows(_ParquetImages(table, images[0])), labels)
    return RowSource(name, _vectors(table, fields, place), labels)


def _label_column(schema: pa.Schema, place: str) -> str | None:
    found = [
        field.name
        for field in schema
        if field.name.lower() in LABEL_COLUMNS and not (field.name == "y" and pa.types.is_floating(field.type))
    ]
    if len(found) > 1:
        raise DataError(f"has the label columns {', '.join(found)}", place, "keep one of them")
    return found[0] if found else None


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _vectors(table: ParquetTable, fields: list[pa.Field], place: str) -> RowReader:
    dtypes = []
    for field in fields:
        if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_boolean(field.type)):
            raise DataError(f"column {field.name} holds {field.type}", place, "drop it or turn it into numbers")
        dtypes.append(row_dtype(np.dtype(field.type.to_pandas_dtype()), place))
    if not fields:
        raise DataError("has no columns of numbers or images", place, "give at least one")
    return _VectorRows(table, [field.name for field in fields], str(np.result_type(*dtypes)))
