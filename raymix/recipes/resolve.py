"""From a config as written to one without `auto` and unset values that depend on the data, checked against it."""

import logging
import os

import numpy as np

from raymix.config import Config
from raymix.data.blocks import open_features
from raymix.data.open import open_source
from raymix.data.remote import is_remote
from raymix.data.scan import Summary, scaling, scan
from raymix.data.source import DataSpec
from raymix.errors import ConfigError
from raymix.models import discriminators
from raymix.models.base import Bounds, ClosedForm, HasCritic, LogDensity
from raymix.models.registry import close, family_of

log = logging.getLogger(__name__)


def resolve(config: Config) -> tuple[Config, DataSpec]:
    """Read the whole data set once and fit the config to it.

    The result is what `config.yaml` of a run holds, but for `resources.pack`, which depends on the cluster. Raises
    `ConfigError` and `DataError`.
    """
    config = close(config)
    check_choices(config)
    source = open_source(config.data)
    for note in source.notes:
        log.warning("%s: %s", source.spec.name, note)
    summary = scan(source, config.data.block_bytes)
    spec = summary.spec
    check_against_data(config, spec)
    found = dict(zip(("offset", "scale"), scaling(summary), strict=True))
    constants = {name: getattr(config.data, name) or values for name, values in found.items()}
    for name, values in constants.items():
        if len(values) != 1 and (spec.is_image or len(values) != spec.row_shape[0]):
            what = f"has {len(values)} numbers for rows of shape {spec.row_shape}"
            raise ConfigError(what, f"data.{name}", "give one, or one per column of a vector")
    check_scale(constants["scale"], summary)
    if config.has_cells and config.schedule.begin == "features":
        features = open_features(config.data, spec)
        for note in features.notes:
            log.warning("%s: %s", features.spec.name, note)
        scan(features, config.data.block_bytes)  # refuses unfit ones by file and row
    named = ("path", "dir", "labels", "features", "links_within")
    places = {name: getattr(config.data, name) for name in named}
    absolute = {name: where_it_lies(place) for name, place in places.items() if place}
    data = config.data.model_copy(update={**source.settings, **constants, **absolute})
    resolved = fitted(config.model_copy(update={"data": data}), spec)
    if resolved.model.unbounded:
        check_unit_interval(resolved, summary, *resolved.model.unbounded)
    return resolved, spec


def where_it_lies(place: str) -> str:
    """A URI as it is, or a path made absolute."""
    return place if is_remote(place) else os.path.abspath(os.path.expanduser(place))


def fitted(config: Config, spec: DataSpec) -> Config:
    """The config with its networks fitted to rows of a `DataSpec`. Raises `ConfigError`."""
    config = judged(config)
    model, discriminator = config.model.resolved(spec), discriminators.resolved(config.discriminator, spec)
    return config.model_copy(update={"model": model, "discriminator": discriminator})


def judged(config: Config) -> Config:
    """The config in which it is settled who judges."""
    family, schedule, discriminator = family_of(config.model).build, config.schedule, config.discriminator
    if discriminator.body == "if-needed":
        able = issubclass(family, LogDensity | Bounds) and not schedule.adapt and not schedule.overlap
        discriminator = discriminator.model_copy(update={"body": "none" if able else "auto"})
    assign = config.assign
    if assign.normalise == "auto":
        by_bounds = discriminator.body == "none" and not issubclass(family, LogDensity)
        assign = assign.model_copy(update={"normalise": not by_bounds})
    return config.model_copy(update={"discriminator": discriminator, "assign": assign})


def check_choices(config: Config) -> None:
    """Settings that contradict each other whatever the data. Raises `ConfigError`."""
    config = judged(config)
    name, family = config.model.family, family_of(config.model).build
    exact = issubclass(family, ClosedForm)
    if config.competes and config.own_density:
        if not issubclass(family, LogDensity | Bounds):
            what = f"family {name} has neither a log-density of its own nor a bound of it"
            raise ConfigError(what, "discriminator.body", "choose auto, mlp or conv")
        if config.assign.normalise and not issubclass(family, LogDensity):
            what = "would divide each bound by what the easiest rows have"
            raise ConfigError(what, "assign.normalise", "set it to auto where generators judge by their bounds")
    if config.resources.compile and issubclass(family, HasCritic):
        what = f"family {name} alternates its networks, which is not compiled"
        raise ConfigError(what, "resources.compile", "set it to false")
    if config.resources.compile and config.resources.precision == "tf32":
        raise ConfigError("is for networks that are not compiled", "resources.precision", "choose float32 or bfloat16")
    workers, batch_size = config.resources.workers_per_component, config.schedule.batch_size
    if workers > 1 and (exact or not family.means_over_rows):
        what = f"family {name} does not learn from batches in parts"
        raise ConfigError(what, "resources.workers_per_component", "set it to 1")
    if workers > batch_size:
        what = f"{workers} workers have a batch of {batch_size} rows"
        raise ConfigError(what, "resources.workers_per_component", "raise schedule.batch_size or lower it")
    alike = config.schedule.pretrain_on == "whole" and not config.has_cells and config.mode != "bag"
    if exact and config.schedule.pretrain_epochs and alike:
        what = f"pre-training on the whole data set would make all {name}s equal"
        raise ConfigError(what, "schedule.pretrain_epochs", "set it to 0")


def check_scale(scale: tuple[float, ...], summary: Summary) -> None:
    """A scale of 0 cannot be undone where values differ. Raises `ConfigError`."""
    for column, (factor, sd) in enumerate(zip(np.broadcast_to(scale, len(summary.sd)), summary.sd, strict=True)):
        if factor == 0 and sd > 0:
            what = f"is 0 for column {column}, which varies: samples could not be brought back to data units"
            raise ConfigError(what, "data.scale", "give another number")


def check_unit_interval(config: Config, summary: Summary, field: str, other: str) -> None:
    """A bounded choice of the family's needs scaled values in [0, 1]. Raises `ConfigError`."""
    assert config.data.offset is not None and config.data.scale is not None
    ends = [(summary.minimum - config.data.offset[0]) * config.data.scale[0]]
    ends += [(summary.maximum - config.data.offset[0]) * config.data.scale[0]]
    if len(config.data.scale) > 1 or min(ends) < -1e-6 or max(ends) > 1 + 1e-6:
        bounded = getattr(config.model, field)
        what = f"{bounded} needs values in [0, 1], scaled ones reach from {min(ends):.3g} to {max(ends):.3g}"
        raise ConfigError(what, f"model.{field}", f"choose {other}, or set data.offset and data.scale")


def check_against_data(config: Config, spec: DataSpec) -> None:
    """Settings that the data set rules out. Raises `ConfigError`."""
    if config.num_components > spec.num_rows:
        raise ConfigError(
            f"{config.num_components} components for {spec.num_rows} rows of {spec.name}",
            "num_components",
            "choose at most one component per row",
        )
    if config.mode == "oracle" and not spec.classes:
        raise ConfigError("oracle needs labels and the data set has none", "mode", "give --labels FILE")
    if not spec.is_image and config.discriminator.lowpass not in ("auto", 0):
        raise ConfigError("a low-pass needs images", "discriminator.lowpass", "choose auto or 0")
