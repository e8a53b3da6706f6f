"""How rows went from component to component: bands over rounds, and a table of who gave to whom.

Axes: K components that ever competed, T rounds.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from raymix.report.drawing import INK, drawn
from raymix.report.history import ids_of, series
from raymix.report.palette import colour_of
from raymix.runs.rounds import RoundRecord

Counts = NDArray[np.float64]

MOST_BANDS = 20  # components beyond which bands are too thin to read
STEPS = 3  # from round to round in one picture
SMALLEST = 0.002  # of all rows: thinner bands are not drawn
LETTER = 0.042  # height of a number, of all rows
BAR, GAP = 0.07, 0.16  # width of a bar in steps; all gaps between bars, of the height
WIDTH, HEIGHT = 380, 360


def moves(line: RoundRecord, ids: Sequence[int]) -> Counts:
    """(K, K) rows that went from (line) to (column) in a round."""
    counts_KK = np.zeros((len(ids), len(ids)))
    for source, target, rows in line.flow_F3:
        counts_KK[ids.index(source), ids.index(target)] += rows
    return counts_KK


def ids_in(lines: Sequence[RoundRecord]) -> list[int]:
    """Every component that competed in these rounds, or gave rows to those who did, ascending."""
    moving = {k for line in lines for cell in line.flow_F3 for k in cell[:2]}
    return sorted({*ids_of(lines), *moving})


def spans(num_lines: int) -> list[tuple[int, int]]:
    """First and last line of each picture of bands: all of a short run, the beginning and the end of a long one."""
    last = num_lines - 1
    if last <= STEPS + 1:
        return [(0, last)] if last > 0 else []
    middle = max(STEPS, last - STEPS)
    return [(0, STEPS), (middle, last)]


def bands(lines: Sequence[RoundRecord]) -> list[tuple[str, Markup]]:
    """(Rounds, picture) of bands; none for many components or a single round."""
    ids, found = ids_in(lines), []
    if len(ids) > MOST_BANDS:
        return []
    for first, last in spans(len(lines)):
        part = lines[first : last + 1]
        name = f"rounds {part[0].round} to {part[-1].round}"
        draw = partial(_draw_bands, part=part, ids=ids)
        found.append((name, drawn(f"bands-{first}", f"Rows between components, {name}", WIDTH, HEIGHT, draw)))
    return found


def _draw_bands(figure: Figure, part: Sequence[RoundRecord], ids: Sequence[int]) -> None:
    """A column of bars per round and bands between them, component 0 on top."""
    axes = figure.add_subplot()
    won_TK = np.array([[won or 0 for won in series(part, lambda line: line.won_K, k)] for k in ids], np.float64).T
    total = won_TK.sum(1).max()
    heights_TK = won_TK + GAP * total / len(ids)
    bottoms_TK = heights_TK.sum(1, keepdims=True) - heights_TK.cumsum(1)
    colours = [colour_of(k) for k in ids]
    for t, line in enumerate(part[1:]):
        moves_KK = moves(line, ids)
        flow_KK = moves_KK + np.diag((won_TK[t] - moves_KK.sum(1)).clip(0))  # rows may change hands twice in a round
        for band in ribbons(flow_KK, bottoms_TK[t], bottoms_TK[t + 1], SMALLEST * total):
            path = _curve(t + BAR / 2, t + 1 - BAR / 2, band)
            alpha = 0.18 if band.source == band.target else 0.62
            axes.add_patch(PathPatch(path, facecolor=colours[band.source], alpha=alpha, linewidth=0))
    for t, (won_K, bottoms_K) in enumerate(zip(won_TK, bottoms_TK, strict=True)):
        least = total / 500  # to be seen
        axes.bar([t] * len(ids), won_K.clip(least), BAR, bottoms_K, color=colours)
        if t in (0, len(part) - 1):
            middles_K = bottoms_K + won_K / 2
            for i in labelled(middles_K, won_K, LETTER * total):
                x, side = (t + BAR, "left") if t else (t - BAR, "right")
                axes.text(x, middles_K[i], str(ids[i]), ha=side, va="center", fontsize=10)
    axes.set(xlim=(-0.2, len(part) - 0.8), ylim=(0, (1 + GAP) * total), xlabel="after round")
    axes.set_xticks(range(len(part)), [str(line.round) for line in part])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    axes.tick_params(length=0)


class Ribbon(NamedTuple):
    """Rows that go from a place on one bar to a place on another; source and target are positions, not numbers."""

    source: int
    target: int
    low: float
    high: float
    rows: float


def ribbons(flow_KK: Counts, before_K: Counts, after_K: Counts, smallest: float) -> list[Ribbon]:
    """The bands of more than `smallest` rows between two columns of bars, whose bottoms are given. Within a bar bands
    lie in the order of the bars they lead to, so that as few as can be cross."""
    starts_KK = before_K[:, None] + _from_below(flow_KK)
    ends_KK = (after_K[:, None] + _from_below(flow_KK.T)).T
    cells = np.argwhere(flow_KK > smallest)
    return [Ribbon(int(j), int(k), starts_KK[j, k], ends_KK[j, k], flow_KK[j, k]) for j, k in cells]


def _from_below(flow_KK: Counts) -> Counts:
    """What lies below each band of a bar: the bands that lead to bars further down."""
    below: Counts = flow_KK[:, ::-1].cumsum(1)[:, ::-1] - flow_KK
    return below


def _curve(left: float, right: float, band: Ribbon) -> Path:
    """The outline of a band."""
    middle, low, high, rows = (left + right) / 2, band.low, band.high, band.rows
    there = [(left, low), (middle, low), (middle, high), (right, high)]
    back = [(right, high + rows), (middle, high + rows), (middle, low + rows), (left, low + rows)]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    return Path([*there, *back, there[0]], codes)


def labelled(middles_K: Counts, sizes_K: Counts, height: float) -> list[int]:
    """The bars whose numbers can be written `height` apart, the larger ones first; their colours tell the others."""
    chosen: list[int] = []
    for i in np.argsort(-sizes_K, kind="stable"):
        if all(abs(middles_K[i] - middles_K[j]) >= height for j in chosen):
            chosen.append(int(i))
    return chosen


def exchange_map(lines: Sequence[RoundRecord]) -> Markup:
    """Rows that changed hands in these rounds, from component (line) to component (column)."""
    ids = ids_in(lines)
    counts_KK = np.sum([moves(line, ids) for line in lines], axis=0)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        top = max(1.0, counts_KK.max())
        shades = np.zeros((*counts_KK.shape, 4))
        shades[...] = (0.25, 0.56, 0.85, 0)
        shades[..., 3] = (counts_KK / top) ** 0.5
        axes.imshow(shades, interpolation="nearest")
        places = range(0, len(ids), 1 if len(ids) <= 20 else 5)
        axes.set_xticks(places, [str(ids[i]) for i in places], fontsize=10)
        axes.set_yticks(places, [str(ids[i]) for i in places], fontsize=10)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(True)
        axes.set(xlabel="to component", ylabel="from component")
        if len(ids) <= 10:
            for j, k in np.argwhere(counts_KK > 0):
                axes.text(k, j, short(counts_KK[j, k]), ha="center", va="center", fontsize=9, color=INK)

    return drawn("exchange", "Rows from each component to each other one", WIDTH, WIDTH - 20, draw)


def short(count: float) -> str:
    """A count in at most four characters, up to a billion."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 9.95 * size else f"{count / size:.0f}{unit}"
    return f"{count:.0f}"


def largest_moves(line: RoundRecord, most: int = 5) -> str:
    """The largest exchanges of a round in words."""
    return ", ".join(f"{source} → {target}: {rows:,}" for source, target, rows in line.flow_F3[:most])
