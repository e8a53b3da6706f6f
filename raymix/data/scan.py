"""One pass over a data set: is every value fit for training, and what are its moments?

Shapes: n rows of a block, D columns; images count as one column of all their values.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymix.data.blocks import require_finite
from raymix.data.catalogue import CATALOGUE
from raymix.data.faults import listing
from raymix.data.source import DataSpec, Source, block_bounds
from raymix.errors import DataError

_PIECE = 2**20  # values turned to float64 at a time


@dataclass(frozen=True)
class Summary:
    """What one pass over a data set found."""

    spec: DataSpec
    minimum: float
    maximum: float
    mean: tuple[float, ...]
    """One number per column of vectors, one for all values of images; a constant column's is its value, exactly."""
    sd: tuple[float, ...]
    """As `mean`: root of the mean squared deviation; 0 exactly where a column is constant."""
    class_counts: tuple[int, ...]
    """Rows of each class; empty where labels are unknown."""
    num_blocks: int


class Moments(NamedTuple):
    """Moments of some rows, per column (D,), in float64."""

    num_values: int
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    """Sum of squared deviations from the mean."""


def scan(source: Source, block_bytes: int) -> Summary:
    """Read every row once, a block at a time.

    Raises `DataError` with file and row for values that are not finite, too large, or cannot be read.
    """
    spec = source.spec
    counts = np.zeros(len(spec.classes), dtype=np.int64)
    total: Moments | None = None
    bounds = block_bounds(spec, block_bytes)
    for start, stop in bounds:
        block = source.read(start, stop)
        require_finite(block.rows, source, start)
        found = block_moments(block.rows)
        total = found if total is None else merge_moments(total, found)
        if block.labels is not None:
            counts += np.bincount(block.labels, minlength=len(counts))
    if total is None:
        raise DataError("holds no rows", spec.name, "give at least one row")
    constant = total.minimum == total.maximum
    mean = np.where(constant, total.minimum, total.mean)
    sd = np.where(constant, 0.0, np.sqrt(total.squares / total.num_values))
    if not np.isfinite(sd).all():
        raise DataError("holds values too large to be squared", spec.name, "scale them down")
    return Summary(
        spec,
        float(total.minimum.min()),
        float(total.maximum.max()),
        tuple(mean.tolist()),
        tuple(sd.tolist()),
        tuple(counts.tolist()),
        len(bounds),
    )


def block_moments(rows: NDArray[np.generic]) -> Moments:
    """Moments of rows (n, D) per column, or of images (n, C, H, W) over all values. n is at least 1."""
    columns = rows if rows.ndim == 2 else rows.reshape(-1, 1)
    step = max(1, _PIECE // columns.shape[1])
    total: Moments | None = None
    with np.errstate(over="ignore", invalid="ignore"):  # `scan` names values that are too large
        for start in range(0, len(columns), step):
            piece = columns[start : start + step].astype(np.float64)
            mean = piece.mean(axis=0)
            squares = np.square(piece - mean).sum(axis=0)
            found = Moments(len(piece), piece.min(axis=0), piece.max(axis=0), mean, squares)
            total = found if total is None else merge_moments(total, found)
    assert total is not None, "no rows"
    return total


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Moments of the rows of both (Chan, Golub and LeVeque 1983, equation 2.1)."""
    count = a.num_values + b.num_values
    step = b.mean - a.mean
    with np.errstate(over="ignore", invalid="ignore"):
        return Moments(
            count,
            np.minimum(a.minimum, b.minimum),
            np.maximum(a.maximum, b.maximum),
            a.mean + step * (b.num_values / count),
            a.squares + b.squares + np.square(step) * (a.num_values * b.num_values / count),
        )


def scaling(summary: Summary) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Offset and scale for training on (x - offset) * scale: one number each, or one per column of vectors.

    Images land in [0, 1]: bytes by 1/255 (unless none exceeds 1), others by their range unless they lie there already.
    Columns of vectors get mean 0 and sd 1; a constant one gets scale 0, which holds samples at its value. Offsets are
    exact in the data's own precision. Data sets with a name may bring their own scale.
    """
    spec = summary.spec
    own = CATALOGUE[spec.name].scale if spec.name in CATALOGUE else None
    if own is not None:
        return (0.0,), (own,)
    if not spec.is_image:
        offset = np.array(summary.mean, np.result_type(spec.dtype, np.float32))
        return tuple(offset.tolist()), tuple(1 / sd if sd else 0.0 for sd in summary.sd)
    if summary.minimum >= 0 and summary.maximum <= 1:
        return (0.0,), (1.0,)
    if spec.dtype == "uint8":
        return (0.0,), (1 / 255,)
    width = summary.maximum - summary.minimum
    return (summary.minimum,), (1 / width if width else 1.0,)


def describe_lines(summary: Summary) -> list[str]:
    """At most 7 lines for a person to read."""
    spec = summary.spec
    kind = "images (C, H, W)" if spec.is_image else "vectors (D,)"
    size = spec.num_rows * spec.row_bytes / 2**20
    offset, scale = scaling(summary)
    lines = [
        f"{spec.name}: {spec.num_rows:,} rows, {kind} = {spec.row_shape}, {spec.dtype}, {size:,.1f} MiB",
        f"values: {summary.minimum:g} to {summary.maximum:g}, mean {_few(summary.mean)}, sd {_few(summary.sd)}",
        _class_line(summary),
        f"scaled for training: (x - {_few(offset)}) * {_few(scale)}",
        f"blocks: {summary.num_blocks}",
    ]
    if spec.columns:
        lines.insert(1, f"columns: {listing(spec.columns)}")
    constant = sum(sd == 0 for sd in summary.sd)
    if constant:
        lines.append(
            f"constant: {constant} of {len(summary.sd)} columns" if not spec.is_image else "constant: all values"
        )
    return lines


def _class_line(summary: Summary) -> str:
    classes = summary.spec.classes
    if not classes:
        return "classes: unknown"
    shown = [f"{name} ({count:,})" for name, count in zip(classes, summary.class_counts, strict=True)][:10]
    return f"classes: {len(classes)}: {', '.join(shown)}{', ...' if len(classes) > 10 else ''}"


def _few(values: tuple[float, ...], most: int = 4) -> str:
    """One number plainly, several as a short list."""
    if len(values) == 1:
        return f"{values[0]:.6g}"
    return f"[{', '.join(f'{value:.4g}' for value in values[:most])}{', ...' if len(values) > most else ''}]"
