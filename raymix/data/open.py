"""From a `DataConfig` to a source: the one way in to data."""

import difflib
import os
from dataclasses import replace

from raymix.config import DataConfig
from raymix.data.catalogue import CATALOGUE
from raymix.data.files import open_path
from raymix.data.holdout import held_rows
from raymix.data.known import folder_of
from raymix.data.labels import read_labels
from raymix.data.remote import is_remote
from raymix.data.source import Source
from raymix.errors import DataError


def known_data_sets() -> dict[str, str]:
    """What goes by a name in `data.name`, with a line about each."""
    return {name: known.about for name, known in CATALOGUE.items()}


def open_source(config: DataConfig) -> Source:
    """The rows to train on. Raises `DataError` if they, their labels or the settings are unfit."""
    whole = open_whole(config)
    return held_rows(whole, config.holdout, config.seed)[0] if config.holdout else whole


def open_whole(config: DataConfig) -> Source:
    """All rows that a config names, with those it holds out. Raises `DataError`."""
    _check(config)
    path = config.path
    source = CATALOGUE[config.name].open(config) if path is None else open_path(path, config)
    if config.columns and "columns" not in source.settings and not source.spec.is_image:
        source = source.named(config.columns)
    if config.labels is not None:
        source = replace(source, labels=read_labels(config.labels, source.spec.num_rows))
    return source if config.num_rows is None else source.first(config.num_rows)


def local_places(config: DataConfig) -> list[str]:
    """The files and folders of this machine that a data set is read from; none of a drawn one, or one elsewhere."""
    folder = folder_of(config.name, config) if config.name in CATALOGUE and CATALOGUE[config.name].stored else None
    named = [config.path, config.labels, config.features, folder]
    return [os.path.expanduser(place) for place in named if place is not None and not is_remote(place)]


def open_test_source(config: DataConfig) -> Source | None:
    """Rows that are never trained on, all of them, or None where there are none.

    Where rows are held out it is those. Drawn sets draw as many fresh rows from another stream; others have their test
    split, if its files are there. Raises `DataError`.
    """
    _check(config)
    if config.holdout:
        return held_rows(open_whole(config), config.holdout, config.seed)[1]
    return None if config.path is not None else CATALOGUE[config.name].open_test(config)


def _check(config: DataConfig) -> None:
    if config.name == "file":
        if config.path is None:
            raise DataError("is `file` and no path is given", "data.name", "set data.path")
        return
    if config.path is not None:
        raise DataError(f"is {config.name!r} and a path is given too", "data.name", "set data.name to file")
    if config.name not in CATALOGUE:
        nearest = difflib.get_close_matches(config.name, CATALOGUE, n=1)
        known = f"did you mean {nearest[0]}?" if nearest else f"known are file, {', '.join(CATALOGUE)}"
        raise DataError(f"unknown data set {config.name!r}", "data.name", known)
