"""From words on the command line to the arguments of a command, and from tyro's boxes to one line."""

import io
import itertools
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import fields
from typing import TypeVar

import tyro

from raymix.config_values import unknown_field
from raymix.errors import ConfigError

T = TypeVar("T")
WHERE = "command line"
BORDERS = "│╭╮╰╯─ "


def parse(kind: type[T], argv: Sequence[str], command: str, options: Sequence[str] = ()) -> T:
    """The dataclass `kind` from `argv`; help and defaults come from it.

    `options` names what can be set beside its own fields. Raises `ConfigError` in one line, and `SystemExit` after
    printing help.
    """
    own = [field.name.replace("_", "-") for field in fields(kind)]  # type: ignore[arg-type]
    refuse_unknown(argv, [*own, *options])
    boxes = io.StringIO()
    try:
        with redirect_stderr(boxes):
            return tyro.cli(kind, prog=f"raymix {command}", args=argv, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as stopped:
        if not stopped.code:
            raise
        raise ConfigError(condensed(boxes.getvalue()), WHERE, f"see `raymix {command} --help`") from None


def refuse_unknown(argv: Sequence[str], known: Sequence[str]) -> None:
    """Raises `ConfigError` with the nearest known name for the first option that does not exist."""
    for word in argv:
        name = word.removeprefix("--").split("=")[0].replace("_", "-")
        if word.startswith("--") and name not in ("help", *known):
            raise unknown_field(name, list(known), WHERE)


def condensed(boxes: str) -> str:
    """What is wrong, out of a framed message: the lines up to the first rule."""
    said: list[str] = []
    for line in re.sub(r"\x1b\[[0-9;]*m", "", boxes).splitlines():
        if line.startswith(("╭", "╰")):
            continue
        text = line.strip(BORDERS)
        if not text and said:
            break
        said.append(text)
    return " ".join(" ".join(said).split()).removeprefix("Error parsing ").rstrip(".")


def option(argv: Sequence[str], name: str) -> str | None:
    """The value of `--name VALUE` or `--name=VALUE`, the last one given."""
    value = None
    for word, following in zip(argv, [*argv[1:], None], strict=True):
        if is_option(word, name):
            _, given, rest = word.partition("=")
            value = rest if given else following
    return value


def options(argv: Sequence[str], name: str) -> list[str] | None:
    """The values of `--name VALUE VALUE ...`; None where it is not given."""
    for place, word in enumerate(argv):
        if is_option(word, name):
            return list(itertools.takewhile(lambda value: not value.startswith("--"), argv[place + 1 :]))
    return None


def is_option(word: str, name: str) -> bool:
    """Whether a word begins the option of this name."""
    return word.partition("=")[0].replace("_", "-") == f"--{name}"
