"""Rows of one array: in memory, or in a stream of bytes (npy, npz).

Shapes: N rows of the whole, n rows of a range. Nothing is unpickled: arrays of objects are refused.
"""

import io
import math
import weakref
import zipfile
from collections.abc import Callable
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from raymix.data.archives import Archive, open_zip, require_sound
from raymix.data.faults import listing, printable, reading
from raymix.data.layout import array_layout
from raymix.data.limits import MAX_BYTES, MAX_HEADER_BYTES
from raymix.data.paths import Place, num_bytes
from raymix.data.remote import RemotePath
from raymix.data.rows import Labels, RowReader, RowSource, encode_labels, require_one_per_row
from raymix.errors import DataError

_ROWS = ("rows", "x", "X", "data", "images", "x_train")
_LABELS = ("labels", "y", "y_train", "targets")
_READ_HEADER = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_MAX_AXES = 4
_TODO = "write it again with numpy.save or numpy.savez"


class ArrayRows:
    """Rows of an array (N, ...) in memory or mapped from a file. Raises `DataError` for an unfit shape or type."""

    def __init__(self, array: NDArray[np.generic], place: str) -> None:
        self._array, self._place = array, place
        self._layout = array_layout(array.shape, array.dtype, place)
        self.num_rows, self.row_shape, self.dtype = len(array), self._layout.row_shape, self._layout.dtype

    def read_rows(self, start: int, stop: int) -> NDArray[np.generic]:
        return self._layout.arrange(self._array[start:stop])

    def where(self, row: int) -> str:
        return f"{self._place}, row {row}"


class ArrayHeader(NamedTuple):
    """What the first bytes of an array in a file declare."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    offset: int
    """Bytes before the values."""


class StreamRows:
    """Rows of an array (N, ...) in C order in a stream, compressed or not.

    The stream stays open, so that reading in order decompresses once. Raises `DataError` where it ends too early or
    goes on after the last row. A file is not mapped: should it be cut short meanwhile, the process would die of it.
    """

    def __init__(self, open_stream: Callable[[], IO[bytes]], header: ArrayHeader, place: str) -> None:
        self._open, self._header, self._place = open_stream, header, place
        self._layout = array_layout(header.shape, header.dtype, place)
        self._stream: IO[bytes] | None = None
        self.num_rows, self.row_shape, self.dtype = header.shape[0], self._layout.row_shape, self._layout.dtype

    def read_rows(self, start: int, stop: int) -> NDArray[np.generic]:
        raw_shape, raw = self._header.shape[1:], self._header.dtype
        row_bytes = math.prod(raw_shape) * raw.itemsize
        with reading(self._place, "rows of an array", "the file is damaged, get it again"):
            if self._stream is None:
                self._stream = self._open()
                weakref.finalize(self, self._stream.close)
            self._stream.seek(self._header.offset + start * row_bytes)
            data = self._stream.read((stop - start) * row_bytes)
            more = stop == self.num_rows and self._stream.read(1)
        if len(data) < (stop - start) * row_bytes:
            row = start + len(data) // row_bytes
            raise DataError(f"ends before row {row} of {self.num_rows}", self._place, "the file is damaged")
        if more:
            raise DataError(f"goes on after its {self.num_rows} rows", self._place, "the file is damaged")
        array = np.frombuffer(data, raw).reshape(stop - start, *raw_shape)
        return self._layout.arrange(array)

    def where(self, row: int) -> str:
        return f"{self._place}, row {row}"


class ChainRows:
    """Rows of several readers of one shape and type, one after the other."""

    def __init__(self, parts: list[RowReader]) -> None:
        self._parts, first = parts, parts[0]
        self._ends = np.cumsum([part.num_rows for part in parts])
        self.num_rows, self.row_shape, self.dtype = int(self._ends[-1]), first.row_shape, first.dtype

    def read_rows(self, start: int, stop: int) -> NDArray[np.generic]:
        pieces = []
        for part, end in zip(self._parts, self._ends, strict=True):
            begin = int(end) - part.num_rows
            low, high = max(start, begin), min(stop, int(end))
            if low < high:
                pieces.append(part.read_rows(low - begin, high - begin))
        return np.concatenate(pieces) if pieces else np.empty((0, *self.row_shape), self.dtype)

    def where(self, row: int) -> str:
        index = min(int(np.searchsorted(self._ends, row, side="right")), len(self._parts) - 1)
        return self._parts[index].where(row - int(self._ends[index]) + self._parts[index].num_rows)


def open_npy(path: Place, name: str) -> RowSource:
    """Rows of a .npy file. Raises `DataError`."""
    place = printable(path)
    with reading(path, "a .npy file", _TODO):
        with path.open("rb") as stream:
            header = _read_header(stream, num_bytes(path), place)
        if not header.fortran:
            return RowSource(name, StreamRows(lambda: path.open("rb"), header, place))
        if isinstance(path, RemotePath):
            raise DataError("is in Fortran order", place, "use numpy.ascontiguousarray, or copy it to a local path")
        # Of a file in Fortran order a range of rows is scattered over the whole: it is mapped.
        return RowSource(name, ArrayRows(np.memmap(path, header.dtype, "r", header.offset, header.shape, "F"), place))


def read_npy_labels(path: Place, num_rows: int) -> Labels:
    """Labels of a .npy file of one axis. Raises `DataError`."""
    with reading(path, "a .npy file", _TODO), path.open("rb") as stream:
        return _read_labels(stream, num_bytes(path), num_rows, printable(path))


def open_npz(path: Place, name: str) -> RowSource:
    """Rows and labels of a .npz file: the arrays of known names, or its only array.

    Rows are streamed, labels are read here. Raises `DataError`.
    """
    place = printable(path)
    with reading(path, "a .npz file", _TODO):
        archive = open_zip(path)
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if {"format", "shape", "data"} <= members.keys():  # as scipy.sparse.save_npz writes them
            raise DataError("is a sparse matrix", place, "save its .toarray()")
        found = [key for key in _ROWS if key in members] or (list(members) if len(members) == 1 else [])
        if len(found) != 1:
            what = f"holds the arrays {listing(members) or 'none'}"
            raise DataError(what, place, f"name the rows one of {', '.join(_ROWS)}")
        reader = _member_rows(archive, members[found[0]], f"{place}:{printable(found[0])}")
        keys = [key for key in _LABELS if key in members]
        if len(keys) > 1:
            raise DataError(f"holds the labels {', '.join(keys)}", place, "keep one of them")
        labels = _member_labels(archive, members[keys[0]], reader.num_rows, f"{place}:{keys[0]}") if keys else None
    return RowSource(name, reader, labels)


def _member_rows(archive: Archive, info: zipfile.ZipInfo, place: str) -> RowReader:
    require_sound(archive, info)
    with archive.open(info) as stream:
        header = _read_header(stream, info.file_size, place)
        if not header.fortran:
            return StreamRows(lambda: archive.open(info), header, place)
        if info.file_size > MAX_BYTES:
            raise DataError(f"has {info.file_size} bytes in Fortran order", place, "use numpy.ascontiguousarray")
        stream.seek(0)
        return ArrayRows(npy.read_array(stream, allow_pickle=False), place)


def _member_labels(archive: Archive, info: zipfile.ZipInfo, num_rows: int, place: str) -> Labels:
    require_sound(archive, info)
    with archive.open(info) as stream:
        return _read_labels(stream, info.file_size, num_rows, place)


def _read_labels(stream: IO[bytes], size: int, num_rows: int, place: str) -> Labels:
    header = _read_header(stream, size, place)
    if len(header.shape) != 1 and header.shape[1:] != (1,):
        raise DataError(f"labels have shape {header.shape}", place, "give one label per row")
    require_one_per_row(header.shape[0], num_rows, place)
    stream.seek(header.offset)
    return encode_labels(np.frombuffer(stream.read(size - header.offset), header.dtype), place)


def _read_header(stream: IO[bytes], size: int, place: str) -> ArrayHeader:
    """What the first bytes of an array of `size` bytes declare. Raises `DataError` if its size belies them."""
    start = io.BytesIO(stream.read(MAX_HEADER_BYTES))
    version = npy.read_magic(start)
    if version not in _READ_HEADER:
        raise DataError(f"is of version {version} of its form", place, _TODO)
    shape, fortran, dtype = _READ_HEADER[version](start)
    if dtype.hasobject:
        todo = "give numbers, or text as `astype(str)` makes it: what is pickled is never read"
        raise DataError("holds Python objects", place, todo)
    if len(shape) > _MAX_AXES:
        raise DataError(f"has {len(shape)} axes", place, f"at most {_MAX_AXES} are read")
    declared = start.tell() + dtype.itemsize * math.prod(shape)
    if min(shape, default=0) < 0 or declared != size:
        raise DataError(f"declares {declared} bytes for shape {shape}, there are {size}", place, _TODO)
    return ArrayHeader(shape, fortran, dtype, start.tell())
