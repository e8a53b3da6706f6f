"""Labels from a file of their own: one per row."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raymix.data.arrays import load_npy
from raymix.data.faults import reading
from raymix.data.idx import is_idx, read_idx_labels
from raymix.data.parquet import LABEL_COLUMNS, ParquetTable
from raymix.data.rows import Labels, encode_labels
from raymix.errors import DataError


def read_labels(place: str) -> Labels:
    """Labels of a .npy, idx, Parquet, .csv or .txt file. Raises `DataError`."""
    with reading(place, "a file of labels", "check the path"):
        path = Path(place).expanduser()
        if not path.is_file():
            raise DataError("is not a file" if path.exists() else "does not exist", place, "check data.labels")
    if is_idx(path):
        return read_idx_labels(path)
    match path.suffix.lower():
        case ".npy":
            return encode_labels(load_npy(path), place)
        case ".parquet" | ".pq":
            return _read_parquet(path)
        case ".csv" | ".txt":
            return encode_labels(_read_text(path), place)
    raise DataError("is no file of labels that is read", place, "give .npy, idx, .parquet, .csv or .txt")


def _read_parquet(path: Path) -> Labels:
    """The only column, or the one with a label's name."""
    table = ParquetTable([path])
    names = table.schema.names
    found = names if len(names) == 1 else [name for name in names if name.lower() in LABEL_COLUMNS]
    if len(found) != 1:
        raise DataError(f"has the columns {', '.join(names)}", str(path), "name the labels' column label")
    return table.labels(found[0])


def _read_text(path: Path) -> NDArray[np.generic]:
    """One label per line, whole numbers if all are; a first line such as `label` is a heading."""
    place = str(path)
    todo = "give UTF-8 text, one label per line"
    with reading(place, "lines of text", todo), path.open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.reader(file))
    if lines and len(lines[0]) == 1 and lines[0][0].strip().lower() in LABEL_COLUMNS:
        lines = lines[1:]
    for row, line in enumerate(lines):
        if len(line) != 1 or not line[0].strip():
            raise DataError(f"holds {','.join(line)!r} for a label", f"{place}, row {row}", "give one label per line")
    values = [line[0].strip() for line in lines]
    try:
        return np.array([int(value) for value in values], dtype=np.int64)
    except (ValueError, OverflowError):
        return np.array(values, dtype=str)
