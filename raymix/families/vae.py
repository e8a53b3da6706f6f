"""Settings of variational autoencoders."""

from typing import Literal

from raymix.families.autoencoder import AutoencoderConfig


class VAEConfig(AutoencoderConfig, extra="forbid"):
    """A VAE."""

    family: Literal["vae"] = "vae"
    """This family."""
