"""A grid of images with a line per component: samples at the left, the real rows it owns at the right.

Shapes: n images of a component, C H W.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Rows = NDArray[np.generic]

DPI = 100
CELL_PIXELS = 56  # images are magnified by a whole number to at least this size
BORDER_PIXELS = 3
BLOCK_PIXELS = 160  # a narrower block would not hold its title
LEFT, TOP, RIM, GAP = 165, 36, 12, 32  # pixels around the blocks and between them


def draw_grid(samples: Sequence[Rows], real: Sequence[Rows], labels: Sequence[str]) -> Figure:
    """Draw (n, C, H, W) images of every component.

    Three channels are colours, one is shades of grey from black (low) to white (high); of any other number the first
    is shown. Black and white are the smallest and largest value of the real rows (of the samples where there are
    none), for both sides; black is 0 for unsigned integers.
    """
    low, high = value_range(real if any(map(len, real)) else samples)
    channels, height, width = next(rows.shape[1:] for rows in (*samples, *real) if len(rows))
    note = "" if channels in (1, 3) else f" (channel 0 of {channels})"
    blocks = {
        f"{title}{note}": _mosaic(rows, low, high, height, width)
        for title, rows in (("samples", samples), ("real rows it owns", real))
    }

    mosaic_height = len(next(iter(blocks.values())))
    figure_height = TOP + mosaic_height + RIM
    figure_width = LEFT + sum(mosaic.shape[1] for mosaic in blocks.values()) + GAP + RIM
    figure = Figure(figsize=(figure_width / DPI, figure_height / DPI), dpi=DPI)
    left = LEFT
    for title, mosaic in blocks.items():
        mosaic_width = mosaic.shape[1]
        pixels = np.array([left, RIM, mosaic_width, mosaic_height])  # one of the picture per one of the mosaic
        axes = figure.add_axes(tuple(pixels / [figure_width, figure_height, figure_width, figure_height]))
        axes.imshow(mosaic, interpolation="nearest", aspect="auto")
        axes.set_title(title, fontsize=12, loc="left")
        axes.spines[:].set_visible(False)
        axes.set(xticks=[], yticks=[])
        left += mosaic_width + GAP
    line_height = mosaic_height / len(labels)
    figure.axes[0].set_yticks([(line + 0.5) * line_height for line in range(len(labels))], labels, fontsize=11)
    figure.axes[0].tick_params(length=0)
    return figure


def value_range(images: Sequence[Rows]) -> tuple[float, float]:
    """The values that are drawn black and white."""
    filled = [rows for rows in images if len(rows)]
    low = 0.0 if filled[0].dtype.kind == "u" else min(float(rows.min()) for rows in filled)
    high = max(float(rows.max()) for rows in filled)
    return low, high if high > low else low + 1.0


def _mosaic(images: Sequence[Rows], low: float, high: float, height: int, width: int) -> NDArray[np.float32]:
    """All images on white, a line per component: (pixels down, pixels across, 3), from 0 to 1."""
    scale = -(-CELL_PIXELS // max(height, width))
    line_height, cell_width = height * scale + BORDER_PIXELS, width * scale + BORDER_PIXELS
    columns = max(-(-BLOCK_PIXELS // cell_width), *map(len, images))
    mosaic = np.ones((len(images) * line_height, columns * cell_width, 3), np.float32)
    for line, rows in enumerate(images):
        for column, image in enumerate(rows):
            colours = image if len(image) == 3 else image[:1].repeat(3, axis=0)
            light = ((colours.astype(np.float64) - low) / (high - low)).clip(0, 1).transpose(1, 2, 0)
            top, left = line * line_height, column * cell_width
            mosaic[top : top + height * scale, left : left + width * scale] = light.repeat(scale, 0).repeat(scale, 1)
    return mosaic
