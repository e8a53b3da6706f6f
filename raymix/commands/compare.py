"""`raymix compare`."""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raymix.commands.directory import run_directory
from raymix.commands.parsing import parse
from raymix.errors import CheckpointError, ConfigError
from raymix.metrics.catalogue import MEASURES
from raymix.report import comparison
from raymix.runs.record import read_record

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compare:
    """One table of runs: mode, K, parameters, budget, measures and minutes; mean and spread over seeds, best in bold.

    Runs that `raymix evaluate` has not measured at their last round yet are measured first.
    """

    directories: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="DIR")]
    """Run directories, or folders of them."""
    measures: tuple[str, ...] = ()
    """Measures to show; all that were taken when unset."""
    evaluate: bool = True
    """Measure runs that were not measured yet."""
    markdown: bool = False
    """Print a Markdown table."""
    latex: bool = False
    """Print a LaTeX table."""
    json: bool = False
    """Print one JSON list with every run."""


def compare(argv: list[str]) -> None:
    arguments = parse(Compare, argv, "compare", options=["no-evaluate"])
    if arguments.markdown + arguments.latex + arguments.json > 1:
        raise ConfigError("exclude each other", "--markdown, --latex, --json", "give one of them")
    for name in arguments.measures:
        if name not in MEASURES:
            raise ConfigError(f"is unknown: {name}", "--measures", f"choose from {', '.join(MEASURES)}")
    all_repeats = comparison.grouped(entries(arguments))
    if arguments.json:
        print(comparison.as_json(all_repeats))
        return
    table = comparison.compare(all_repeats, arguments.measures)
    if arguments.markdown or arguments.latex:
        print(comparison.markdown(table) if arguments.markdown else comparison.latex(table))
    else:
        print_table(table)


def entries(arguments: Compare) -> list[comparison.Entry]:
    """Every run that is named. Raises `CheckpointError`, `ConfigError`."""
    found = []
    for location in locations(arguments.directories):
        try:
            found.append(entry(location, arguments.evaluate))
        except CheckpointError as error:
            if location in arguments.directories:
                raise
            log.warning("left out: %s", error)  # one of many in a folder
    if not found:
        raise ConfigError("no run can be read", ", ".join(arguments.directories), "name another")
    return found


def entry(location: str, evaluate: bool) -> comparison.Entry:
    """A run, measured first where that is asked. Raises `CheckpointError`."""
    each = comparison.entry(location)
    if each.measures is not None or not evaluate:
        return each
    from raymix.commands.evaluate import measured  # torch takes seconds to import, and is not always needed

    print(f"raymix: measuring {location}", file=sys.stderr)
    measured(location)
    return comparison.entry(location)


def locations(directories: tuple[str, ...]) -> list[str]:
    """Run directories as they are, and in place of a folder the run directories inside, by name; each once."""
    found: list[str] = []
    for directory in directories:
        if run_directory(directory).holds_run or "://" in directory or not Path(directory).is_dir():
            found.append(directory)
            continue
        inside = sorted(str(path.parent) for path in Path(directory).rglob("run.json") if read_record_of(path.parent))
        if not inside:
            raise ConfigError("holds no run with a complete round", directory, "name the --out of a `raymix train`")
        found += inside
    return list({run_directory(location).storage.uri: location for location in reversed(found)}.values())[::-1]


def read_record_of(folder: Path) -> bool:
    """Whether a run has got as far as a record."""
    return bool(read_record(run_directory(str(folder)).storage))


def print_table(table: comparison.Comparison) -> None:
    """For a terminal, or in plain columns."""
    console = Console(file=sys.stdout)
    if console.is_terminal:
        shown = Table(*table.headings)
        for row in table.rows:
            shown.add_row(*(Text(cell.text, style="bold" if cell.best else "") for cell in row))
        console.print(shown)
    else:
        lines = [table.headings, *([f"{cell.text}{'*' if cell.best else ''}" for cell in row] for row in table.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            print("  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)))
    for note in table.notes:
        print(f"  {note}")
