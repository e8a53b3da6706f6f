"""The command line: find the command, run it, turn what went wrong into one line.

stdout carries the answer alone; progress, warnings and errors go to stderr. A command is imported when it is called, so
that those that need no torch start quickly.
"""

import difflib
import importlib
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from raymix import __version__
from raymix.commands.streams import writable
from raymix.errors import CheckpointError, ConfigError, DataError, RaymixError, ResourceError

MISUSE = (ConfigError, DataError, CheckpointError, ResourceError)
"""Errors that the user mends before trying again: exit code 2, others 1."""


class Command(NamedTuple):
    """What a command does, and the function of `raymix.commands` that does it."""

    about: str
    module: str
    function: str


COMMANDS = {
    "train": Command("train a mixture on a recipe's data or on a file", "train", "train"),
    "plan": Command("say who would run where, what that takes and what limits it", "plan", "plan"),
    "resume": Command("go on with a run that was interrupted", "train", "resume"),
    "tune": Command("search over the config with Ray Tune", "tune", "tune"),
    "status": Command("where a run stands", "status", "status"),
    "logs": Command("what a run has to say, round by round", "live", "logs"),
    "stop": Command("end a run on a cluster; it can be resumed", "live", "stop"),
    "report": Command("write one HTML page about a run", "report", "report"),
    "evaluate": Command("measure a trained mixture", "evaluate", "evaluate"),
    "compare": Command("one table of several runs", "compare", "compare"),
    "sample": Command("draw rows from a trained mixture", "sample", "sample"),
    "assign": Command("give each row of a data set to its component", "assign", "assign"),
    "digest": Command("one hash over everything a run has learned", "status", "digest"),
    "bench": Command("compare with a plain PyTorch loop on this machine", "bench", "bench"),
    "recipes": Command("list the recipes and the known data sets", "recipes", "recipes"),
    "data inspect": Command("say what a file holds and how it would be read", "data", "inspect"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    with logging_to_stderr():
        try:
            with writable():
                return dispatch(argv)
        except RaymixError as error:
            print(f"raymix: error: {one_line(error)}", file=sys.stderr)
            return 2 if isinstance(error, MISUSE) else 1
        except KeyboardInterrupt as interrupt:
            print("\nraymix: interrupted", file=sys.stderr)
            return getattr(interrupt, "exit_code", 130)
        except BrokenPipeError:  # whoever reads has seen enough, such as `head`
            return 141


def dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview(), file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    if argv[0] == "--version":
        print(__version__)
        return 0
    words = 2 if any(name.startswith(f"{argv[0]} ") for name in COMMANDS) else 1
    name, arguments = " ".join(argv[:words]), argv[words:]
    if words == 2 and argv[1:2] in ([], ["-h"], ["--help"]):
        print(overview(argv[0]), file=sys.stdout if argv[1:] else sys.stderr)
        return 0 if argv[1:] else 2
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1)
        advice = f"did you mean {nearest[0]}?" if nearest else f"one of {', '.join(COMMANDS)}"
        raise ConfigError(f"unknown command {name!r}", todo=advice)
    command = COMMANDS[name]
    function = getattr(importlib.import_module(f"raymix.commands.{command.module}"), command.function)
    try:
        function(arguments)
    except SystemExit as done:  # `--help` was answered
        return int(done.code or 0)
    return 0


def overview(group: str = "") -> str:
    """The commands with a line about each; of one group, if named."""
    names = [name for name in COMMANDS if name.startswith(group)]
    width = max(map(len, names))
    return "\n".join(
        [
            "raymix: mixtures of independent deep generative models, trained by competition, in parallel, on Ray",
            "",
            f"usage: raymix {group or 'COMMAND'} ...",
            "",
            *(f"  {name:{width}}  {COMMANDS[name].about}" for name in names),
            "",
            "`raymix COMMAND --help` explains a command; `raymix --version` prints the version.",
        ]
    )


def one_line(error: RaymixError) -> str:
    return " ".join(str(error).split())


class _StderrHandler(logging.Handler):
    """Writes to whatever stderr is at the time, so that a live progress bar is not torn."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"raymix: {record.levelname.lower()}: {record.getMessage()}", file=sys.stderr)


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    log, handler = logging.getLogger("raymix"), _StderrHandler(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


if __name__ == "__main__":
    sys.exit(main())
