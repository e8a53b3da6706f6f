"""All families of generators: the only module that imports them."""

from typing import NamedTuple

from pydantic import ValidationError

from raymix.config import Config, FamilyConfig, config_error
from raymix.errors import ConfigError
from raymix.models.base import Generator, StackedGenerator
from raymix.models.centroid import Centroid, CentroidConfig
from raymix.models.dcgan import DCGAN, SNDCGAN, DCGANConfig, SNDCGANConfig
from raymix.models.gan import GAN, GANConfig
from raymix.models.vae import VAE, VAEConfig


class Family(NamedTuple):
    """A family's settings, and how a generator (or a stacked one of one member) is built from them and the shape of a
    row."""

    config: type[FamilyConfig]
    build: type[Generator] | type[StackedGenerator]


FAMILIES: dict[str, Family] = {
    "vae": Family(VAEConfig, VAE),
    "centroid": Family(CentroidConfig, Centroid),
    "gan": Family(GANConfig, GAN),
    "dcgan": Family(DCGANConfig, DCGAN),
    "sn-dcgan": Family(SNDCGANConfig, SNDCGAN),
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
