"""`raymix report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from raymix.commands.directory import check_new_file, run_directory
from raymix.commands.parsing import parse
from raymix.evaluation.report_files import report_files
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.record import SEARCH
from raymix.storage import Storage


@dataclass(frozen=True)
class Report:
    """Write one HTML page about a run, from its last complete round: what each component learned, how rows moved, what
    went wrong. The run may be finished, stopped or going on; so may a search of `raymix tune`."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """Run directory."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write it; unset: report.html in the run directory (search.html in that of a search), in place of an
    earlier one."""


def report(argv: list[str]) -> None:
    arguments = parse(Report, argv, "report")
    directory = run_directory(arguments.directory)
    out = arguments.out
    if out is not None:
        check_new_file(out, (".html",), force=True)
    usual, page = page_of(directory)
    storage, name = (directory.storage, usual) if out is None else (Storage.at(out.parent), out.name)
    storage.write(name, page)
    print(storage.where(name))


def page_of(directory: RunDirectory) -> tuple[str, bytes]:
    """The usual name of the page about a run or a search, and its text."""
    if not directory.holds_run and directory.storage.exists(SEARCH):
        from raymix.search.outcome import PAGE, outcome_files  # Ray takes seconds to import

        return PAGE, outcome_files(directory.storage.uri)[1][PAGE]
    return "report.html", report_files(directory)["report.html"]
