"""Rows that are images, as PNG or WebP inside the page, whichever is smaller: strips of many small ones.

Shapes: n images, C H W; L lines of a strip.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image

from raymix.report.image_grid import value_range

Rows = NDArray[np.generic]
SIDE = 64  # larger images are shown smaller
BORDER = 1


class Shades:
    """How values become light: the same range for all images of a page."""

    def __init__(self, real: Sequence[Rows], samples: Sequence[Rows]) -> None:
        """From the real rows, or from samples where there are none."""
        self.low, self.high = value_range(real if any(map(len, real)) else samples)

    def pixels(self, images: Rows) -> NDArray[np.uint8]:
        """(n, H, W, 1 or 3) of (n, C, H, W): three channels are colours, of any other number the first is shown."""
        shown = images if images.shape[1] == 3 else images[:, :1]
        light = (shown.astype(np.float64) - self.low) / (self.high - self.low)
        return shrunk((255 * light.clip(0, 1)).round().astype(np.uint8).transpose(0, 2, 3, 1))


def shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images of at most `SIDE` pixels a side, by the mean of whole squares of pixels."""
    factor = -(-max(pixels.shape[1:3]) // SIDE)
    if factor == 1:
        return pixels
    n, height, width, channels = pixels.shape
    cut = pixels[:, : height // factor * factor or None, : width // factor * factor or None]
    rows, columns = max(1, height // factor), max(1, width // factor)
    parts = cut.reshape(n, rows, cut.shape[1] // rows, columns, cut.shape[2] // columns, channels)
    means: NDArray[np.uint8] = parts.mean((2, 4)).round().astype(np.uint8)
    return means


def strip(pixels: NDArray[np.uint8], columns: int, about: str) -> Markup:
    """An <img> of (n, H, W, channels) images side by side, `columns` to a line, on a transparent ground."""
    n, height, width, channels = pixels.shape
    lines = -(-n // columns)
    tall, wide = height + BORDER, width + BORDER
    sheet = np.zeros((lines * tall - BORDER, columns * wide - BORDER, channels + 1), np.uint8)
    for i, image in enumerate(pixels):
        top, left = i // columns * tall, i % columns * wide
        sheet[top : top + height, left : left + width, :channels] = image
        sheet[top : top + height, left : left + width, channels] = 255
    mode = "LA" if channels == 1 else "RGBA"
    picture = sheet if mode == "RGBA" else sheet.reshape(*sheet.shape[:2], 2)
    size = f'width="{picture.shape[1]}" height="{picture.shape[0]}"'
    return Markup(f'<img class="strip" {size} alt="{escape(about)}" src="{encoded(Image.fromarray(picture, mode))}">')


def encoded(image: Image.Image) -> str:
    """A data: URI. Colours may lose a little in WebP, greys lose nothing."""
    found = {"png": io.BytesIO()}
    image.save(found["png"], "PNG", optimize=True)
    if image.mode == "RGBA":
        found["webp"] = io.BytesIO()
        image.save(found["webp"], "WEBP", quality=85)
    kind, smallest = min(found.items(), key=lambda item: len(item[1].getvalue()))
    return f"data:image/{kind};base64,{base64.b64encode(smallest.getvalue()).decode()}"
