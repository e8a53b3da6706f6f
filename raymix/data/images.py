"""Encoded images (PNG, JPEG, ...) as rows, wherever their bytes lie.

Shapes: n rows of a range, C H W of an image (channels first).
"""

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raymix.data.faults import reading
from raymix.data.layout import array_layout, require_size
from raymix.data.limits import MAX_BYTES, MAX_SCANS
from raymix.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # others may run outside programs
_AS_THEY_ARE = ("L", "RGB", "I;16", "I;16B", "I;16L", "I", "F")
_GREY = ("1", "LA", "La")

Prepare = Callable[[Image.Image], Image.Image]


def decode_image(data: bytes, where: str, prepare: Prepare | None = None) -> NDArray[np.generic]:
    """(1, H, W) of a grey image, (3, H, W) of any other; transparency is dropped, 1 bit becomes 0 or 255.

    Raises `DataError` for what is not an image and for one that is too large (`raymix.data.limits`).
    """
    if len(data) > MAX_BYTES:
        raise DataError(f"has {len(data)} bytes", where, f"at most {MAX_BYTES} are read")
    with reading(where, "an image", "remove or replace it"):
        with _open(data) as file:
            require_size(file.height, file.width, where)
            if file.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > MAX_SCANS:
                raise DataError(f"has more than {MAX_SCANS} scans", where, "write it again")
            image: Image.Image = file
            if file.mode not in _AS_THEY_ARE:
                image = file.convert("L" if file.mode in _GREY else "RGB")
            array = np.asarray(image if prepare is None else prepare(image))
        layout = array_layout((1, *array.shape), array.dtype, where)
        return layout.arrange(array[None])[0]


def _open(data: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its size is judged here
        return Image.open(io.BytesIO(data), formats=_FORMATS)


class ImageStore(Protocol):
    """Where encoded images lie, in a fixed order."""

    def __len__(self) -> int: ...

    def read_bytes(self, row: int) -> bytes: ...

    def where(self, row: int) -> str: ...


class ImageRows:
    """Rows of a store of encoded images; shape and type are those of the first one.

    Raises `DataError` for one that cannot be read or differs from the first.
    """

    def __init__(self, store: ImageStore, prepare: Prepare | None = None) -> None:
        self._store, self._prepare = store, prepare
        first = self._decode(0)
        self.num_rows, self.row_shape, self.dtype = len(store), first.shape, str(first.dtype)

    def _decode(self, row: int) -> NDArray[np.generic]:
        return decode_image(self._store.read_bytes(row), self.where(row), self._prepare)

    def read_rows(self, start: int, stop: int) -> NDArray[np.generic]:
        rows = np.empty((stop - start, *self.row_shape), self.dtype)
        for row in range(start, stop):
            image = self._decode(row)
            if image.shape != self.row_shape or image.dtype != self.dtype:
                raise DataError(
                    f"is {image.shape} {image.dtype}, the first ({self.where(0)}) is {self.row_shape} {self.dtype}",
                    self.where(row),
                    "make all images one size and kind",
                )
            rows[row - start] = image
        return rows

    def where(self, row: int) -> str:
        return self._store.where(row)


def parent_labels(names: Sequence[str]) -> list[str] | None:
    """The folder path of each name below what all share, or None where all lie in one folder."""
    parents = [name.rpartition("/")[0] for name in names]
    if len(set(parents)) < 2:
        return None
    parts = [parent.split("/") for parent in set(parents)]
    shared = 0
    while all(len(part) > shared and part[shared] == parts[0][shared] for part in parts):
        shared += 1
    return ["/".join(parent.split("/")[shared:]) or "." for parent in parents]
