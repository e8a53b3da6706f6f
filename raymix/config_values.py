"""Configs from plain values and YAML texts, and back; what is wrong with them, in one line."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from raymix.config import Config
from raymix.errors import ConfigError


def config_from_mapping(values: dict[str, Any], where: str) -> Config:
    """Validate a plain mapping (of a YAML file, say). Raises `ConfigError` with field and reason."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise config_error(error, where) from None


def replaced(config: Config, values: dict[str, Any]) -> Config:
    """The config with dotted fields replaced, validated again. Raises `ConfigError`."""
    tree = config.model_dump()
    for name, value in values.items():
        *path, leaf = name.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[leaf] = value
    return config_from_mapping(tree, "overrides")


def config_error(error: ValidationError, where: str, model: type[BaseModel] = Config, prefix: str = "") -> ConfigError:
    """One line for the first field that pydantic found wrong; `prefix` is the dotted place of `model` in the config."""
    found = error.errors(include_url=False)
    field = prefix + _field(found[0]["loc"])
    if not found[0]["loc"]:  # about several fields, which it names itself
        return ConfigError(found[0]["msg"].removeprefix("Value error, "), where)
    if found[0]["type"] == "extra_forbidden":
        return unknown_field(field, known_fields(model, prefix), where)
    # a field of several types has an error for each
    reasons = [each["msg"].removeprefix("Value error, ") for each in found if prefix + _field(each["loc"]) == field]
    reason = " or ".join([reasons[0], *(other.removeprefix("Input should be ") for other in reasons[1:])])
    return ConfigError(f"{field}: {reason}, got {found[0]['input']!r}", where)


def _field(location: tuple[int | str, ...]) -> str:
    """The dotted name of a field, without pydantic's marks of the type it tried, such as `constrained-int`."""
    return ".".join(str(part) for part in location if isinstance(part, int) or part.isidentifier())


def unknown_field(field: str, known: list[str], where: str) -> ConfigError:
    """The error for a field that does not exist, with the nearest one that does."""
    leaf = [name for name in known if name.rsplit(".", 1)[-1] == field.rsplit(".", 1)[-1]]
    nearest = leaf or difflib.get_close_matches(field, known, n=1, cutoff=0.4)
    return ConfigError(
        f"unknown field {field}", where, f"did you mean {nearest[0]}?" if nearest else "see `raymix train --help`"
    )


def known_fields(model: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    """Dotted names of all fields below `model`."""
    names = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names += known_fields(inner, f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}")
    return names


def load_config(path: str | Path) -> Config:
    """Read a YAML file. Raises `ConfigError`."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.__class__.__name__})", str(path), "give a YAML file") from None
    return parse_config(content, str(path))


def parse_config(content: bytes, where: str) -> Config:
    """The config a YAML text describes. Raises `ConfigError`."""
    try:
        values = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ConfigError(f"is not YAML ({str(error).splitlines()[0]})", where, "mend the file") from None
    if not isinstance(values, dict):
        raise ConfigError("holds no mapping of settings", where, "see config.yaml of any run")
    return config_from_mapping(values, where)


def dump_config(config: Config) -> str:
    """The YAML text that `load_config` reads back to an equal config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=120)
