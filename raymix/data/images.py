"""Encoded images (PNG, JPEG, ...) as rows, wherever their bytes lie.

Shapes: n rows of a range, C H W of an image (channels first).
"""

import io
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from raymix.data.faults import reading
from raymix.data.layout import array_layout
from raymix.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # others may run outside programs
_MAX_PIXELS = 2**26  # 8192 x 8192
_AS_THEY_ARE = ("L", "RGB", "I;16", "I;16B", "I;16L", "I", "F")
_GREY = ("1", "LA", "La")

Prepare = Callable[[Image.Image], Image.Image]


def decode_image(data: bytes, where: str, prepare: Prepare | None = None) -> NDArray[np.generic]:
    """(1, H, W) of a grey image, (3, H, W) of any other; transparency is dropped, 1 bit becomes 0 or 255.

    Raises `DataError` for what is not an image and for more than 2^26 pixels.
    """
    with reading(where, "an image", "remove or replace it"):
        with Image.open(io.BytesIO(data), formats=_FORMATS) as file:
            if file.width * file.height > _MAX_PIXELS:
                raise DataError(f"has {file.width} x {file.height} pixels", where, f"at most {_MAX_PIXELS} are read")
            image: Image.Image = file
            if file.mode not in _AS_THEY_ARE:
                image = file.convert("L" if file.mode in _GREY else "RGB")
            array = np.asarray(image if prepare is None else prepare(image))
        layout = array_layout((1, *array.shape), array.dtype, where)
        return layout.arrange(array[None])[0]


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
