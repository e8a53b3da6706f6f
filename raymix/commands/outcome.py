"""How a run ended, component by component."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from raymix.record import read_record
from raymix.storage import Storage

HEADINGS = ("component", "weight", "load", "generator loss", "discriminator loss")


def print_outcome(out: str, seconds: float) -> None:
    """The last round of a run as a table on stdout, plain where that is no terminal, and where its files are."""
    line = read_record(Storage.at(out))[-1]
    console = Console(file=sys.stdout)
    rows = component_rows(line)
    if console.is_terminal:
        table = Table(*HEADINGS)
        for column in table.columns:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        for row in (HEADINGS, *rows):
            print("  ".join(f"{cell:>{len(heading)}}" for cell, heading in zip(row, HEADINGS, strict=True)))
    for text in (*measure_lines(line), f"run: {out}", f"picture: {out}/samples.png", f"seconds: {seconds:.1f}"):
        print(text)


def component_rows(line: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Number, weight, load and losses of each component; `-` where there is no such network or number."""
    K = len(line["components"])
    losses = [line[name] or [None] * K for name in ("generator_loss", "discriminator_loss")]
    return [
        (str(k), f"{weight:.1%}", f"{load:,}", *("-" if loss is None else f"{loss:.3f}" for loss in pair))
        for k, weight, load, *pair in zip(line["components"], line["weights"], line["loads"], *losses, strict=True)
    ]


def measure_lines(line: Mapping[str, Any]) -> list[str]:
    """Agreement with known classes and what was evaluated, where there is any."""
    lines = []
    if "clustering" in line:
        lines.append(", ".join(f"{name} {value:.3f}" for name, value in line["clustering"].items()))
    for name, value in (line.get("measures") or {}).items():
        if isinstance(value, int | float) and name not in ("num_samples", "seed"):
            lines.append(f"{name} {value:.4g}")
    return lines
