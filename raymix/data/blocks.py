"""The blocks of a run, read long after its data set was looked over once.

Shapes: n rows of a block.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from raymix.config import DataConfig
from raymix.data.open import open_source
from raymix.data.source import Block, DataSpec, Source
from raymix.errors import DataError


def read_blocks(config: DataConfig, spec: DataSpec, bounds: Iterable[tuple[int, int]]) -> Iterator[Block]:
    """The blocks of these ranges of rows.

    Raises `DataError` when the data set is no longer what `spec` says, or a value in a block is not finite.
    """
    source = open_source(config)
    require_same(source.spec, spec)
    yield from finite_blocks(source, bounds)


def open_features(config: DataConfig, spec: DataSpec) -> Source:
    """The features that a config names, a row each for the rows of the data set. Raises `DataError`."""
    places = {"path": config.features, "num_rows": config.num_rows, "holdout": config.holdout, "seed": config.seed}
    try:
        source = open_source(DataConfig(name="file", **places))
    except DataError as error:
        raise DataError(error.what, error.where, "check the file of features") from None
    if source.spec.num_rows != spec.num_rows:
        what = f"has {source.spec.num_rows} rows of features for the {spec.num_rows} rows of {spec.name}"
        raise DataError(what, str(config.features), "give one for each row, in the same order")
    return source


def read_features(config: DataConfig, spec: DataSpec, bounds: Iterable[tuple[int, int]]) -> Iterator[Block]:
    """As `read_blocks`, of the features of the rows."""
    return finite_blocks(open_features(config, spec), bounds)


def finite_blocks(source: Source, bounds: Iterable[tuple[int, int]]) -> Iterator[Block]:
    """These ranges of a source's rows. Raises `DataError` for a value that is not finite."""
    for start, stop in bounds:
        block = source.read(start, stop)
        require_finite(block.rows, source, start)
        yield block


def require_same(found: DataSpec, spec: DataSpec) -> None:
    """Raises `DataError` if the data set has other rows or classes than when the run began."""
    if replace(found, name=spec.name, columns=spec.columns) != spec:  # columns were read by their names
        what = f"has changed since the run began, from {_size(spec)} to {_size(found)}"
        raise DataError(what, found.name, "put the rows back as they were, or begin a new run")


def _size(spec: DataSpec) -> str:
    return f"{spec.num_rows} rows of {spec.row_shape} {spec.dtype} in {len(spec.classes)} classes"


def require_finite(rows: NDArray[np.generic], source: Source, start: int) -> None:
    """Raises `DataError` for the first of the rows (n, *row_shape) that holds nan or infinity; `start` is the number of
    row 0 in the source."""
    if rows.dtype.kind != "f":
        return
    finite = np.isfinite(rows).reshape(len(rows), -1)
    if finite.all():
        return
    row, column = np.argwhere(~finite)[0]
    value = rows.reshape(len(rows), -1)[row, column]
    names = source.spec.columns
    place = f"column {names[column]}" if rows.shape[1:] == (len(names),) else f"value {column} of the row"
    raise DataError(f"holds {value} ({place})", source.where(start + int(row)), "mend or drop the row")
