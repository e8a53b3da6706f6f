"""Curves over rounds, from the lines of a record: terms of losses, rows moved, seconds, loads.

A component's values are None in rounds where it had none (it took no step, or competed no longer).
"""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from raymix.metrics.health import CHANCE
from raymix.report.drawing import INK, drawn
from raymix.report.palette import colour_of, dash_of
from raymix.runs.rounds import RoundRecord

Values = Callable[[RoundRecord], Sequence[float | None]]
"""What each component has of something in a round."""
COLOUR = "#3f90da"
WIDTH, HEIGHT = 380, 230
PHASE_COLOURS = ("#4f5d75", "#8d99ae", "#c2cad6", "#c9a66b", "#e6d3ad", "#7f9c8a", "#b7cbbd", "#9c7b70")


def ids_of(lines: Sequence[RoundRecord]) -> list[int]:
    """Every component that ever competed, ascending."""
    return sorted({k for line in lines for k in line.components})


def series(lines: Sequence[RoundRecord], values: Values, component: int) -> list[float | None]:
    """One component's values, round by round."""
    return [dict(zip(line.components, values(line), strict=True)).get(component) for line in lines]


def units(lines: Sequence[RoundRecord]) -> dict[str, str]:
    """The terms that any line knows, with their units."""
    return {name: term.unit for line in lines for name, term in line.terms.items()}


def term_chart(lines: Sequence[RoundRecord], name: str, unit: str) -> Markup:
    """One term of the generators' losses, a curve per component."""

    def draw(figure: Figure) -> None:
        _curves(round_axes(figure, unit), lines, lambda line: line.term_K(name))

    return drawn(f"term-{name}", f"{name} of the generators over rounds", WIDTH, HEIGHT, draw)


def discriminator_chart(lines: Sequence[RoundRecord]) -> Markup | None:
    """Losses of the discriminators, a curve per component; None where nobody judged."""
    if not any(loss is not None for line in lines for loss in line.discriminator_loss_K):
        return None

    def draw(figure: Figure) -> None:
        axes = round_axes(figure, "nats")
        _curves(axes, lines, lambda line: line.discriminator_loss_K)
        axes.axhline(CHANCE, color=INK, linewidth=1, linestyle=(0, (1, 2)))
        axes.set_ylim(0, max(0.75, axes.get_ylim()[1]))
        right = axes.get_xlim()[1]
        axes.text(right, CHANCE, f"chance {CHANCE}", ha="right", va="bottom", fontsize=11)

    return drawn("loss-discriminator", "Losses of the discriminators over rounds", WIDTH, HEIGHT, draw)


def _curves(axes: Axes, lines: Sequence[RoundRecord], values: Values) -> None:
    """A curve per component, with a gap where it has no value."""
    rounds = [line.round for line in lines]
    for k in ids_of(lines):
        known = [float("nan") if value is None else value for value in series(lines, values, k)]
        axes.plot(rounds, known, dash_of(k), color=colour_of(k), linewidth=1.5, **_marked(rounds))


def moved_chart(lines: Sequence[RoundRecord]) -> Markup:
    """Share of all rows that moved in each round after the first assignment."""

    def draw(figure: Figure) -> None:
        axes = round_axes(figure, "rows moved")
        rounds = [line.round for line in lines[1:]]
        shares = [line.moved_share for line in lines[1:]]
        axes.plot(rounds, shares, color=COLOUR, linewidth=1.8, **_marked(rounds))
        axes.fill_between(rounds, shares, color=COLOUR, alpha=0.15, linewidth=0)
        axes.set_ylim(0, max(0.02, 1.1 * max(shares)))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if max(shares) > 0.08 else 1))

    return drawn("moved", "Share of rows that moved, over rounds", WIDTH, HEIGHT, draw)


def seconds_chart(lines: Sequence[RoundRecord]) -> Markup:
    """Wall time of each phase, stacked, per round."""

    def draw(figure: Figure) -> None:
        axes = round_axes(figure, "seconds")
        rounds, base = [line.round for line in lines], [0.0] * len(lines)
        phases = list(dict.fromkeys(phase for line in lines for phase in line.seconds))
        for i, phase in enumerate(phases):
            spent = [line.seconds.get(phase, 0.0) for line in lines]
            axes.bar(rounds, spent, 0.75, base, color=PHASE_COLOURS[i % len(PHASE_COLOURS)], label=phase)
            base = [low + more for low, more in zip(base, spent, strict=True)]
        axes.set_ylim(0, 1.05 * max(base))
        axes.grid(axis="x", visible=False)
        figure.legend(loc="outside lower center", ncols=2, columnspacing=1.5, handlelength=1)

    return drawn("seconds", "Seconds of each phase, per round", WIDTH, HEIGHT + 70, draw)


def sparkline(lines: Sequence[RoundRecord], component: int) -> Markup:
    """Loads of one component over rounds, without axes; the height is that of the largest load of any."""
    rounds = [line.round for line in lines]
    loads = [0 if load is None else load for load in series(lines, lambda line: line.loads_K, component)]
    top = max(load for line in lines for load in line.loads_K)

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        axes.fill_between(rounds, loads, color=colour_of(component), alpha=0.25, linewidth=0)
        axes.plot(rounds, loads, color=colour_of(component), linewidth=1.6, **_marked(rounds))
        axes.set(ylim=(0, 1.1 * max(1, top)), xlim=(rounds[0] - 0.05, rounds[-1] + 0.05))

    return drawn(f"loads-{component}", f"Loads of component {component} over rounds", 150, 34, draw)


def round_axes(figure: Figure, quantity: str) -> Axes:
    """Axes with rounds from left to right."""
    axes = figure.add_subplot()
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.set(xlabel="round", ylabel=quantity)
    axes.tick_params(length=0)
    return axes


def _marked(rounds: Sequence[int]) -> dict[str, Any]:
    """Points, where they are few: a single round would leave no curve."""
    return {"marker": "o", "markersize": 3} if len(rounds) < 4 else {}
