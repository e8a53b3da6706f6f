"""What the footer and the pages of a Parquet file declare, read before pyarrow believes it.

A page of a few bytes may declare, and unpack to, two gigabytes. pyarrow does not show pages, and some footers end the
process where it shows their columns, so both are read here: as Thrift structs in the compact protocol, of which a few
fields count (apache/parquet-format: `parquet.thrift`; apache/thrift: `thrift-compact-protocol.md`).
"""

import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from raymix.data.limits import MAX_BYTES
from raymix.data.paths import Place
from raymix.errors import DataError

DICTIONARY_ENCODINGS = {None, 0, 2, 8}
"""PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY, and none of pages without data: pyarrow reads these by their dictionary."""
_MAX_TEXT_BYTES = 2**24
_TODO = "the file is damaged, get it again"

# Fields by their numbers: of the footer, a row group, a column chunk, its metadata, a page header.
_ROW_GROUPS, _COLUMNS, _METADATA = 4, 1, 3
_PACKED_BYTES_OF_ALL, _DATA_PAGE, _DICTIONARY_PAGE = 7, 9, 11
_UNPACKED_BYTES, _PACKED_BYTES = 2, 3
_ENCODING = {5: 2, 8: 4}  # in the headers of data pages, versions 1 and 2


class Chunk(NamedTuple):
    """Where one column of a row group lies in its file."""

    start: int
    end: int


class Page(NamedTuple):
    """What one page declares."""

    unpacked_bytes: int
    packed_bytes: int
    encoding: int | None
    """None of pages without data."""


def footer_bytes(file: BinaryIO) -> int:
    """Length of the footer without its last 8 bytes. Raises `OSError` or `ValueError` if there is no room for it."""
    size = file.seek(-8, os.SEEK_END)
    length = int.from_bytes(_take(file, 4), "little")
    if length > size:
        raise ValueError(f"the footer declares {length} bytes of {size}")
    return length


def chunks_of(path: Place) -> list[list[Chunk]]:
    """The columns of each row group, in the order of the schema. Raises whatever comes of foreign bytes."""
    with path.open("rb") as file:
        length = footer_bytes(file)
        file.seek(-8 - length, os.SEEK_END)
        footer = _read_struct(io.BytesIO(file.read(length)))
    groups = [[column[_METADATA] for column in group[_COLUMNS]] for group in footer[_ROW_GROUPS]]
    return [[_chunk(column) for column in columns] for columns in groups]


def _chunk(column: dict[int, Any]) -> Chunk:
    start, dictionary = column[_DATA_PAGE], column.get(_DICTIONARY_PAGE, 0)
    if 0 < dictionary < start:
        start = dictionary
    return Chunk(start, start + column[_PACKED_BYTES_OF_ALL])


def pages_of(file: BinaryIO, chunk: Chunk, place: str) -> Iterator[Page]:
    """The pages of a column. Raises `DataError` for one of more than `MAX_BYTES` and for what lies outside the file."""
    start, end = chunk
    size = file.seek(0, os.SEEK_END)
    if not 0 <= start <= end <= size:
        raise DataError(f"has a column at bytes {start} to {end} of {size}", place, _TODO)
    while start < end:
        file.seek(start)
        header = _read_struct(file)
        encodings = [header[part].get(field) for part, field in _ENCODING.items() if part in header]
        page = Page(header[_UNPACKED_BYTES], header[_PACKED_BYTES], encodings[0] if encodings else None)
        start = file.tell() + page.packed_bytes
        if page.packed_bytes < 0 or start > size or not 0 <= page.unpacked_bytes <= MAX_BYTES:
            what = f"has a page of {page.packed_bytes} bytes that unpack to {page.unpacked_bytes}"
            raise DataError(what, place, f"write pages of at most {MAX_BYTES} bytes")
        yield page


def _read_struct(file: BinaryIO) -> dict[int, Any]:
    """The fields by their numbers."""
    fields: dict[int, Any] = {}
    number = 0
    while head := _take(file, 1)[0]:
        number = number + (head >> 4) if head >> 4 else _zigzag(file)
        if number in fields:
            raise ValueError(f"field {number} comes twice")
        fields[number] = _read_value(file, head & 15)
    return fields


def _read_value(file: BinaryIO, kind: int) -> Any:
    match kind:
        case 1 | 2:
            return kind == 1
        case 3:
            return _take(file, 1)
        case 4 | 5 | 6:
            return _zigzag(file)
        case 7:
            return _take(file, 8)
        case 8:
            return _take(file, _varint(file))
        case 9 | 10:
            head = _take(file, 1)[0]
            length = head >> 4 if head >> 4 < 15 else _varint(file)
            kind = max(head & 15, 3)  # in lists a truth value takes a byte
            return [_read_value(file, kind) for _ in range(length)]
        case 12:
            return _read_struct(file)
    raise ValueError(f"a field is of type {kind}")


def _zigzag(file: BinaryIO) -> int:
    number = _varint(file)
    return (number >> 1) ^ -(number & 1)


def _varint(file: BinaryIO) -> int:
    number = 0
    for shift in range(0, 70, 7):
        byte = _take(file, 1)[0]
        number |= (byte & 127) << shift
        if byte < 128:
            return number
    raise ValueError("a number has no end")


def _take(file: BinaryIO, length: int) -> bytes:
    data = file.read(length) if length <= _MAX_TEXT_BYTES else b""
    if len(data) < length:
        raise EOFError(f"{length} bytes were expected and {len(data)} are there")
    return data
