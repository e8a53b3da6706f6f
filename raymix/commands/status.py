"""`raymix status` and `raymix digest`: what a run directory holds, read without torch."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from raymix.commands.directory import run_directory
from raymix.commands.lines import component_table, measure_lines, round_line
from raymix.commands.live import told_by
from raymix.commands.parsing import parse
from raymix.runs import checkpoint


@dataclass(frozen=True)
class Status:
    """Where a run stands: its last complete round, and whether it is finished."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """Run directory."""
    address: Annotated[str | None, tyro.conf.arg(metavar="A")] = None
    """Ask the run itself, if it lives on this Ray cluster (auto, host:port or ray://...)."""


@dataclass(frozen=True)
class Digest:
    """SHA-256 over every tensor of every component, optimiser state, assignment and round; no clock times enter."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """Run directory."""


def status(argv: list[str]) -> None:
    arguments = parse(Status, argv, "status")
    location = arguments.directory
    directory = run_directory(location)
    config, spec = directory.load()
    live = told_by(location, arguments.address) if arguments.address else []
    print(f"run: {location}")
    num = f"K = {config.num_components}{' at first' if config.schedule.adapt else ''}"
    print(f"config: mode {config.mode}, {num}, family {config.model.family}, seed {config.seed}")
    print(f"data: {spec.name}, {spec.num_rows:,} rows of {spec.row_shape} {spec.dtype}")
    for text in live:
        print(text)
    last = directory.last()
    if last is None:
        if not live:
            print(f"state: no complete round yet; go on with `raymix resume {location}`")
        return
    if not live:
        finished = directory.finished(config, last)
        print(f"state: {'finished' if finished else f'unfinished; go on with `raymix resume {location}`'}")
    print(round_line(last.record, config.schedule.rounds))
    for text in (*measure_lines(last.record), *(f"warning: {text}" for text in last.record.warnings)):
        print(text)
    (_, *headings), *rows = component_table(last.record)
    for column, heading in enumerate(headings, 1):
        print(f"{heading}: {', '.join(f'{row[0]}: {row[column]}' for row in rows)}")


def digest(argv: list[str]) -> None:
    directory = run_directory(parse(Digest, argv, "digest").directory)
    directory.load()  # says so where there is no run at all
    print(checkpoint.digest(directory))
