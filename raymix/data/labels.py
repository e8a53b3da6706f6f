"""Labels from a file of their own: one per row."""

import csv
import io

import numpy as np
from numpy.typing import NDArray

from raymix.data.arrays import read_npy_labels
from raymix.data.faults import listing, printable, reading
from raymix.data.idx import is_idx, read_idx_labels
from raymix.data.limits import MAX_LABEL
from raymix.data.parquet_labels import LABEL_COLUMNS, read_parquet_labels
from raymix.data.parquet_table import ParquetTable
from raymix.data.parquet_types import index_columns
from raymix.data.paths import Place, named_place, shown
from raymix.data.rows import Labels, encode_labels, require_one_per_row
from raymix.errors import DataError

_TODO = "give UTF-8 text, one label per line"


def read_labels(text: str, num_rows: int) -> Labels:
    """Labels of a .npy, idx, Parquet, .csv or .txt file. Raises `DataError`, for another number than `num_rows` too."""
    place = shown(text)
    with reading(place, "a file of labels", "check data.labels"):
        path = named_place(text, "data.labels")
        if not path.is_file():
            raise DataError("is not a file" if path.exists() else "does not exist", place, "check data.labels")
    if is_idx(path):
        return read_idx_labels(path, num_rows)
    match path.suffix.lower():
        case ".npy":
            return read_npy_labels(path, num_rows)
        case ".parquet" | ".pq":
            return _read_parquet(path, num_rows)
        case ".csv" | ".txt":
            return encode_labels(_read_text(path, num_rows), place)
    raise DataError("is no file of labels that is read", place, "give .npy, idx, .parquet, .csv or .txt")


def _read_parquet(path: Place, num_rows: int) -> Labels:
    """The only column beside a frame's index, or the one with a label's name."""
    table = ParquetTable([path])
    index = index_columns(table.schema)
    names = [name for name in table.schema.names if name not in index] or index
    found = names if len(names) == 1 else [name for name in names if name.lower() in LABEL_COLUMNS]
    if len(found) != 1:
        raise DataError(f"has the columns {listing(names)}", table.place, "name the labels' column label")
    require_one_per_row(table.num_rows, num_rows, table.place)
    return read_parquet_labels(table, found[0])


def _read_text(path: Place, num_rows: int) -> NDArray[np.generic]:
    """One label per line, or a table with a column of them; whole numbers if all are. A first line such as `label` is a
    heading."""
    place, values, num_labels, column = printable(path), list[str](), 0, 0
    with (
        reading(path, "lines of text", _TODO),
        path.open("rb") as stream,
        io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as file,
    ):
        lines = csv.reader(iter(lambda: file.readline(2 * MAX_LABEL), ""))  # longer lines come in parts
        num_columns, heading = 1, list[str]()
        for line in lines:
            if lines.line_num == 1 and (found := _label_column(line)) is not None:
                column, num_columns, heading = found, len(line), line
                continue
            if len(line) != num_columns or not 0 < len(line[column].strip()) <= MAX_LABEL:
                what = f"holds {','.join(line)[:100]!r} for a label"
                raise DataError(what, f"{place}, row {num_labels}", "give one label per line")
            if num_labels < num_rows:
                values.append(line[column].strip())
            num_labels += 1
    if len(heading) == 1 and num_labels == num_rows - 1:  # the first label, which looks like a heading
        values, num_labels = [heading[0].strip(), *values], num_rows
    require_one_per_row(num_labels, num_rows, place)
    try:
        return np.array([int(value) for value in values], dtype=np.int64)
    except (ValueError, OverflowError):
        return np.array(values, dtype=object)


def _label_column(heading: list[str]) -> int | None:
    """Where the labels are by a table's first line: the one column with a label's name, or the one beside a frame's
    index, which pandas leaves without a name. None of a line that is no heading."""
    found = [index for index, name in enumerate(heading) if name.strip().lower() in LABEL_COLUMNS]
    if not found and len(heading) == 2 and not heading[0]:
        return 1
    return found[0] if len(found) == 1 else None
