"""All families of generators: the only list of them.

Settings and networks stand apart, so that whoever only wants to know what can be set does not load torch.
"""

import importlib
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from raymix.config import Config, FamilyConfig
from raymix.config_values import config_error
from raymix.errors import ConfigError
from raymix.families.centroid import CentroidConfig
from raymix.families.dcgan import DCGANConfig, SNDCGANConfig
from raymix.families.gan import GANConfig
from raymix.families.vae import VAEConfig

if TYPE_CHECKING:
    from raymix.models.base import StackedGenerator


class Family(NamedTuple):
    """A family's settings, and the generator of one member that is built from them and the shape of a row."""

    config: type[FamilyConfig]
    generator: "str | type[StackedGenerator]"
    """The class, or `module:class` of one that is imported when it is built."""

    @property
    def build(self) -> "type[StackedGenerator]":
        if not isinstance(self.generator, str):
            return self.generator
        module, name = self.generator.split(":")
        build: type[StackedGenerator] = getattr(importlib.import_module(module), name)
        return build


FAMILIES: dict[str, Family] = {
    "vae": Family(VAEConfig, "raymix.models.vae:VAE"),
    "centroid": Family(CentroidConfig, "raymix.models.centroid:Centroid"),
    "gan": Family(GANConfig, "raymix.models.gan:GAN"),
    "dcgan": Family(DCGANConfig, "raymix.models.dcgan:DCGAN"),
    "sn-dcgan": Family(SNDCGANConfig, "raymix.models.dcgan:SNDCGAN"),
}


def family_of(config: FamilyConfig) -> Family:
    """The registered family a config names. Raises `ConfigError`."""
    if config.family not in FAMILIES:
        raise ConfigError(f"unknown family {config.family!r}", "model.family", f"one of {', '.join(FAMILIES)}")
    return FAMILIES[config.family]


def close(config: Config, where: str = "config") -> Config:
    """The same config with its family's settings validated by the family itself. Raises `ConfigError`."""
    closed = family_of(config.model).config
    if isinstance(config.model, closed):
        return config
    try:
        model = closed.model_validate(config.model.model_dump(exclude_unset=True))
    except ValidationError as error:
        raise config_error(error, where, closed, "model.") from None
    return config.model_copy(update={"model": model})
