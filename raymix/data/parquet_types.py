"""Kinds of Parquet columns, and one schema for files that were written apart."""

import re
from contextlib import suppress

import numpy as np
import pyarrow as pa

from raymix.errors import DataError


def merged(schema: pa.Schema, other: pa.Schema, place: str, other_place: str) -> pa.Schema:
    """The columns of both, which must be the same, in the order of the first, with types that hold the values of both.
    Raises `DataError`."""
    if schema.equals(other):
        return schema
    for missing, where in (
        ([name for name in schema.names if name not in other.names], other_place),
        ([name for name in other.names if name not in schema.names], place),
    ):
        if missing:
            raise DataError(f"lacks the column {missing[0][:100]}", where, "give files of the same columns")
    fields = []
    for field in schema:
        kind, found = field.type, other.field(field.name).type
        fitting = common_type(kind, found)
        if fitting is None:
            what = f"column {field.name} holds {str(found)[:100]}, in {place} {str(kind)[:100]}"
            raise DataError(what, other_place, "give files of one kind of values")
        fields.append(field.with_type(fitting).with_nullable(True))
    return pa.schema(fields, schema.metadata)


def common_type(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """A type for the values of both, or None where they are of different kinds. What is null everywhere fits all."""
    if a == b or pa.types.is_null(b):
        return a
    if pa.types.is_null(a):
        return b
    if pa.types.is_dictionary(a) or pa.types.is_dictionary(b):
        return common_type(*(kind.value_type if pa.types.is_dictionary(kind) else kind for kind in (a, b)))
    if is_number(a) and is_number(b):
        return pa.from_numpy_dtype(np.result_type(numpy_type(a), numpy_type(b)))
    if is_text(a) and is_text(b):
        return pa.large_string()
    if is_bytes(a) and is_bytes(b):
        return pa.large_binary()
    if is_list(a) and is_list(b):
        values = common_type(a.value_type, b.value_type)
        return None if values is None else pa.large_list(values)
    if pa.types.is_struct(a) and pa.types.is_struct(b) and holds_images(a) and holds_images(b):
        return a
    return None


def is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def numpy_type(number: pa.DataType) -> np.dtype[np.generic]:
    """NumPy's type of a column of numbers; decimals are read as float64."""
    return np.dtype(np.float64 if pa.types.is_decimal(number) else number.to_pandas_dtype())


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def holds_images(kind: pa.DataType) -> bool:
    """Bytes, or structs with a field `bytes`."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and is_bytes(kind.field("bytes").type)
    return is_bytes(kind)


def index_columns(schema: pa.Schema) -> list[str]:
    """Columns that pandas wrote as a frame's index, also where another writer kept the name and lost the metadata."""
    named: list[object] = []
    with suppress(Exception):  # foreign text
        named = (schema.pandas_metadata or {})["index_columns"]
    return [name for name in schema.names if name in named or re.fullmatch(r"__index_level_\d+__", name)]
