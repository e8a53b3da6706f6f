"""Labels in a column of Parquet files, and which column is one by its name."""

import json
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pyarrow as pa

from raymix.data.faults import listing, printable, reading
from raymix.data.limits import MAX_LABEL
from raymix.data.parquet_table import Cursor, ParquetTable, first_null, missing_value
from raymix.data.parquet_types import is_number, is_text
from raymix.data.rows import Labels, encode_labels
from raymix.errors import DataError

LABEL_COLUMNS = ("label", "labels", "y", "target", "class")
_PARTNERS = {"y": "x", "target": "source"}
"""What a label's name means beside such a column: coordinates, edges of a graph."""
_MANY = 20
"""Distinct numbers from which a column with a partner is data and no label."""
_BATCH_ROWS = 2**16


def named_labels(
    table: ParquetTable, index: Sequence[str], columns: Sequence[str] | None
) -> tuple[str | None, Labels | None, list[str]]:
    """(Column, labels, what is to be said of it) of the column with a label's name, neither of the `index` nor of the
    data's `columns`. Where these are not named, one that cannot hold labels is refused. Raises `DataError`."""
    found = [
        name for name in table.schema.names if name.lower() in LABEL_COLUMNS and name not in (*index, *(columns or ()))
    ]
    said = []
    for name, reason in [(name, _why_data(table, name)) for name in found]:
        if reason is not None:
            said.append(f"column {name} is read as data: {reason}")
            found.remove(name)
    if not found:
        return None, None, said
    try:
        if len(found) > 1:
            raise DataError(f"has the label columns {listing(found)}", table.place, "name the data's in data.columns")
        labels = read_parquet_labels(table, found[0])
    except DataError as error:
        if columns is None:
            raise
        return None, None, [*said, f"no labels are taken: {error.what}"]
    said.append(f"column {found[0]} is taken for labels by its name; to train on it, list it in data.columns")
    return found[0], labels, said


def _why_data(table: ParquetTable, name: str) -> str | None:
    """Why a column with a label's name is a coordinate, by its values or a column that goes with it; None of others."""
    kind, lower = table.schema.field(name).type, name.lower()
    if not is_number(kind) or lower not in _PARTNERS:
        return None
    same = [other for other in table.schema.names if table.schema.field(other).type == kind]
    partner = next((other for other in same if other.lower() == _PARTNERS[lower]), None)
    if pa.types.is_floating(kind) and partner is None:
        return "it holds fractions" if lower == "y" and _has_fractions(table, name) else None
    if partner is None or (not pa.types.is_floating(kind) and len(read_parquet_labels(table, name).classes) <= _MANY):
        return None
    return f"it goes with column {partner}"


def _has_fractions(table: ParquetTable, name: str) -> bool:
    pieces = Cursor(table, [name], _BATCH_ROWS).pieces(0, table.num_rows)
    values = (piece.column(0).to_numpy(zero_copy_only=False) for piece in pieces)
    return any(bool((each != np.floor(each)).any()) for each in values)


def read_parquet_labels(table: ParquetTable, column: str) -> Labels:
    """Class numbers of a column of integers, booleans or strings. Raises `DataError`, for missing values too."""
    place = f"{table.place}, column {column}"
    kind = table.schema.field(column).type
    stored = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (is_text(stored) or is_number(stored)):
        raise DataError(f"holds {str(kind)[:100]}", place, "give integers or strings as labels")
    cursor = Cursor(table, [column], _BATCH_ROWS, by_dictionary=is_text(stored))
    names: dict[str, int] = {}  # in the order in which they first appear
    found, row = [], 0
    for batch in cursor.pieces(0, table.num_rows):
        data = batch.column(0)
        if data.null_count:
            raise missing_value(column, table.where(row + first_null(data)))
        with reading(place, "labels", "give integers or strings"):  # text may be no UTF-8
            if is_text(stored):
                coded = data if pa.types.is_dictionary(data.type) else data.dictionary_encode()
                known = [names.setdefault(name, len(names)) for name in coded.dictionary.to_pylist()]
                found.append(np.array(known, np.int64)[coded.indices.to_numpy()])
            else:
                plain = data.dictionary_decode() if pa.types.is_dictionary(data.type) else data
                plain = plain.cast(pa.float64()) if pa.types.is_decimal(stored) else plain
                found.append(plain.to_numpy(zero_copy_only=False))
        row += batch.num_rows
    if not is_text(stored):
        labels = encode_labels(np.concatenate(found), place)
        return labels._replace(classes=_named(labels.classes, table.schema, column))
    distinct = encode_labels(np.array(list(names), dtype=object), place)
    return Labels(distinct.codes[np.concatenate(found)], distinct.classes)


def _named(numbers: tuple[str, ...], schema: pa.Schema, column: str) -> tuple[str, ...]:
    """The names of classes that are numbers, where Hugging Face's datasets wrote them into the file."""
    with suppress(Exception):  # foreign text
        names = json.loads(schema.metadata[b"huggingface"])["info"]["features"][column]["names"]
        if min(map(int, numbers)) >= 0 and all(0 < len(name) <= MAX_LABEL for name in names):
            found = tuple(printable(names[int(number)]) for number in numbers)
            return found if len(set(found)) == len(found) else numbers
    return numbers
