"""Every field of a config as an option of `raymix train`, with the field's own help and default."""

from dataclasses import asdict, field, make_dataclass
from typing import Annotated, Any, Literal, Union, get_args

import tyro
from pydantic import BaseModel

from raymix.config import Config, FamilyConfig
from raymix.config_values import config_from_mapping
from raymix.models.registry import FAMILIES, close

SHORT = {"schedule.rounds": "rounds", "data.dir": "data-dir", "data.labels": "labels"}
"""Second names of fields that everyone changes."""


def _truth(words: list[str]) -> bool:
    try:
        return {"true": True, "false": False}[words[0].lower()]
    except KeyError:
        raise ValueError(f"give true or false, not {words[0]!r}") from None


TRUTH = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="{true,false}",
    instance_from_str=_truth,
    is_instance=lambda value: isinstance(value, bool),
    str_from_instance=lambda value: [str(value).lower()],
)


def options_of(settings: BaseModel, prefix: str = "") -> type:
    """A dataclass with the fields of `settings`, its values as defaults.

    Bounds are left out: the config itself checks them, and names the field with its full name.
    """
    members: list[tuple[str, Any, Any]] = []
    for name, info in type(settings).model_fields.items():
        value, path = getattr(settings, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            group = options_of(value, f"{path}.")
            members.append((name, group, field(default_factory=group)))
            continue
        annotation: Any = info.annotation
        if bool in get_args(annotation):
            types = tuple(Annotated[bool, TRUTH] if each is bool else each for each in get_args(annotation))
            annotation = Union[types]  # noqa: UP007
        about = info.description
        markers: tuple[Any, ...] = ()
        if path == "model.family":
            annotation = Literal[tuple(FAMILIES)]
            about = "Family of the generators; another one brings its own options."
        elif annotation is bool:
            markers = (tyro.conf.FlagConversionOff, TRUTH)
        aliases = [f"--{SHORT[path]}"] if path in SHORT else None
        help = tyro.conf.arg(help=about, aliases=aliases)
        members.append((name, Annotated[(annotation, help, *markers)], field(default=value)))
    namespace = {"__doc__": type(settings).__doc__}
    return make_dataclass(type(settings).__name__, members, frozen=True, namespace=namespace)


def option_names(settings: BaseModel, prefix: str = "") -> list[str]:
    """Every option of `options_of`, as it is typed after `--`."""
    names = []
    for name in type(settings).model_fields:
        value, path = getattr(settings, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            names += option_names(value, f"{path}.")
        else:
            names += [path.replace("_", "-"), *([SHORT[path]] if path in SHORT else [])]
    return names


def config_of(options: Any, where: str) -> Config:
    """The config that a filled in `options_of` describes. Raises `ConfigError`."""
    return close(config_from_mapping(asdict(options), where), where)


def with_family(config: Config, family: str | None, where: str) -> Config:
    """The config with another family at its defaults; the same one keeps its settings. Raises `ConfigError`."""
    if family in (None, config.model.family):
        return close(config, where)
    return close(config.model_copy(update={"model": FamilyConfig(family=family)}), where)
