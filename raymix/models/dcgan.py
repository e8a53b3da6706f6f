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

import itertools
import math
from collections.abc import Sequence
from typing import Literal, Self, TypeVar

from torch import Tensor, nn

from raymix.config import Positive
from raymix.data.source import DataSpec
from raymix.errors import ConfigError
from raymix.models.adversarial import Adversarial, AdversarialConfig
from raymix.models.critic_losses import Adversary
from raymix.models.networks import Leaky, Shape, cropped
from raymix.models.spectral import spectral_norm
from raymix.models.stacked import BatchNorm, Conv2d, ConvTranspose2d, Grouped, Linear, Ungrouped

LEAST_SIDE = 8
FIRST_SD = 0.02
SN_SLOPE = 0.1
Network = TypeVar("Network", bound=nn.Module)


class DCGANConfig(AdversarialConfig, extra="forbid"):
    """A DCGAN."""

    family: Literal["dcgan"] = "dcgan"
    """This family."""
    filters: Positive = 64
    """Filters of the widest layer; 64, 128, 256 and 512 are usual."""
    critic_filters: Positive | None = None
    """The same of the critic; unset: as many."""

    def resolved(self, spec: DataSpec) -> Self:
        if not spec.is_image or min(spec.row_shape[1:]) < LEAST_SIDE:
            advice = f"choose gan, or give images of {LEAST_SIDE} pixels a side and more"
            raise ConfigError(f"{self.family} cannot make rows of shape {spec.row_shape}", "model.family", advice)
        return super().resolved(spec).model_copy(update={"critic_filters": self.critic_filters or self.filters})

    @property
    def width(self) -> int:
        return max(self.filters, self.critic_filters or 0)

    def with_width(self, width: int) -> Self:
        filters, critic_filters = (
            max(1, round(each * width / self.width)) for each in (self.filters, self.critic_filters or self.filters)
        )
        return self.model_copy(update={"filters": filters, "critic_filters": critic_filters})


class SNDCGANConfig(DCGANConfig, extra="forbid"):
    """An SN-DCGAN."""

    family: Literal["sn-dcgan"] = "sn-dcgan"  # type: ignore[assignment]
    """This family."""
    loss: Adversary = "hinge"
    """What generator and critic descend on."""


class DCGAN(Adversarial):
    """DCGANs over images of one shape."""

    def __init__(self, config: DCGANConfig, row_shape: Shape) -> None:
        assert config.critic_filters
        channels, *sides = row_shape
        doublings = max(1, math.floor(math.log2(min(sides) / 4)))
        narrowing, widening = fractions(config.filters, doublings), fractions(config.critic_filters, doublings)[::-1]
        last = ConvTranspose2d(narrowing[-1], channels, 4)
        critic: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise((channels, *widening)):
            normalised = bool(critic) and config.loss != "wgan-gp"
            critic.append(Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=not normalised))
            critic += [BatchNorm(outputs), Leaky()] if normalised else [Leaky()]
        super().__init__(
            config,
            initialised(Images(config.latent, narrowing, last, doublings, row_shape)),
            initialised(judging(critic, widening[-1], [side >> doublings for side in sides])),
        )


class SNDCGAN(Adversarial):
    """SN-DCGANs over images of one shape."""

    def __init__(self, config: SNDCGANConfig, row_shape: Shape) -> None:
        assert config.critic_filters
        channels, *sides = row_shape
        narrowing, widening = fractions(config.filters, 4), fractions(config.critic_filters, 4)[::-1]
        last = Conv2d(narrowing[-1], channels, 3, stride=1, padding=1)
        critic: list[nn.Module] = []
        inputs = channels
        for same, outputs in itertools.pairwise(widening):
            critic += [Conv2d(inputs, same, 3, stride=1, padding=1), nn.LeakyReLU(SN_SLOPE)]
            critic += [Conv2d(same, outputs, 4, stride=2, padding=1), nn.LeakyReLU(SN_SLOPE)]
            inputs = outputs
        critic += [Conv2d(inputs, inputs, 3, stride=1, padding=1), nn.LeakyReLU(SN_SLOPE)]
        judge = initialised(judging(critic, inputs, [side >> 3 for side in sides]))
        for layer in judge:
            if isinstance(layer, Conv2d | Linear):
                spectral_norm(layer)
        super().__init__(config, initialised(Images(config.latent, narrowing, last, 3, row_shape)), judge)


def fractions(filters: int, num: int) -> list[int]:
    """Filters of `num` layers, each half of the one before; one at least."""
    return [max(1, filters >> i) for i in range(num)]


def judging(layers: Sequence[nn.Module], filters: int, sides: Sequence[int]) -> nn.Sequential:
    """A critic, (M, B, C, H, W) -> (M, B, 1), of layers that end with (B, M * filters, *sides)."""
    features = filters * math.prod(sides)
    return nn.Sequential(Grouped(), *layers, Ungrouped((features,)), Linear(features, 1))


def initialised(network: Network) -> Network:
    """The network with first weights as published."""
    for layer in network.modules():
        if isinstance(layer, Linear | Conv2d | ConvTranspose2d):
            nn.init.normal_(layer.weight, 0, FIRST_SD)
    return network


class Images(nn.Module):
    """A linear layer onto a small image, transposed convolutions between so many filters, a `last` layer; (M, B, Z) ->
    (M, B, C, H, W). The side doubles `doublings` times, and what then exceeds the image is cropped."""

    def __init__(self, latent: int, filters: Sequence[int], last: nn.Module, doublings: int, shape: Shape) -> None:
        super().__init__()
        channels, *self.sides = shape
        start = [math.ceil(side / 2**doublings) for side in self.sides]
        layers: list[nn.Module] = [BatchNorm(filters[0]), nn.ReLU()]
        for inputs, outputs in itertools.pairwise(filters):
            layers += [ConvTranspose2d(inputs, outputs, 4, bias=False), BatchNorm(outputs), nn.ReLU()]
        self.layers = nn.Sequential(
            Linear(latent, filters[0] * math.prod(start), bias=False),
            nn.Unflatten(2, (filters[0], *start)),
            Grouped(),
            *layers,
            last,
            Ungrouped((channels, *(side << doublings for side in start))),
        )

    def forward(self, latents: Tensor) -> Tensor:
        return cropped(self.layers(latents), self.sides)
