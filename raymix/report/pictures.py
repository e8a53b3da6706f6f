"""Pictures of what each component learned: its samples beside the real rows it owns, in data units."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from raymix.errors import DataError
from raymix.report.image_grid import draw_grid
from raymix.report.scatter import draw_scatter


def save_samples(
    path: str | Path | BinaryIO,
    samples: Sequence[NDArray[np.generic]],
    real: Sequence[NDArray[np.generic]],
    weights: Sequence[float],
    row_kind: Literal["image", "vector"],
    components: Sequence[int] | None = None,
) -> None:
    """Write a PNG with the samples of every component beside the real rows it owns.

    `samples[i]` and `real[i]` are (n, C, H, W) images or (n, D) vectors in data units; n may differ and be 0.
    `weights[i]` is the mixing weight, `components[i]` the component's number (i when not given). Images make a grid
    with a line per component, vectors two scatter plots.
    Raises `DataError` when the lists differ in length, the rows in shape, or when there is no row at all.
    """
    numbers = list(range(len(samples))) if components is None else list(components)
    if not len(samples) == len(real) == len(weights) == len(numbers):
        lengths = ", ".join(str(len(values)) for values in (samples, real, weights, numbers))
        raise DataError(
            f"samples, real rows, weights and numbers are given for {lengths} components",
            "picture",
            "give one of each per component",
        )
    filled = [rows for rows in (*samples, *real) if len(rows)]
    shapes = {rows.shape[1:] for rows in filled}
    if len(shapes) != 1 or filled[0].ndim != (4 if row_kind == "image" else 2):
        raise DataError(f"rows have shapes {sorted(shapes)}", "picture", f"give {row_kind} rows of one shape")

    labels = [f"{number}   weight {100 * weight:.1f} %" for number, weight in zip(numbers, weights, strict=True)]
    draw = draw_grid if row_kind == "image" else draw_scatter
    draw(samples, real, labels).savefig(path, format="png")
