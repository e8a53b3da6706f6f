"""The table of known classes against components.

Axes: K components, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raymix.runs.rounds import RoundRecord

MOST_COLUMNS = 20  # classes of a table; of more each component names its most frequent ones
MOST_FREQUENT = 5


@dataclass(frozen=True)
class Cell:
    text: str
    share: float
    """The share of the component's rows."""


@dataclass(frozen=True)
class ClassTable:
    """Rows won by component and class."""

    classes: tuple[str, ...]
    """Column headings; empty where there are too many classes for a table."""
    lines: tuple[tuple[int, tuple[Cell, ...]], ...]
    """(Component, its cells), or (component, its most frequent classes)."""


def class_table(line: RoundRecord, classes: Sequence[str]) -> ClassTable | None:
    """None where no label is known."""
    if line.contingency_KC is None:
        return None
    counts_KC = np.array(line.contingency_KC)
    shares_KC = counts_KC / np.maximum(1, counts_KC.sum(1, keepdims=True))
    wide = len(classes) > MOST_COLUMNS
    lines = []
    for k, counts_C, shares_C in zip(line.components, counts_KC, shares_KC, strict=True):
        if wide:
            order = [c for c in np.argsort(-counts_C, kind="stable")[:MOST_FREQUENT] if counts_C[c]]
            cells = [Cell(f"{classes[c]}: {counts_C[c]:,}", float(shares_C[c])) for c in order]
        else:
            cells = [Cell(f"{n:,}" if n else "", float(share)) for n, share in zip(counts_C, shares_C, strict=True)]
        lines.append((k, tuple(cells)))
    return ClassTable(() if wide else tuple(classes), tuple(lines))
