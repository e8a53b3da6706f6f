"""GAN of multilayer perceptrons (Goodfellow et al. 2014), for vectors and small images."""

import math
from typing import Literal, Self

from torch import nn

from raymix.config import Positive, Widths
from raymix.models import networks
from raymix.models.adversarial import Adversarial, AdversarialConfig
from raymix.models.stacked import Linear


class GANConfig(AdversarialConfig, extra="forbid"):
    """A GAN of multilayer perceptrons."""

    family: Literal["gan"] = "gan"
    """This family."""
    generator: Widths = (128, 128)
    """Units per hidden layer of the generator."""
    critic: Widths = (128, 128)
    """Units per hidden layer of the critic."""
    latent: Positive = 8
    """Dimensions of the latent space."""

    @property
    def width(self) -> int:
        return max(*self.generator, *self.critic)

    def with_width(self, width: int) -> Self:
        most = self.width
        generator, critic = (
            tuple(max(1, round(each * width / most)) for each in widths) for widths in (self.generator, self.critic)
        )
        return self.model_copy(update={"generator": generator, "critic": critic})


class GAN(Adversarial):
    """GANs over rows of one shape."""

    def __init__(self, config: GANConfig, row_shape: tuple[int, ...]) -> None:
        columns = math.prod(row_shape)
        shaped = [nn.Unflatten(2, row_shape)] if len(row_shape) > 1 else []
        generator = networks.mlp(config.latent, config.generator, nn.ReLU)
        critic = networks.mlp(columns, config.critic, networks.Leaky)
        super().__init__(
            config,
            nn.Sequential(*generator, Linear(config.generator[-1], columns), *shaped),
            nn.Sequential(*critic, Linear(config.critic[-1], 1)),
        )
