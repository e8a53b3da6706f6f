"""Rows that are vectors, drawn in one plane or on one axis that all components share.

Shapes: n rows of a component, D columns, Y X sides of a grid.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from raymix.report.contents import ComponentPortrait, Grid, Portrait
from raymix.report.drawing import INK, SHEET, drawn
from raymix.report.palette import colour_of
from raymix.report.scatter import draw_clouds, projection

CARD, PANEL = (300, 250), (380, 360)
GREY, BINS = "#8a8f98", 40
BELOW = (-100.0, -30.0, -10.0, -3.0)  # lines of equal log ratio where it is negative, in nats


class Plane:
    """Where vectors are drawn: as they are (one or two columns), or on two principal components of the real rows."""

    def __init__(self, portrait: Portrait, columns: Sequence[str] = ()) -> None:
        """`columns`: their names, where they have any."""
        owned = [each.owned for each in portrait.components]
        known = owned if any(map(len, owned)) else [each.samples for each in portrait.components]
        rows_ND = np.concatenate(known)
        self.one_column, self.projected = rows_ND.shape[1] == 1, rows_ND.shape[1] > 2
        self.names = dict(zip(("xlabel", "ylabel"), columns, strict=False)) if not self.projected else {}
        self._project, self.note = projection(rows_ND)
        self.low, self.high = around(self.points(rows_ND))

    def points(self, rows: NDArray[np.generic]) -> NDArray[np.float64]:
        """(n, 2) in the plane."""
        return self._project(rows, 0)


def around(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower left and upper right of a frame around points (n, 2)."""
    margin = 0.08 * np.maximum(np.ptp(points, axis=0), 1e-6)
    return points.min(axis=0) - margin, points.max(axis=0) + margin


def set_frame(axes: Axes, low: NDArray[np.float64], high: NDArray[np.float64], names: Mapping[str, str]) -> None:
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), **names)
    axes.tick_params(length=0)
    width, height = high - low
    if 1 / 3 < width / height < 3:
        axes.set_aspect("equal")


def card_picture(plane: Plane, each: ComponentPortrait) -> Markup:
    """Samples of one component in its colour over real rows it owns, grey crosses."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        if plane.one_column:
            _histograms(axes, plane, each)
            return
        (xs, ys), (sample_xs, sample_ys) = plane.points(each.owned).T, plane.points(each.samples).T
        axes.scatter(xs, ys, 14, GREY, marker="+", linewidths=0.7, alpha=0.8, rasterized=True)
        axes.scatter(sample_xs, sample_ys, 7, colour, linewidths=0, alpha=0.7, rasterized=True)
        around_both = around(np.concatenate([plane.points(each.owned), plane.points(each.samples)]))
        set_frame(axes, *around_both, plane.names)

    colour = colour_of(each.component)
    about = f"Samples of component {each.component} over real rows it owns"
    return drawn(f"card-{each.component}", about, *CARD, draw)


def _histograms(axes: Axes, plane: Plane, each: ComponentPortrait) -> None:
    bins = np.linspace(plane.low[0], plane.high[0], BINS + 1).tolist()
    if len(each.owned):
        axes.hist(each.owned[:, 0].astype(np.float64), bins, density=True, color=GREY, alpha=0.5)
    colour = colour_of(each.component)
    axes.hist(each.samples[:, 0], bins, density=True, histtype="step", color=colour, linewidth=1.6)
    axes.set(xlim=(plane.low[0], plane.high[0]), yticks=[], **({"xlabel": "value"} | plane.names))
    axes.tick_params(length=0)


def overviews(plane: Plane, portrait: Portrait) -> list[tuple[str, Markup]]:
    """(Caption, picture): real rows by the component that owns them, and samples, all components together."""
    if plane.one_column:
        return []
    names = [str(each.component) for each in portrait.components]
    found = []
    for caption, field in (("Real rows, by the component that owns them", "owned"), ("Samples", "samples")):
        clouds = {each.component: plane.points(getattr(each, field)) for each in portrait.components}
        outside = sum(int(((points < plane.low) | (points > plane.high)).any(1).sum()) for points in clouds.values())

        def draw(figure: Figure, clouds: dict[int, NDArray[np.float64]] = clouds) -> None:
            axes = figure.add_subplot()
            draw_clouds(axes, clouds, names, SHEET)
            set_frame(axes, plane.low, plane.high, plane.names)

        note = f"{caption} ({outside} outside the frame)" if outside else caption
        found.append((note, drawn(f"overview-{field}", caption, *PANEL, draw)))
    return found


def fields(portrait: Portrait, names: Mapping[str, str]) -> list[tuple[int, Markup]]:
    """(Component, picture): its log ratio over the plane, in its colour where it is positive, and rows it owns. `names`
    are those of the axes."""
    grid = portrait.grid
    if grid is None:
        return []
    top, found = full_colour(portrait), []
    for each in portrait.components:
        assert each.log_ratio_YX is not None
        draw = partial(_field, grid=grid, log_ratio_YX=each.log_ratio_YX, owned=each.owned, top=top, names=names)
        about = f"Log ratio of component {each.component} over the plane"
        picture = drawn(f"field-{each.component}", about, *CARD, partial(draw, colour=colour_of(each.component)))
        found.append((each.component, picture))
    return found


def _field(
    figure: Figure,
    grid: Grid,
    log_ratio_YX: NDArray[np.float32],
    owned: NDArray[np.generic],
    top: float,
    names: Mapping[str, str],
    colour: str,
) -> None:
    axes = figure.add_subplot()
    axes.grid(visible=False)
    shades = np.zeros((*log_ratio_YX.shape, 4))
    shades[..., :3] = to_rgb(colour)
    shades[..., 3] = 0.85 * (log_ratio_YX / top).clip(0, 1)
    extent = (grid.xs[0], grid.xs[-1], grid.ys[0], grid.ys[-1])
    axes.imshow(shades, extent=extent, origin="lower", interpolation="none", aspect="auto")
    for levels, alpha in ((BELOW, 0.4), ((0.0,), 1.0)):
        inside = [level for level in levels if log_ratio_YX.min() < level < log_ratio_YX.max()]
        if inside:
            lines = axes.contour(grid.xs, grid.ys, log_ratio_YX, levels=inside, colors=INK, linewidths=0.8, alpha=alpha)
            lines.set_linestyle("-")
            axes.clabel(lines, fontsize=9, fmt="%g", colors=INK)
    axes.scatter(owned[:, 0], owned[:, 1], s=3, color=GREY, alpha=0.9, linewidths=0, rasterized=True)
    axes.set(xlim=extent[:2], ylim=extent[2:], **names)
    axes.tick_params(length=0)


def full_colour(portrait: Portrait) -> float:
    """Size of the log ratios drawn in full colour, in nats: about the largest there are, 1 at least."""
    all_log_ratios = np.stack([each.log_ratio_YX for each in portrait.components if each.log_ratio_YX is not None])
    return max(1.0, float(np.quantile(all_log_ratios.clip(0), 0.99)))
