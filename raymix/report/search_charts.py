"""Pictures of a search: the measure against K, what it costs, and every field at once."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from raymix.report.drawing import INK, LINE, SHEET, drawn
from raymix.report.palette import colour_of, dash_of, marker_of
from raymix.report.trials import WIDTH, Trial, shown

MOST_LINES = 10  # curves of one picture that can be told apart
WIDE = 50  # times the smallest number: where the largest is more, an axis is logarithmic
SIDE, HEIGHT = 420, 300
COLOUR = colour_of(0)


def against_k(trials: Sequence[Trial], metric: str) -> Markup:
    """The measure over the number of components, a curve per width where it was varied (Table 4 of the paper).

    Another field takes their place where they were not varied. Trials that were stopped early are hollow.
    """
    across, curves = axes_of(trials)
    groups = values_of(trials, curves) if curves else [None]
    places = places_of(trials, across)
    ticks = sorted({places(trial): shown(trial.values[across]) for trial in trials}.items())
    few = len(ticks) <= MOST_LINES

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for i, group in enumerate(groups):
            own = [trial for trial in trials if curves is None or shown(trial.values[curves]) == group]
            colour = colour_of(i)
            done = [trial for trial in own if trial.ended]
            xs = sorted({places(trial) for trial in done}) if few else []
            ys = [mean(value(trial) for trial in done if places(trial) == x) for x in xs]
            label = f"{last(curves)} {group}" if curves else None
            axes.plot(xs, ys if few else [], dash_of(i), color=colour, linewidth=1.6, label=label)
            for trial in own:
                face = colour if trial.ended else SHEET
                marker = marker_of(i)
                axes.plot(places(trial), value(trial), marker, color=colour, markerfacecolor=face, markersize=6)
        if few:
            axes.set_xticks([x for x, _ in ticks], [text for _, text in ticks])
        elif min(ticks)[0] > 0 and max(ticks)[0] > WIDE * min(ticks)[0]:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0e}"))
        axes.set(xlabel="K" if across == "num_components" else across, ylabel=metric)
        axes.tick_params(length=0)
        if curves:
            axes.legend(loc="best")

    return drawn("against-k", f"{metric} against {across}", SIDE, HEIGHT, draw)


def pareto(trials: Sequence[Trial], metric: str, cost: str, higher: bool) -> Markup:
    """The measure against `parameters` or `seconds`; a line joins the finished trials that no other beats in
    both."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for trial in trials:
            face = COLOUR if trial.ended else SHEET
            axes.plot(getattr(trial, cost), value(trial), "o", color=COLOUR, markerfacecolor=face, markersize=6)
        done = [trial for trial in trials if trial.ended]
        costs, values = [float(getattr(trial, cost)) for trial in done], [value(trial) for trial in done]
        front = front_of(costs, values, higher)
        axes.plot([costs[i] for i in front], [values[i] for i in front], color=INK, linewidth=1.2)
        axes.set(xlabel=cost, ylabel=metric)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.tick_params(length=0)

    return drawn(f"pareto-{cost}", f"{metric} against {cost}", SIDE, HEIGHT, draw)


def front_of(costs: Sequence[float], values: Sequence[float], higher: bool) -> list[int]:
    """Positions of those that nobody beats in both, from the cheapest on."""
    sign = -1.0 if higher else 1.0
    front: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], sign * values[i])):
        if not front or sign * values[i] < sign * values[front[-1]]:
            front.append(i)
    return front


def parallel(trials: Sequence[Trial], metric: str, higher: bool) -> Markup:
    """A line per trial across all fields that were varied and the measure, coloured by it."""
    names = [name for name in trials[0].values if len(values_of(trials, name)) > 1]
    measured = [value(trial) for trial in trials]
    scale = Normalize(min(measured), max(measured))
    colours = matplotlib.colormaps["viridis" if higher else "viridis_r"]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        heights = [height_of(trials, name) for name in names]
        for trial, y in zip(trials, measured, strict=True):
            line = [*(at(trial) for at in heights), float(scale(y))]
            axes.plot(line, color=colours(scale(y)), linewidth=1.4 if trial.ended else 0.8, alpha=0.85)
        for i, (name, at) in enumerate(zip(names, heights, strict=True)):
            told = sorted({at(trial): shown(trial.values[name]) for trial in trials}.items())
            upright(axes, i, told if len(told) <= MOST_LINES else [told[0], told[-1]])
        upright(axes, len(names), [(0.0, f"{min(measured):.4g}"), (1.0, f"{max(measured):.4g}")])
        axes.set_xticks(
            range(len(names) + 1), [*("K" if name == "num_components" else last(name) for name in names), metric]
        )
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xlim(-0.15, len(names) + 0.35)
        figure.colorbar(ScalarMappable(scale, colours), ax=axes, label=metric, pad=0.02)

    return drawn("parallel", f"Fields that were varied, and {metric}", 2 * SIDE, 300, draw)


def upright(axes: Axes, x: float, told: Sequence[tuple[float, str]]) -> None:
    """One axis of parallel coordinates, with its values."""
    axes.add_line(Line2D([x, x], [0, 1], color=LINE, linewidth=1.2, zorder=0))
    for y, text in told:
        axes.annotate(text, (x, y), (4, 0), textcoords="offset points", va="center", fontsize=10)


# ---- what lies where


def axes_of(trials: Sequence[Trial]) -> tuple[str, str | None]:
    """The field from left to right, and the one that tells curves apart."""
    varied = [name for name in trials[0].values if len(values_of(trials, name)) > 1] or list(trials[0].values)
    across = "num_components" if "num_components" in varied else varied[0]
    others = [name for name in varied if name != across and len(values_of(trials, name)) <= MOST_LINES]
    return across, (WIDTH if WIDTH in others else others[0] if others else None)


def values_of(trials: Sequence[Trial], name: str) -> list[str]:
    """Different values of a field, in their order."""
    found = {shown(trial.values[name]): trial.values[name] for trial in trials}
    numbers = all(isinstance(each, int | float) for each in found.values())
    return sorted(found, key=lambda text: found[text]) if numbers else list(found)


def places_of(trials: Sequence[Trial], name: str) -> Any:
    """A function from a trial to where it lies on the axis of a field: numbers where they are, others side by side."""
    if all(isinstance(trial.values[name], int | float) for trial in trials):
        return lambda trial: float(trial.values[name])
    order = {text: float(i) for i, text in enumerate(values_of(trials, name))}
    return lambda trial: order[shown(trial.values[name])]


def height_of(trials: Sequence[Trial], name: str) -> Any:
    """A function from a trial to where it lies between 0 and 1 on an upright axis: few values side by side, many
    numbers where they are."""
    texts = values_of(trials, name)
    if len(texts) <= MOST_LINES or not all(isinstance(trial.values[name], int | float) for trial in trials):
        order = {text: i / max(1, len(texts) - 1) for i, text in enumerate(texts)}
        return lambda trial: order[shown(trial.values[name])]
    numbers: Mapping[str, float] = {trial.id: float(trial.values[name]) for trial in trials}
    scale = np.log if min(numbers.values()) > 0 and max(numbers.values()) > WIDE * min(numbers.values()) else np.asarray
    low, high = (float(scale(end)) for end in (min(numbers.values()), max(numbers.values())))
    return lambda trial: (float(scale(numbers[trial.id])) - low) / (high - low)


def value(trial: Trial) -> float:
    """The measure of a trial that has one."""
    assert trial.metric is not None
    return trial.metric


def last(name: str | None) -> str:
    """The last part of a dotted name."""
    return (name or "").rsplit(".", 1)[-1]
