"""Convolutional GANs for images of 8 pixels a side and more, with the published layers.

`dcgan` (Radford et al. 2015): a linear layer onto an image of 4 to 7 pixels a side, transposed convolutions (4x4,
stride 2) that halve the filters and double the side; the critic mirrors it. BatchNorm in both, but for the critic's
first layer and for wgan-gp's critic (whose penalty is of single rows).

`sn-dcgan` (Miyato et al. 2018, table 3): a linear layer onto an eighth of the image, three transposed convolutions, a
3x3 convolution; the critic has pairs of a 3x3 and a 4x4 convolution of stride 2, and spectral norm in place of
BatchNorm.

Sides that do not halve evenly are rounded up, and what exceeds the image is cropped (28: dcgan starts at 7, sn-dcgan at
4). `filters` is the most that a layer has; the others have a half, a quarter, an eighth of it. First weights are normal
with sd 0.02.

Shapes: M members, B rows, Z latent, (C, H, W) images.
"""

import math
from typing import TypeVar

from torch import nn

from raymix.families.dcgan import DCGANConfig, SNDCGANConfig
from raymix.families.shapes import Shape
from raymix.models import networks
from raymix.models.adversarial import Adversarial
from raymix.models.spectral import spectral_norm
from raymix.models.stacked import Conv2d, ConvTranspose2d, Linear

FIRST_SD = 0.02
Network = TypeVar("Network", bound=nn.Module)


class DCGAN(Adversarial):
    """DCGANs over images of one shape."""

    def __init__(self, config: DCGANConfig, row_shape: Shape) -> None:
        assert config.critic_filters
        channels, *sides = row_shape
        doublings = max(1, math.floor(math.log2(min(sides) / 4)))
        narrowing = networks.fractions(config.filters, doublings)
        widening = networks.fractions(config.critic_filters, doublings)[::-1]
        last = ConvTranspose2d(narrowing[-1], channels, 4)
        trunk, features = networks.strided_trunk(row_shape, widening, batch_norm=config.loss != "wgan-gp")
        super().__init__(
            config,
            initialised(networks.Upsampling(config.latent, narrowing, last, doublings, row_shape)),
            initialised(nn.Sequential(*trunk, Linear(features, 1))),
        )


class SNDCGAN(Adversarial):
    """SN-DCGANs over images of one shape."""

    def __init__(self, config: SNDCGANConfig, row_shape: Shape) -> None:
        assert config.critic_filters
        narrowing = networks.fractions(config.filters, 4)
        widening = networks.fractions(config.critic_filters, 4)[::-1]
        last = Conv2d(narrowing[-1], row_shape[0], 3, stride=1, padding=1)
        trunk, features = networks.paired_trunk(row_shape, widening)
        critic = initialised(nn.Sequential(*trunk, Linear(features, 1)))
        for layer in critic:
            if isinstance(layer, Conv2d | Linear):
                spectral_norm(layer)
        generator = initialised(networks.Upsampling(config.latent, narrowing, last, 3, row_shape))
        super().__init__(config, generator, critic)


def initialised(network: Network) -> Network:
    """The network with first weights as published."""
    for layer in network.modules():
        if isinstance(layer, Linear | Conv2d | ConvTranspose2d):
            nn.init.normal_(layer.weight, 0, FIRST_SD)
    return network
