"""`raymix sample`."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from numpy.typing import NDArray

from raymix.commands.directory import check_new_file, run_directory, write_file
from raymix.commands.parsing import parse
from raymix.data.source import DataSpec
from raymix.errors import ConfigError
from raymix.mixture import Mixture
from raymix.report.image_grid import draw_grid
from raymix.report.scatter import draw_scatter

MOST_IN_GRID, COMPONENT = 1000, "component"


@dataclass(frozen=True)
class Sample:
    """Draw rows from a trained mixture, in the units and shape of the data as read."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """Run directory."""
    num: int
    """How many rows."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """.npz with `rows` (N, ...) and `components` (N,), .parquet with the data's columns and `component`, or .png: a
    picture of them, sorted by component."""
    component: int | None = None
    """Draw from this one only."""
    seed: int = 0
    """The same seed draws the same rows."""
    force: bool = False
    """Write over a file that exists."""


def sample(argv: list[str]) -> None:
    arguments = parse(Sample, argv, "sample")
    check_new_file(arguments.out, (".npz", ".parquet", ".png"), arguments.force)
    if arguments.seed < 0:
        raise ConfigError(f"is {arguments.seed}", "--seed", "give 0 or more")
    mixture = Mixture.load(run_directory(arguments.directory).storage.uri)
    ending = arguments.out.suffix.lower()
    pictured = ending == ".png"
    names = columns_of(mixture.spec_) if ending == ".parquet" else ()
    if pictured and mixture.spec_.is_image and arguments.num > MOST_IN_GRID:
        raise ConfigError(
            f"is {arguments.num} for a picture", "--num", f"give {MOST_IN_GRID:,} at most, or an .npz file"
        )
    rows, components = mixture.sample(arguments.num, seed=arguments.seed, component=arguments.component)
    buffer = io.BytesIO()
    if pictured:
        draw(buffer, mixture, rows, components)
    elif ending == ".parquet":
        table = dict(zip(names, rows.T, strict=True)) | {COMPONENT: components}
        pq.write_table(pa.table({name: pa.array(values) for name, values in table.items()}), buffer)
    else:
        np.savez(buffer, rows=rows, components=components)
    write_file(arguments.out, buffer.getvalue(), arguments.force)


def columns_of(spec: DataSpec) -> tuple[str, ...]:
    """Names of a vector's columns; those that have none are called by their numbers. Raises `ConfigError`."""
    if spec.is_image:
        raise ConfigError("images are no columns of a table", "--out", "name an .npz or .png file")
    (width,) = spec.row_shape
    names = spec.columns if len(spec.columns) == width else tuple(str(number) for number in range(width))
    if COMPONENT in names:
        raise ConfigError(f"the data has a column {COMPONENT} of its own", "--out", "name an .npz file")
    return names


def draw(buffer: io.BytesIO, mixture: Mixture, rows: NDArray[Any], components: NDArray[np.int64]) -> None:
    """A PNG of the samples alone: a line of images per component, or a scatter plot."""
    shown = [k for k in mixture.state_.components if (components == k).any()]
    weight = dict(zip(mixture.state_.components, mixture.weights_, strict=True))
    samples = [rows[components == k] for k in shown]
    labels = [f"{k}   weight {weight[k]:.1%}" for k in shown]
    picture = draw_grid if mixture.spec_.is_image else draw_scatter
    figure = picture(samples, [part[:0] for part in samples], labels)
    kept, real = figure.axes
    real.remove()
    if kept.get_subplotspec() is not None:  # of a layout in two halves: take both
        kept.set_subplotspec(figure.add_gridspec(1, 1)[0])
    figure.savefig(buffer, format="png", bbox_inches="tight")
