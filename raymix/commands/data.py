"""`raymix data inspect`, and how a data set is named on the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import ValidationError

from raymix.commands.parsing import WHERE, parse
from raymix.config import DataConfig
from raymix.config_values import config_error
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
    columns: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="NAME")] = None
    """Names of the columns to read of a Parquet file, in order; unset: all that are data."""
    ground: Annotated[str | None, tyro.conf.arg(metavar="COLOUR")] = None
    """What transparent images are shown on: white, black or #rrggbb; unset: as the first of them asks for."""
    links_within: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """Follow links that end in this folder, such as a hub's cache."""


def inspect(argv: list[str]) -> None:
    arguments = parse(Inspect, argv, "data inspect")
    config = named_data(
        arguments.path,
        arguments.data_dir,
        labels=arguments.labels,
        columns=arguments.columns,
        ground=arguments.ground,
        links_within=arguments.links_within,
    )
    source = open_source(config)
    for line in describe_lines(scan(source, config.block_bytes)):
        print(line)
    for note in source.notes:
        print(f"read: {note}")


def named_data(place: str, folder: str | None = None, **settings: Any) -> DataConfig:
    """A known data set by its name, anything else by its path; of both, what exists in the present folder. Raises
    `ConfigError` for settings that are unfit."""
    known = place in known_data_sets() and (folder is not None or not Path(place).exists())
    named = {"name": place, "dir": folder} if known else {"name": "file", "path": place}
    try:
        return DataConfig.model_validate(named | settings)
    except ValidationError as error:
        raise config_error(error, WHERE, DataConfig, "data.") from None
