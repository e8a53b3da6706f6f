"""Two scatter plots of vectors: samples of every component, and the real rows it owns.

Shapes: n rows of a component, N real rows of all, D columns.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from raymix.report.palette import colour_of, marker_of

Rows = NDArray[np.generic]
Points = NDArray[np.float64]

DPI = 100
PANEL_INCHES = 5.0


def draw_scatter(samples: Sequence[Rows], real: Sequence[Rows], labels: Sequence[str]) -> Figure:
    """Draw (n, D) vectors of every component; a label's first word is drawn in the cloud.

    Two columns are drawn as they are; more are projected on the first two principal components of the real rows, and
    the title says so; a single column is drawn against the component. The frame is that of the real rows (of the
    samples where there are none); how many points lie outside stands in the panel's title.
    """
    reference = real if any(map(len, real)) else samples
    project, note = projection(np.concatenate([rows for rows in reference if len(rows)]))
    panels = {
        "samples": [project(rows, k) for k, rows in enumerate(samples)],
        "real rows, by the component that owns them": [project(rows, k) for k, rows in enumerate(real)],
    }
    framed = np.concatenate([project(rows, k) for k, rows in enumerate(reference)])
    margin = 0.08 * np.maximum(np.ptp(framed, axis=0), 1e-6)
    low, high = framed.min(axis=0) - margin, framed.max(axis=0) + margin

    one_column = samples[0].shape[1] == 1
    width, height = (1.0, 0.8) if one_column else (high - low)
    panel_height = float(np.clip(PANEL_INCHES * height / width, 2.5, 1.5 * PANEL_INCHES))
    panel_height = max(panel_height, 0.2 * len(labels))  # room for the legend
    figure = Figure(figsize=(2 * PANEL_INCHES + 2.2, panel_height + 0.8), dpi=DPI, layout="constrained")
    figure.suptitle(note)
    for axes, (title, clouds) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        outside = sum(int(((points < low) | (points > high)).any(axis=1).sum()) for points in clouds)
        axes.set_title(f"{title} ({outside} outside the frame)" if outside else title, fontsize=11)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        if not one_column:
            axes.set_aspect("equal")
        draw_clouds(axes, dict(enumerate(clouds)), [label.split()[0] for label in labels])
        if one_column:
            axes.set_yticks(range(len(labels)))
    handles = []
    for k, label in enumerate(labels):
        handles.append(Line2D([], [], linestyle="", color=colour_of(k), marker=marker_of(k), label=label))
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    return figure


def projection(rows_ND: Rows) -> tuple[Callable[[Rows, int], Points], str]:
    """What turns the rows of component k into points of the plane, and its name for the title."""
    rows_ND = rows_ND.astype(np.float64)
    D = rows_ND.shape[1]
    if D == 1:
        return lambda rows, k: np.column_stack([rows[:, 0], np.full(len(rows), float(k))]), "value against component"
    if D == 2:
        return lambda rows, k: rows.astype(np.float64), ""
    mean_D = rows_ND.mean(axis=0)
    _, _, directions_DD = np.linalg.svd(rows_ND - mean_D, full_matrices=len(rows_ND) < 2)
    plane_D2 = directions_DD[:2].T
    return (
        lambda rows, k: (rows - mean_D) @ plane_D2,
        f"{D} columns, projected on the first two principal components of the real rows",
    )


def draw_clouds(axes: Axes, clouds: Mapping[int, Points], names: Sequence[str], ground: str = "white") -> None:
    """Draw each cloud of points in the k-th colour, with its name in the middle."""
    size = float(np.clip(4000 / max(1, sum(map(len, clouds.values()))), 3, 25))
    for k, points in clouds.items():
        xs, ys = points.T
        axes.scatter(xs, ys, size, colour_of(k), marker=marker_of(k), linewidths=0, alpha=0.8, rasterized=True)
    for points, name in zip(clouds.values(), names, strict=True):
        if len(points):
            middle = np.abs(points - np.median(points, axis=0)).sum(axis=1).argmin()  # a point: never beside the cloud
            axes.annotate(
                name,
                points[middle],
                fontweight="bold",
                fontsize=12,
                ha="center",
                va="center",
                path_effects=[withStroke(linewidth=3, foreground=ground)],
                annotation_clip=True,
            )
