"""How an array in a file becomes rows: axes in raymix's order, a type that training can use.

Shapes: N rows, D columns of a vector, C H W of an image (channels first).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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

    Raises `DataError` for other shapes, empty rows and types that are not numbers.
    """
    kind = row_dtype(dtype, where)
    if any(size < 1 for size in shape):
        raise DataError(f"is empty (shape {shape})", where, "give at least one row")
    match shape:
        case (_, D):
            return Layout((D,), kind, False)
        case (_, H, W):
            return Layout((1, H, W), kind, False)
        case (_, H, W, C) if C in _CHANNELS:
            return Layout((C, H, W), kind, True)
        case (_, C, H, W) if C in _CHANNELS:
            return Layout((C, H, W), kind, False)
    raise DataError(
        f"has shape {shape}", where, "give vectors (N, D) or images (N, H, W), (N, H, W, C), (N, C, H, W) with C 1 or 3"
    )
