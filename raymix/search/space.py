"""What a search varies: fields of a config by dotted name, each with its choices or its range.

A file of spaces is YAML:

    num_components: [1, 2, 4, 8]                    choices
    width: [16, 32, 64]                             of all layers at once, the widest has so many units
    model.learning_rate: {log: [0.0001, 0.01]}      a range whose logarithm is uniform
    model.latent: {range: [2, 32]}                  whole numbers, both ends included
"""

import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from raymix.config import Config, FamilyConfig
from raymix.config_values import known_fields, replaced, unknown_field
from raymix.data.source import DataSpec
from raymix.errors import ConfigError
from raymix.models.registry import close
from raymix.recipes.resolve import check_against_data, check_choices, fitted
from raymix.report.trials import WIDTH

RANGE = re.compile(r"(?P<log>log:)?(?P<low>[-+\w.]+?)\.\.(?P<high>[-+\w.]+)")
POWER = re.compile(r"[-+]?[\d.]*\d[eE][-+]?\d+")  # which YAML takes for text where it has no point
SHARED = ("data.", "evaluation.", "schedule.evaluate_every", "schedule.best_metric", "schedule.report")
"""Fields without which trials would not be measured alike, on the same rows."""
MOST_POINTS = 1000  # of a grid that are looked at one by one


class Choices(NamedTuple):
    """One of several values."""

    values: tuple[Any, ...]


class Range(NamedTuple):
    """Numbers between two ends, uniform or with a uniform logarithm."""

    low: float
    high: float
    log: bool
    whole: bool
    """Whole numbers only, both ends included."""


Dimension = Choices | Range
Space = dict[str, Dimension]


def read_space(path: str | Path) -> Space:
    """Read a file of spaces. Raises `ConfigError`."""
    try:
        values = yaml.safe_load(Path(path).read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.__class__.__name__})", str(path), "give a YAML file") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"is not YAML ({str(error).splitlines()[0]})", str(path), "mend the file") from None
    if not isinstance(values, dict) or not values:
        raise ConfigError("holds no fields to vary", str(path), "write for example `num_components: [1, 2, 4]`")
    return {str(name): dimension(name, value, str(path)) for name, value in values.items()}


def dimension(name: str, value: Any, where: str) -> Dimension:
    """What a value of a file of spaces stands for. Raises `ConfigError`."""
    if isinstance(value, list) and value:
        return Choices(tuple(tuple(each) if isinstance(each, list) else each for each in value))
    if isinstance(value, dict) and len(value) == 1:
        ((kind, ends),) = value.items()
        if kind in ("range", "log") and isinstance(ends, list) and len(ends) == 2:
            low, high = (number(each) for each in ends)
            return range_of(name, low, high, kind == "log", where)
    todo = "give a list, {range: [low, high]} or {log: [low, high]}"
    raise ConfigError(f"{name}: {value!r} is no space", where, todo)


def range_of(name: str, low: Any, high: Any, log: bool, where: str) -> Range:
    """Raises `ConfigError` for ends that are no numbers, in the wrong order, or not above 0 where the range is
    logarithmic."""
    numbers = all(
        isinstance(each, int | float) and not isinstance(each, bool) and math.isfinite(each) for each in (low, high)
    )
    if not numbers or not low < high or (log and low <= 0):
        todo = "give two numbers, the smaller one first" + (", both above 0" if log else "")
        raise ConfigError(f"{name}: {low!r} to {high!r} is no range", where, todo)
    return Range(low, high, log, whole=isinstance(low, int) and isinstance(high, int))


def option_dimension(name: str, text: str, where: str) -> Dimension | None:
    """What the value of an option stands for: `1,2,4` is a choice, `0.1..0.9` a range, `log:1e-4..1e-2` a logarithmic
    one; None for a plain value. Raises `ConfigError`."""
    ends = RANGE.fullmatch(text)
    if ends:
        return range_of(name, number(ends["low"]), number(ends["high"]), bool(ends["log"]), where)
    if "," in text or name == WIDTH:
        values = [number(part.strip()) for part in text.split(",") if part.strip()]
        if not values:
            raise ConfigError(f"{name} has no values", where, "give some, such as 1,2,4")
        return Choices(tuple(dict.fromkeys(values)))
    return None


def number(value: Any) -> Any:
    """A text as YAML reads it, with 1e-3 as a number."""
    if not isinstance(value, str):
        return value
    if POWER.fullmatch(value):
        return float(value)
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def check_space(space: Space, config: Config, spec: DataSpec) -> None:
    """Raises `ConfigError` for an empty space, a field that does not exist or that trials must share, or a value that
    no run could have."""
    if not space:
        raise ConfigError("is empty", "the search space", "vary a field, such as --num-components 1,2,4")
    config = close(config)
    known = [WIDTH, *known_fields(), *known_fields(type(config.model), "model.")]
    for name, values in space.items():
        if name not in known:
            raise unknown_field(name, known, "the search space")
        if name.startswith(SHARED):
            raise ConfigError(f"{name} cannot be varied", "the search space", "trials could not be compared: set it")
        for value in ends(values):
            applied(config, {name: value}, spec)


def applied(config: Config, values: Mapping[str, Any], spec: DataSpec) -> Config:
    """The config with the values of one trial, its networks fitted to the data. Raises `ConfigError`."""
    fields = {name: value for name, value in values.items() if name != WIDTH}
    config = close(replaced(config, fields))
    check_choices(config)
    check_against_data(config, spec)
    config = fitted(config, spec)
    if WIDTH in values:
        config = config.model_copy(update={"model": with_width(config.model, values[WIDTH])})
        config = fitted(close(replaced(config, {})), spec)
    return config


def with_width(model: FamilyConfig, width: Any) -> FamilyConfig:
    """A family's settings with layers whose widest has so many units. Raises `ConfigError`."""
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise ConfigError(f"is {width!r}", WIDTH, "give a whole number of units, 1 or more")
    return model.with_width(width)


def ends(values: Dimension) -> tuple[Any, ...]:
    """Every choice, or both ends of a range."""
    return values.values if isinstance(values, Choices) else (values.low, values.high)


def points(space: Space) -> list[dict[str, Any]]:
    """Values of trials: the whole grid of choices and ends, or where it is too large each of them with the first of all
    others."""
    if math.prod(len(ends(values)) for values in space.values()) <= MOST_POINTS:
        return [dict(zip(space, point, strict=True)) for point in itertools.product(*map(ends, space.values()))]
    first = {name: ends(values)[0] for name, values in space.items()}
    return [first | {name: value} for name, values in space.items() for value in ends(values)]
