"""`raymix data inspect`, and how a data set is named on the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from raymix.commands.parsing import parse
from raymix.config import DataConfig
from raymix.data.open import known_data_sets, open_source
from raymix.data.scan import describe_lines, scan


@dataclass(frozen=True)
class Inspect:
    """Read a whole data set, say what it holds and how it would be read; refuse what `raymix train` would refuse."""

    path: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PATH")]
    """A file or folder, or the name of a known data set."""
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the files of a known data set lie."""
    labels: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """A file with one label per row."""


def inspect(argv: list[str]) -> None:
    arguments = parse(Inspect, argv, "data inspect")
    config = named_data(arguments.path, arguments.data_dir, arguments.labels)
    source = open_source(config)
    for line in describe_lines(scan(source, config.block_bytes)):
        print(line)
    for note in source.notes:
        print(f"read: {note}")


def named_data(place: str, folder: str | None = None, labels: str | None = None) -> DataConfig:
    """A known data set by its name, anything else by its path; of both, what exists in the present folder."""
    if place in known_data_sets() and (folder is not None or not Path(place).exists()):
        return DataConfig(name=place, dir=folder, labels=labels)
    return DataConfig(name="file", path=place, labels=labels)
