"""The idx format of MNIST and its kin, plain or gzipped: a magic number, big-endian sizes, values."""

import gzip
import math
import re
import struct
from typing import IO

import numpy as np

from raymix.data.arrays import ArrayHeader, StreamRows
from raymix.data.faults import printable, reading
from raymix.data.limits import DEFLATE_RATIO
from raymix.data.paths import Place, num_bytes
from raymix.data.rows import Labels, RowSource, encode_labels, require_one_per_row
from raymix.errors import DataError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_AXES = 4
_TODO = "get the file again"


def is_idx(path: Place) -> bool:
    """Whether the name is one of an idx file, such as train-images-idx3-ubyte.gz or rows.idx."""
    return re.search(r"(\.idx|idx\d[-.]?ubyte)(\.gz)?$", path.name) is not None


def open_idx(path: Place, name: str, labels: Place | None = None) -> RowSource:
    """Rows of an idx file and labels of another. Raises `DataError`."""
    reader = StreamRows(lambda: _open(path), _read_header(path), printable(path))
    return RowSource(name, reader, None if labels is None else read_idx_labels(labels, reader.num_rows))


def read_idx_labels(path: Place, num_rows: int) -> Labels:
    """Labels of an idx file of one axis. Raises `DataError`."""
    place = printable(path)
    header = _read_header(path)
    if len(header.shape) != 1:
        raise DataError(f"labels have shape {header.shape}", place, "give one label per row")
    require_one_per_row(header.shape[0], num_rows, place)
    size = num_rows * header.dtype.itemsize
    with reading(path, "an idx file", _TODO), _open(path) as stream:
        stream.seek(header.offset)
        data = stream.read(size + 1)
    if len(data) != size:
        found = "more" if len(data) > size else len(data)
        raise DataError(f"declares {size} bytes of values and has {found}", place, _TODO)
    return encode_labels(np.frombuffer(data, header.dtype), place)


def _open(path: Place) -> IO[bytes]:
    stream = path.open("rb")
    return gzip.GzipFile(fileobj=stream) if path.suffix == ".gz" else stream  # type: ignore[return-value]


def _read_header(path: Place) -> ArrayHeader:
    """What the first bytes declare. Raises `DataError` if the file cannot hold what it declares."""
    place = printable(path)
    with reading(path, "an idx file", _TODO), _open(path) as stream:
        magic = stream.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not 1 <= magic[3] <= _MAX_AXES:
            raise DataError(f"does not start like an idx file ({magic.hex() or 'empty'})", place, _TODO)
        dtype, num_axes = np.dtype(_TYPES[magic[2]]), magic[3]
        shape = struct.unpack(f">{num_axes}I", stream.read(4 * num_axes))
        size = num_bytes(path)
    offset = 4 + 4 * num_axes
    declared = offset + dtype.itemsize * math.prod(shape)
    fits = declared <= DEFLATE_RATIO * size if path.suffix == ".gz" else declared == size
    if not fits:
        raise DataError(f"declares {declared} bytes for shape {shape}, the file has {size}", place, _TODO)
    return ArrayHeader(shape, False, dtype, offset)
