"""Parquet files as one table, read in small batches: a few bytes may hold any number of equal rows.

Shapes: N rows of all files.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raymix.data.faults import printable, reading
from raymix.data.limits import MAX_LABEL, MAX_ROWS
from raymix.data.parquet_pages import DICTIONARY_ENCODINGS, Chunk, chunks_of, footer_bytes, pages_of
from raymix.data.parquet_types import merged
from raymix.data.paths import Place
from raymix.errors import DataError

_TODO = "write the file again"
_BUFFER_BYTES = 2**26  # of all columns together


class RowGroup(NamedTuple):
    """A row group: rows that Parquet stores column by column."""

    path: Place
    number: int
    start: int
    """Its first row, counted from the start of its file."""
    begin: int
    """Its first row, counted over all files."""
    num_rows: int


class ParquetTable:
    """Files of the same columns as one table, whatever their order; `schema` holds types that fit all of them. Raises
    `DataError` for damage, and for columns that are missing or of another kind in some file."""

    schema: pa.Schema

    def __init__(self, paths: Sequence[Place]) -> None:
        self.row_groups: list[RowGroup] = []
        self.num_rows = 0
        self.place = printable(paths[0])
        self.stored: dict[Place, tuple[str, ...]] = {}
        """Stored columns of each file, in its order."""
        same: dict[tuple[str, ...], tuple[str, ...]] = {}  # most files have the same
        for path in paths:
            with reading(path, "a Parquet file", _TODO), open_table(path) as file:
                found = file.schema_arrow
                _check_names(found, printable(path))
                self.schema = found if path == paths[0] else merged(self.schema, found, self.place, printable(path))
                stored = tuple(file.schema.column(index).path for index in range(len(file.schema)))
                self.stored[path] = same.setdefault(stored, stored)
                self._add_row_groups(path, file.metadata)
        if not self.num_rows:
            raise DataError("holds no rows", self.place, "give at least one row")

    def _add_row_groups(self, path: Place, metadata: pq.FileMetaData) -> None:
        start = 0
        for number in range(metadata.num_row_groups):
            num_rows = metadata.row_group(number).num_rows
            if not 0 <= num_rows <= MAX_ROWS - start:
                raise DataError(f"declares {num_rows} rows in one group", printable(path), f"at most {MAX_ROWS} in all")
            if num_rows:
                self.row_groups.append(RowGroup(path, number, start, self.num_rows, num_rows))
            start += num_rows
            self.num_rows += num_rows

    def row_group_of(self, row: int) -> RowGroup:
        return self.row_groups[bisect_right(self.row_groups, row, key=lambda row_group: row_group.begin) - 1]

    def where(self, row: int) -> str:
        row_group = self.row_group_of(row)
        return f"{printable(row_group.path)}, row {row - row_group.begin + row_group.start}"


class Cursor:
    """Walks through some columns of a table in batches; a step back starts at its row group again.

    `paths` names the stored columns where a column has parts (`image.bytes`). With `by_dictionary` text arrives as
    numbers into its distinct values, so that a batch is no larger than the page it comes from; where pyarrow cannot do
    that, it arrives row by row.
    """

    def __init__(
        self,
        table: ParquetTable,
        columns: list[str],
        batch_rows: int,
        paths: list[str] | None = None,
        by_dictionary: bool = False,
    ) -> None:
        self._table, self._columns, self._batch_rows = table, columns, batch_rows
        self._paths, self._by_dictionary = paths or columns, by_dictionary
        self._row_group: RowGroup | None = None
        self._chunks: tuple[Place | None, list[list[Chunk]]] = (None, [])
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._batch, self._begin = pa.RecordBatch.from_pylist([]), 0

    def pieces(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Rows start <= i < stop, a piece at a time. Raises `DataError`."""
        while start < stop:
            self._reach(start)
            piece = self._batch.slice(start - self._begin, stop - start)
            yield piece
            start += piece.num_rows

    def _reach(self, row: int) -> None:
        """Make the batch that holds a row the present one."""
        row_group = self._table.row_group_of(row)
        with reading(row_group.path, "a Parquet file", _TODO):
            if row_group != self._row_group or row < self._begin:
                self._row_group = None
                self._batches = self._open(row_group)
                self._row_group, self._batch, self._begin = row_group, next(self._batches), row_group.begin
            while row >= self._begin + self._batch.num_rows:
                self._begin += self._batch.num_rows
                self._batch = next(self._batches)
            if self._begin + self._batch.num_rows > row_group.begin + row_group.num_rows:
                raise DataError(f"goes on after its {row_group.num_rows} rows", printable(row_group.path), _TODO)

    def _open(self, row_group: RowGroup) -> Iterator[pa.RecordBatch]:
        place = printable(row_group.path)
        encodings = self._check_pages(row_group, place)
        one_by_one = self._by_dictionary and not encodings <= DICTIONARY_ENCODINGS
        coded = self._paths if self._by_dictionary and not one_by_one else None
        file = open_table(row_group.path, len(self._paths), coded)
        for batch in file.iter_batches(1 if one_by_one else self._batch_rows, [row_group.number], self._paths):
            yield batch.select(self._columns)
        raise DataError(f"ends before row {row_group.start + row_group.num_rows}", place, _TODO)

    def _check_pages(self, row_group: RowGroup, place: str) -> set[int | None]:
        """The encodings of what is about to be read. Raises `DataError` for pages that are too large."""
        if self._chunks[0] != row_group.path:
            self._chunks = (row_group.path, chunks_of(row_group.path))
        wanted = set(self._paths)
        encodings = set()
        with row_group.path.open("rb") as file:
            for path, chunk in zip(self._table.stored[row_group.path], self._chunks[1][row_group.number], strict=True):
                if not wanted.isdisjoint(_prefixes(path)):
                    encodings |= {page.encoding for page in pages_of(file, chunk, place)}
        return encodings


def open_table(path: Place, num_columns: int = 1, read_dictionary: list[str] | None = None) -> pq.ParquetFile:
    """One file, streamed; lists and texts in its footer may not be longer than the footer."""
    with path.open("rb") as file:
        length = footer_bytes(file)
    return pq.ParquetFile(
        path if isinstance(path, Path) else path.filesystem.open_input_file(path.path),
        read_dictionary=read_dictionary,
        pre_buffer=False,
        buffer_size=max(2**12, min(2**20, _BUFFER_BYTES // num_columns)),
        thrift_string_size_limit=min(max(length, 2**20), 2**27),
        thrift_container_size_limit=min(max(length, 1), 2**17),
    )


def first_null(column: pa.Array) -> int:
    """Where the first missing value is."""
    return int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])


def missing_value(column: str, row: str) -> DataError:
    """What to raise for one."""
    return DataError(f"column {column} has no value", row, "fill it or drop the row")


def _prefixes(path: str) -> Iterator[str]:
    """`a.b.c` -> a, a.b, a.b.c: any of them selects the stored column."""
    parts = path.split(".")
    return (".".join(parts[: length + 1]) for length in range(len(parts)))


def _check_names(schema: pa.Schema, place: str) -> None:
    twice = sorted(name for name, count in Counter(schema.names).items() if count > 1)
    if twice:
        raise DataError(f"has several columns {twice[0][:100]!r}", place, "give each column a name of its own")
    odd = [name for name in schema.names if not name.isprintable() or len(name) > MAX_LABEL]
    if odd:
        raise DataError(f"has a column {odd[0][:100]!r}", place, "give columns plain and short names")
