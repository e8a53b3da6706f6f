"""The idx format of MNIST and its kin, plain or gzipped: a magic number, big-endian sizes, values."""

import gzip
import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from raymix.data.arrays import StreamRows
from raymix.data.faults import reading
from raymix.data.rows import Labels, RowSource, encode_labels
from raymix.errors import DataError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DEFLATE_LIMIT = 1032  # deflate cannot compress by a larger factor
_TODO = "get the file again"


def is_idx(path: Path) -> bool:
    """Whether the name is one of an idx file, such as train-images-idx3-ubyte.gz or rows.idx."""
    return re.search(r"(\.idx|idx\d[-.]?ubyte)(\.gz)?$", path.name) is not None


def open_idx(path: Path, name: str, labels: Path | None = None) -> RowSource:
    """Rows of an idx file and labels of another. Raises `DataError`."""
    shape, dtype, offset = _read_header(path)
    reader = StreamRows(lambda: _open(path), offset, shape, dtype, str(path))
    return RowSource(name, reader, None if labels is None else read_idx_labels(labels))


def read_idx_labels(path: Path) -> Labels:
    """Labels of an idx file of one axis. Raises `DataError`."""
    return encode_labels(load_idx(path), str(path))


def load_idx(path: Path) -> NDArray[np.generic]:
    """The whole array of an idx file. Raises `DataError`."""
    shape, dtype, offset = _read_header(path)
    with reading(str(path), "an idx file", _TODO), _open(path) as stream:
        stream.seek(offset)
        size = dtype.itemsize * int(np.prod(shape, dtype=object))
        data = stream.read(size + 1)
    if len(data) != size:
        raise DataError(
            f"declares {size} bytes of values and has {'more' if len(data) > size else len(data)}", str(path), _TODO
        )
    return np.frombuffer(data, dtype).reshape(shape)


def _open(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _read_header(path: Path) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and length of the header. Raises `DataError` if the file cannot hold what it declares."""
    with reading(str(path), "an idx file", _TODO), _open(path) as stream:
        magic = stream.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not magic[3]:
            raise DataError(f"does not start like an idx file ({magic.hex() or 'empty'})", str(path), _TODO)
        dtype, num_axes = np.dtype(_TYPES[magic[2]]), magic[3]
        shape = struct.unpack(f">{num_axes}I", stream.read(4 * num_axes))
        size = os.path.getsize(path)
    offset = 4 + 4 * num_axes
    declared = offset + dtype.itemsize * int(np.prod(shape, dtype=object))
    fits = declared <= _DEFLATE_LIMIT * size if path.suffix == ".gz" else declared == size
    if not fits:
        raise DataError(f"declares {declared} bytes for shape {shape}, the file has {size}", str(path), _TODO)
    return shape, dtype, offset
