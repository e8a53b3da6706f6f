"""Encoded images (PNG, JPEG, ...) as rows, wherever their bytes lie: turned, and on a ground, as viewers show them.

Shapes: n rows of a range, C H W of an image (channels first).
"""

import io
import math
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from raymix.data.faults import reading
from raymix.data.grounds import BLACK, WHITE, on_ground, seen_luminance
from raymix.data.image_names import formats
from raymix.data.jpeg2000 import is_jpeg2000, require_modest
from raymix.data.layout import array_layout, require_size
from raymix.data.limits import MAX_BYTES, MAX_EXIF_BYTES, MAX_SCANS
from raymix.errors import DataError

LOOK = 64
"""So many images are looked at for transparency."""
_AS_THEY_ARE = ("L", "RGB", "I;16", "I;16B", "I;16L", "I", "F")
_WARNINGS = threading.Lock()  # the filters are those of the whole process
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings an image of an EXIF orientation upright."""

Prepare = Callable[[Image.Image], Image.Image]


def decode_image(data: bytes, where: str, prepare: Prepare | None = None, ground: str = WHITE) -> NDArray[np.generic]:
    """(1, H, W) of a grey image, (3, H, W) of any other, upright and on a ground; 1 bit becomes 0 or 255.

    Raises `DataError` for what is not an image and for one that is too large (`raymix.data.limits`).
    """
    with _opened(data, where) as file:
        image = on_ground(upright(file), ground)
        if image.mode not in _AS_THEY_ARE:
            image = image.convert("L" if image.mode == "1" else "RGB")
        array = np.asarray(image if prepare is None else prepare(image))
        layout = array_layout((1, *array.shape), array.dtype, where)
        return layout.arrange(array[None])[0]


@contextmanager
def _opened(data: bytes, where: str) -> Iterator[Image.Image]:
    """The image in some bytes, not decoded yet; what is raised meanwhile becomes a `DataError`."""
    if len(data) > MAX_BYTES:
        raise DataError(f"has {len(data)} bytes", where, f"at most {MAX_BYTES} are read")
    with reading(where, "an image", "remove or replace it"):
        if data.startswith(b"\0\0\1\0"):
            _require_small_icon(data, where)
        if is_jpeg2000(data):
            require_modest(data, where)
        with _open(data) as file:
            require_size(file.height, file.width, where)
            if file.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > MAX_SCANS:
                raise DataError(f"has more than {MAX_SCANS} scans", where, "write it again")
            if file.format == "PNG":
                _scale_clear_colour(file, depth=data[24])
            yield file


def _open(data: bytes) -> Image.Image:
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes are judged here, and damaged EXIF is not
        return Image.open(io.BytesIO(data), formats=formats())


def _require_small_icon(data: bytes, where: str) -> None:
    """Raises `DataError` for an icon with an image that is too large: Pillow decodes it when it opens the file."""
    (num_images,) = struct.unpack_from("<H", data, 4)
    for number in range(num_images):
        (start,) = struct.unpack_from("<I", data, 6 + 16 * number + 12)
        is_png = data[start : start + 4] == b"\x89PNG"
        W, H = struct.unpack_from(">2I", data, start + 16) if is_png else struct.unpack_from("<2i", data, start + 4)
        require_size(abs(H), abs(W), where)


def _scale_clear_colour(file: Image.Image, depth: int) -> None:
    """A PNG names its clear colour in its own depth; Pillow turns pixels to 8 bits and leaves the colour as it is."""
    clear = file.info.get("transparency")
    if file.mode == "L" and isinstance(clear, int) and depth < 8:
        file.info["transparency"] = clear * 255 // (2**depth - 1)
    elif file.mode == "RGB" and isinstance(clear, tuple) and depth == 16:
        file.info["transparency"] = tuple(part >> 8 for part in clear)


def upright(image: Image.Image) -> Image.Image:
    """The image turned as EXIF or XMP says; as it is stored where they cannot be read."""
    image.load()
    try:
        for name, most in (("exif", MAX_EXIF_BYTES), ("Raw profile type exif", 2 * MAX_EXIF_BYTES)):
            if name in image.info:
                image.info[name] = image.info[name][:most]
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what else is damaged there
            turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF raises whatever it likes, and the pixels are sound
        turn = None
    return image if turn is None else image.transpose(turn)


class ImageStore(Protocol):
    """Where encoded images lie, in a fixed order."""

    def __len__(self) -> int: ...

    def read_bytes(self, row: int) -> bytes: ...

    def where(self, row: int) -> str: ...


class ImageRows:
    """Rows of a store of encoded images; shape and type are those of the first one.

    Without a `ground`, the first `LOOK` images are looked at, and `notes` say what was taken if any is transparent.
    Raises `DataError` for one that cannot be read or differs from the first.
    """

    def __init__(self, store: ImageStore, prepare: Prepare | None = None, ground: str | None = None) -> None:
        self._store, self._prepare = store, prepare
        found = self._look_for_ground() if ground is None else None
        self._ground = ground or found or WHITE
        self.settings = {"ground": self._ground}
        self.notes = (f"transparency is shown on {found}",) if found else ()
        first = self._decode(0)
        self.num_rows, self.row_shape, self.dtype = len(store), first.shape, str(first.dtype)

    def _look_for_ground(self) -> str | None:
        """White under the first transparent image that shows something dark (a mean luminance below 128), black under
        one that is bright; None where none of the images that are looked at is transparent."""
        found = None
        for row in range(min(LOOK, len(self._store))):
            with suppress(DataError), _opened(self._store.read_bytes(row), self.where(row)) as image:
                mean = seen_luminance(image)  # of a damaged image none: it is named when it is read
                if mean is not None and not math.isnan(mean):
                    return WHITE if mean < 128 else BLACK
                found = found if mean is None else WHITE
        return found

    def _decode(self, row: int) -> NDArray[np.generic]:
        return decode_image(self._store.read_bytes(row), self.where(row), self._prepare, self._ground)

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
