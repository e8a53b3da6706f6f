"""`raymix assign`."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from numpy.typing import NDArray

from raymix.commands.data import named_data
from raymix.commands.directory import check_new_file, run_directory, write_file
from raymix.commands.parsing import parse
from raymix.config import DataConfig
from raymix.data.blocks import open_features
from raymix.data.open import open_source
from raymix.data.scan import scan
from raymix.data.source import block_bounds
from raymix.mixture import Mixture

ASSIGNED = np.dtype([("component", "<i8"), ("log_ratio", "<f8")])


@dataclass(frozen=True)
class Assign:
    """Give each row of a data set to the component that explains it best.

    `log_ratio` is log p_k(x) - log p_data(x) of that component in nats, normalised over the training set. Transparent
    images are shown on the run's own ground.
    """

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """Run directory."""
    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")]
    """A file or folder of rows, or the name of a known data set."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """.parquet with the columns component and log_ratio, or .npy with fields of these names."""
    data_dir: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """Where the files of a known data set lie."""
    features: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """The features of each row, for the control `centroids` whose cells are those of features."""
    links_within: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """Follow links that end in this folder, such as a hub's cache."""
    force: bool = False
    """Write over a file that exists."""


def assign(argv: list[str]) -> None:
    arguments = parse(Assign, argv, "assign")
    check_new_file(arguments.out, (".parquet", ".npy"), arguments.force)
    mixture = Mixture.load(run_directory(arguments.directory).storage.uri)
    ground = mixture.config_.data.ground
    config = named_data(arguments.data, arguments.data_dir, ground=ground, links_within=arguments.links_within)
    if config.name == mixture.config_.data.name != "file" and config.dir is None:
        config = config.model_copy(update={"dir": mixture.config_.data.dir})
    source = open_source(config.model_copy(update={"columns": mixture.config_.data.columns}))
    scan(source, config.block_bytes)  # refuses unfit rows by file and number before any work is done
    assigned = np.empty(source.spec.num_rows, ASSIGNED)
    by_features = open_features(DataConfig(features=arguments.features), source.spec) if arguments.features else None
    if by_features:
        scan(by_features, config.block_bytes)
    for start, stop in block_bounds(source.spec, config.block_bytes):
        features = by_features.read(start, stop).rows if by_features else None
        winners, log_ratios = mixture.assign(source.read(start, stop).rows, features)
        assigned["component"][start:stop], assigned["log_ratio"][start:stop] = winners, log_ratios
    write_file(arguments.out, encoded(assigned, arguments.out.suffix.lower()), arguments.force)


def encoded(assigned: NDArray[np.void], ending: str) -> bytes:
    buffer = io.BytesIO()
    if ending == ".npy":
        np.save(buffer, assigned, allow_pickle=False)
    else:
        pq.write_table(pa.table({name: assigned[name].copy() for name in ASSIGNED.names or ()}), buffer)
    return buffer.getvalue()
