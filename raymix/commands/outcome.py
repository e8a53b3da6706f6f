"""How a run ended, component by component."""

import sys

from rich.console import Console
from rich.table import Table

from raymix.commands.lines import component_table, measure_lines
from raymix.runs.record import read_record
from raymix.storage import Storage


def print_outcome(out: str, seconds: float) -> int:
    """The last round of a run as a table on stdout, plain where that is no terminal, and where its files are. Returns
    its number."""
    line = read_record(Storage.at(out))[-1]
    console = Console(file=sys.stdout)
    headings, *rows = component_table(line)
    if console.is_terminal:
        table = Table(*headings)
        for column in table.columns:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        for row in (headings, *rows):
            print("  ".join(f"{cell:>{len(heading)}}" for cell, heading in zip(row, headings, strict=True)))
    drawn = Storage.at(out).exists("samples.png")
    places = [f"run: {out}", *([f"report: {out}/report.html", f"picture: {out}/samples.png"] if drawn else [])]
    for text in (*measure_lines(line), *places, f"seconds: {seconds:.1f}"):
        print(text)
    return line.round
