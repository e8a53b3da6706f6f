"""Rows of one array: in memory, mapped from a file, or in a stream of bytes (npy, npz).

Shapes: N rows of the whole, n rows of a range. Nothing is unpickled: arrays of objects are refused.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from raymix.data.faults import printable, reading
from raymix.data.layout import array_layout
from raymix.data.rows import Labels, RowReader, RowSource, encode_labels
from raymix.errors import DataError

_ROWS = ("rows", "x", "X", "data", "images", "x_train")
_LABELS = ("labels", "y", "y_train", "targets")
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


class StreamRows:
    """Rows of an array (N, ...) in C order that starts `offset` bytes into a stream, compressed or not.

    The stream stays open, so that reading in order decompresses once. Raises `DataError` where it ends too early or
    goes on after the last row.
    """

    def __init__(
        self, open_stream: Callable[[], BinaryIO], offset: int, shape: tuple[int, ...], dtype: np.dtype, place: str
    ) -> None:
        self._open, self._offset, self._shape, self._raw, self._place = open_stream, offset, shape, dtype, place
        self._layout = array_layout(shape, dtype, place)
        self._stream: BinaryIO | None = None
        self.num_rows, self.row_shape, self.dtype = shape[0], self._layout.row_shape, self._layout.dtype

    def read_rows(self, start: int, stop: int) -> NDArray[np.generic]:
        row_bytes = int(np.prod(self._shape[1:])) * self._raw.itemsize
        with reading(self._place, "rows of an array", "the file is damaged, get it again"):
            if self._stream is None:
                self._stream = self._open()
            self._stream.seek(self._offset + start * row_bytes)
            data = self._stream.read((stop - start) * row_bytes)
            more = stop == self.num_rows and self._stream.read(1)
        if len(data) < (stop - start) * row_bytes:
            row = start + len(data) // row_bytes
            raise DataError(f"ends before row {row} of {self.num_rows}", self._place, "the file is damaged")
        if more:
            raise DataError(f"goes on after its {self.num_rows} rows", self._place, "the file is damaged")
        array = np.frombuffer(data, self._raw).reshape(stop - start, *self._shape[1:])
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


def load_npy(path: Path) -> NDArray[np.generic]:
    """The array of a .npy file, mapped. Raises `DataError`."""
    with reading(str(path), "a .npy file", _TODO):
        return npy.open_memmap(path, mode="r")


def open_npy(path: Path, name: str) -> RowSource:
    """Rows of a .npy file, mapped."""
    return RowSource(name, ArrayRows(load_npy(path), str(path)))


def open_npz(path: Path, name: str) -> RowSource:
    """Rows and labels of a .npz file: the arrays of known names, or its only array.

    Rows are streamed, labels are read here. Raises `DataError`.
    """
    with reading(str(path), "a .npz file", _TODO):
        archive = zipfile.ZipFile(path)
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        found = [key for key in _ROWS if key in members] or (list(members) if len(members) == 1 else [])
        if len(found) != 1:
            raise DataError(
                f"holds the arrays {printable(', '.join(members)) or 'none'}",
                str(path),
                f"name the rows one of {', '.join(_ROWS)}",
            )
        reader = _member_rows(archive, members[found[0]], f"{path}:{printable(found[0])}")
        keys = [key for key in _LABELS if key in members]
        if len(keys) > 1:
            raise DataError(f"holds the labels {', '.join(keys)}", str(path), "keep one of them")
        labels = _member_labels(archive, members[keys[0]], f"{path}:{keys[0]}") if keys else None
    return RowSource(name, reader, labels)


def _member_header(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: str
) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, Fortran order, type and length of the header of one array. Raises `DataError` if its size belies them."""
    with archive.open(info) as stream:
        version = npy.read_magic(stream)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
        offset = stream.tell()
    if dtype.hasobject:
        raise DataError("holds Python objects", place, "give an array of numbers")
    size = offset + dtype.itemsize * int(np.prod(shape, dtype=object))
    if size != info.file_size:
        raise DataError(f"declares {size} bytes and has {info.file_size}", place, "the file is damaged")
    return shape, fortran, dtype, offset


def _member_rows(archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: str) -> RowReader:
    shape, fortran, dtype, offset = _member_header(archive, info, place)
    if fortran:  # a range of rows is scattered over the whole array
        with archive.open(info) as stream:
            return ArrayRows(npy.read_array(stream, allow_pickle=False), place)
    return StreamRows(lambda: archive.open(info), offset, shape, dtype, place)  # type: ignore[arg-type, return-value]


def _member_labels(archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: str) -> Labels:
    _member_header(archive, info, place)
    with archive.open(info) as stream:
        return encode_labels(npy.read_array(stream, allow_pickle=False), place)
