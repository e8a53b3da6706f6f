"""How an array in a file becomes rows: axes in raymix's order, a type that training can use.

Shapes: N rows, D columns of a vector, C H W of an image (channels first).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymix.data.limits import MAX_COLUMNS, MAX_PIXELS, MAX_SIDE
from raymix.errors import DataError

_CHANNELS = (1, 3)


class Layout(NamedTuple):
    """Shape and type of the rows, and where their channels lie in the file."""

    row_shape: tuple[int, ...]
    dtype: str
    channels_last: bool

    def arrange(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """Rows (n, *row_shape) of a slice of the file's array, as a contiguous copy."""
        if self.channels_last:
            array = np.moveaxis(array, -1, 1)
        rows = np.array(array, dtype=self.dtype, order="C")
        return rows.reshape(len(array), *self.row_shape)


def row_dtype(dtype: np.dtype[np.generic], where: str) -> str:
    """The type that rows of `dtype` are read as: every value stays exact.

    uint8, float32 and float64 stay; bool becomes uint8; float16 and integers of 8 or 16 bits become float32, wider ones
    float64. Raises `DataError` for anything else.
    """
    if dtype.kind == "b":
        return "uint8"
    if dtype.kind == "f" and dtype.itemsize <= 8:
        return "float64" if dtype.itemsize == 8 else "float32"
    if dtype.kind in "iu":
        if dtype == np.uint8:
            return "uint8"
        return "float32" if dtype.itemsize <= 2 else "float64"
    raise DataError(f"values are of type {dtype}", where, "give an array of numbers")


def array_layout(shape: tuple[int, ...], dtype: np.dtype[np.generic], where: str) -> Layout:
    """Layout of an array (N, D), (N, H, W), (N, H, W, C) or (N, C, H, W), C being 1 or 3.

    Raises `DataError` for other shapes, empty or huge rows and types that are not numbers.
    """
    layout = _layout(shape, row_dtype(dtype, where), where)
    if any(size < 1 for size in shape):
        raise DataError(f"is empty (shape {shape})", where, "give at least one row")
    if len(layout.row_shape) == 3:
        require_size(*layout.row_shape[1:], where)
    elif layout.row_shape[0] > MAX_COLUMNS:
        raise DataError(f"has {layout.row_shape[0]} columns", where, f"at most {MAX_COLUMNS} are read")
    return layout


def _layout(shape: tuple[int, ...], dtype: str, where: str) -> Layout:
    match shape:
        case (_, D):
            return Layout((D,), dtype, False)
        case (_, H, W):
            return Layout((1, H, W), dtype, False)
        case (_, H, W, C) if C in _CHANNELS:
            return Layout((C, H, W), dtype, True)
        case (_, C, H, W) if C in _CHANNELS:
            return Layout((C, H, W), dtype, False)
    raise DataError(
        f"has shape {shape}",
        where,
        "give vectors (N, D) or images (N, H, W), (N, H, W, C), (N, C, H, W) with C 1 or 3",
    )


def require_size(H: int, W: int, where: str) -> None:
    """Raises `DataError` for images with too many pixels or too long a side."""
    if H * W > MAX_PIXELS or max(H, W) > MAX_SIDE:
        raise DataError(
            f"has {H} x {W} pixels", where, f"at most {MAX_PIXELS} are read, and {MAX_SIDE} in a line or column"
        )
