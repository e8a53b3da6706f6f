"""What the page says of each component.

Shapes: (C, H, W) or (D,) of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from raymix.report.contents import ComponentPortrait, Neighbours, Portrait
from raymix.report.history import sparkline
from raymix.report.palette import colour_of
from raymix.report.plane import Plane, card_picture
from raymix.report.thumbnails import Shades, strip
from raymix.report.words import percent, quantity
from raymix.runs.rounds import RoundRecord

Row = NDArray[np.generic]
COLUMNS = 8  # images to a line
SHORT_ROW = 6  # columns of a vector that are still written out


@dataclass(frozen=True)
class Pair:
    """A sample beside its nearest training row."""

    picture: Markup
    number: str
    owner: int
    distance: str


@dataclass(frozen=True)
class Card:
    """One component."""

    component: int
    colour: str
    weight: str
    load: str
    loads: Markup
    pictures: tuple[tuple[str, Markup], ...]
    """(Caption, picture)."""
    pairs: tuple[Pair, ...]
    nearness: str


class Images:
    """Shows rows that are images."""

    def __init__(self, portrait: Portrait) -> None:
        parts = portrait.components
        self.shades = Shades([each.owned for each in parts], [each.samples for each in parts])

    def pictures(self, each: ComponentPortrait) -> tuple[tuple[str, Markup], ...]:
        """Samples, real rows, latent walks."""
        k = each.component
        found = [("samples", self._strip(each.samples, COLUMNS, f"samples of component {k}"))]
        if len(each.owned):
            found.append(("real rows it owns", self._strip(each.owned, COLUMNS, f"rows that component {k} owns")))
        if each.walks is not None:
            steps = each.walks.shape[1]
            walks = each.walks.reshape(-1, *each.walks.shape[2:])
            caption = "latent walks: coordinates that change the picture most, 2nd to 98th percentile of the prior"
            found.append((caption, self._strip(walks, steps, f"latent walks of component {k}")))
        return tuple(found)

    def pair(self, sample: Row, row: Row) -> Markup:
        return self._strip(np.stack([sample, row]).astype(np.float64), 1, "a sample above its nearest training row")

    def _strip(self, images: Row, columns: int, about: str) -> Markup:
        return strip(self.shades.pixels(images), columns, about)


class Vectors:
    """Shows rows that are vectors."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

    def pictures(self, each: ComponentPortrait) -> tuple[tuple[str, Markup], ...]:
        """Samples over real rows."""
        real = "real rows it owns in grey" if self.plane.one_column else "real rows it owns as crosses"
        note = f"; {self.plane.note}" if self.plane.projected else ""
        return ((f"samples in its colour, {real}{note}", card_picture(self.plane, each)),)

    def pair(self, sample: Row, row: Row) -> Markup:
        """Both written out, where they are short."""
        if len(sample) > SHORT_ROW:
            return Markup("")
        left, right = (", ".join(f"{value:.3g}" for value in values) for values in (sample, row))
        return Markup(f"<span>{escape(left)}</span><span>{escape(right)}</span>")


def cards(lines: Sequence[RoundRecord], portrait: Portrait, look: Images | Vectors) -> list[Card]:
    """A card for each component of the portrait, which is of the last line."""
    last = lines[-1]
    at = {k: i for i, k in enumerate(last.components)}
    return [
        Card(
            component=each.component,
            colour=colour_of(each.component),
            weight=percent(last.weights_K[at[each.component]]),
            load=load_of(last, at[each.component]),
            loads=sparkline(lines, each.component),
            pictures=look.pictures(each),
            pairs=pairs_of(each, look),
            nearness=nearness(each.neighbours),
        )
        for each in portrait.components
    ]


def load_of(line: RoundRecord, place: int) -> str:
    """Rows won, and those it was lent."""
    won, load = line.won_K[place], line.loads_K[place]
    return f"{won:,} rows won" + (f", {load - won:,} lent" if load > won else "")


def pairs_of(each: ComponentPortrait, look: Images | Vectors) -> tuple[Pair, ...]:
    near = each.neighbours
    rows = zip(each.samples, near.rows, near.numbers, near.owners, near.distances, strict=False)
    return tuple(
        Pair(look.pair(sample, row), str(number), int(owner), quantity(distance))
        for sample, row, number, owner, distance in rows
    )


def nearness(near: Neighbours) -> str:
    """How far samples lie from training rows, and real rows from each other."""
    sampled = float(np.median(near.distances))
    text = f"Median distance of {len(near.distances)} samples to the nearest training row: {quantity(sampled)}"
    if len(near.real_distances):
        real = float(np.median(near.real_distances))
        text += f"; of {len(near.real_distances)} rows it owns to the nearest other row: {quantity(real)}"
    return f"{text}."
