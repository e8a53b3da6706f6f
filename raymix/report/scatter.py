"""Two scatter plots of vectors: samples of every component, and the real rows it owns.

Shapes: n rows of a component, N real rows of all, D columns.
"""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

Rows = NDArray[np.generic]
Points = NDArray[np.float64]

DPI = 100
PANEL_INCHES = 5.0
# Ten colours that stay apart under colour blindness (Petroff, 2021, arXiv:2107.02270); the second ten are darker and
# have another marker. The component's number is drawn in each cloud as well.
COLOURS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
MARKERS = "o^sD"


def draw_scatter(samples: Sequence[Rows], real: Sequence[Rows], labels: Sequence[str]) -> Figure:
    """Draw (n, D) vectors of every component; a label's first word is drawn in the cloud.

    Two columns are drawn as they are; more are projected on the first two principal components of the real rows, and
    the title says so; a single column is drawn against the component. The frame is that of the real rows (of the
    samples where there are none); how many points lie outside stands in the panel's title.
    """
    reference = real if any(map(len, real)) else samples
    project, note = _projection(np.concatenate([rows for rows in reference if len(rows)]))
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
        _draw_clouds(axes, clouds, labels)
        if one_column:
            axes.set_yticks(range(len(labels)))
    handles = []
    for k, label in enumerate(labels):
        colour, marker = _style(k)
        handles.append(Line2D([], [], linestyle="", color=colour, marker=marker, label=label))
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    return figure


def _projection(rows_ND: Rows) -> tuple[Callable[[Rows, int], Points], str]:
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


def _style(k: int) -> tuple[tuple[float, float, float], str]:
    """Colour and marker of the k-th component."""
    cycle, place = divmod(k, len(COLOURS))
    red, green, blue = to_rgb(COLOURS[place])
    shade = 0.55 if cycle % 2 else 1.0
    return (shade * red, shade * green, shade * blue), MARKERS[cycle % len(MARKERS)]


def _draw_clouds(axes: Axes, clouds: Sequence[Points], labels: Sequence[str]) -> None:
    """Draw the points of every component in its colour, with its number in their middle."""
    size = float(np.clip(4000 / max(1, sum(map(len, clouds))), 3, 25))
    for k, points in enumerate(clouds):
        colour, marker = _style(k)
        axes.scatter(points[:, 0], points[:, 1], s=size, color=colour, marker=marker, linewidths=0, alpha=0.8)
    for points, label in zip(clouds, labels, strict=True):
        if len(points):
            middle = np.abs(points - np.median(points, axis=0)).sum(axis=1).argmin()  # a point: never beside the cloud
            axes.annotate(
                label.split()[0],
                points[middle],
                fontweight="bold",
                fontsize=12,
                ha="center",
                va="center",
                path_effects=[withStroke(linewidth=3, foreground="white")],
                annotation_clip=True,
            )
