"""How K changed in a run: each change in words, and the number of components over rounds."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from raymix.report.drawing import drawn
from raymix.report.history import COLOUR, HEIGHT, WIDTH, round_axes
from raymix.runs.rounds import RoundRecord
from raymix.state import Change


class Event(NamedTuple):
    """One change."""

    round: int
    what: str
    reason: str


def events(lines: Sequence[RoundRecord]) -> list[Event]:
    """Every change of a run, in order."""
    return [Event(line.round, told(change), change.reason) for line in lines for change in line.changes]


def told(change: Change) -> str:
    """A change in a few words."""
    old, new = change.components, change.into
    match change.kind:
        case "retire":
            return f"{old[0]} retired"
        case "merge":
            return f"{old[0]} and {old[1]} merged into {new[0]}"
        case "repartition":
            return f"{old[0]} and {old[1]} shared their rows anew"
        case _:
            return f"{old[0]} split into {', '.join(map(str, new))}"


def gone(lines: Sequence[RoundRecord]) -> set[int]:
    """Components that retired or merged into another."""
    changes = [change for line in lines for change in line.changes]
    return {k for change in changes for k in change.components if k not in change.into}


def number_chart(lines: Sequence[RoundRecord]) -> Markup:
    """The number of components after each round."""

    def draw(figure: Figure) -> None:
        axes = round_axes(figure, "components")
        numbers = [len(line.components) for line in lines]
        axes.step([line.round for line in lines], numbers, where="post", color=COLOUR, linewidth=1.8)
        axes.set_ylim(0, max(numbers) + 1)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))

    return drawn("number", "Number of components over rounds", WIDTH, HEIGHT, draw)
