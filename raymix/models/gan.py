"""GAN of multilayer perceptrons (Goodfellow et al. 2014), for vectors and small images."""

import math

from torch import nn

from raymix.families.gan import GANConfig
from raymix.families.shapes import Shape
from raymix.models import networks
from raymix.models.adversarial import Adversarial


class GAN(Adversarial):
    """GANs over rows of one shape."""

    def __init__(self, config: GANConfig, row_shape: Shape) -> None:
        generator = networks.mlp(config.latent, config.generator, nn.ReLU)
        critic = networks.mlp(math.prod(row_shape), config.critic, networks.Leaky)
        super().__init__(
            config,
            networks.ending(generator, config.generator[-1], row_shape),
            networks.ending(critic, config.critic[-1], (1,)),
        )
