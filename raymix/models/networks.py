"""Bodies of encoders, decoders, discriminators and critics, for members stacked as `raymix.models.stacked` says.

Shapes: M members, B rows, (C, H, W) images, D columns, F features, Z latent.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from raymix.families.shapes import Shape, conv_features
from raymix.models.stacked import BatchNorm, Conv2d, ConvTranspose2d, Grouped, Linear, Ungrouped

SN_SLOPE = 0.1


class Leaky(nn.LeakyReLU):
    """The activation of discriminators and critics."""

    def __init__(self) -> None:
        super().__init__(0.2)


def encoder(
    body: Literal["mlp", "conv"],
    shape: Shape,
    widths: Sequence[int],
    kernel: int,
    activation: type[nn.Module],
    batch_norm: bool,
) -> tuple[nn.Sequential, int]:
    """(M, B, *shape) -> (M, B, F), and F."""
    if body == "conv":
        return conv_encoder(shape, widths, kernel, activation, batch_norm), conv_features(shape, widths, kernel)
    return mlp(math.prod(shape), widths, activation, batch_norm), widths[-1]


def decoder(body: Literal["mlp", "conv"], latent: int, widths: Sequence[int], shape: Shape, kernel: int) -> nn.Module:
    """(M, B, Z) -> (M, B, *shape)."""
    if body == "conv":
        return ConvDecoder(latent, widths, shape, kernel)
    return ending(mlp(latent, widths, nn.ReLU), widths[-1], shape)


def ending(hidden: nn.Sequential, features: int, shape: Shape) -> nn.Sequential:
    """Layers that end with `features` values, and a linear one onto rows of a shape."""
    shaped = [nn.Unflatten(2, shape)] if len(shape) > 1 else []
    return nn.Sequential(*hidden, Linear(features, math.prod(shape)), *shaped)


def mlp(inputs: int, widths: Sequence[int], activation: type[nn.Module], batch_norm: bool = False) -> nn.Sequential:
    """Flatten, then linear layers of the given widths; (M, B, *) -> (M, B, widths[-1])."""
    layers: list[nn.Module] = [nn.Flatten(2)]
    for width in widths:
        layers.append(Linear(inputs, width, bias=not batch_norm))
        if batch_norm:
            layers.append(BatchNorm(width))
        layers.append(activation())
        inputs = width
    return nn.Sequential(*layers)


def conv_encoder(
    shape: Shape, widths: Sequence[int], kernel: int, activation: type[nn.Module], batch_norm: bool
) -> nn.Sequential:
    """Convolutions of stride 2, one per width; (M, B, C, H, W) -> (M, B, F). Sides halve down to 1."""
    channels = shape[0]
    layers: list[nn.Module] = [Grouped()]
    for width in widths:
        layers.append(Conv2d(channels, width, kernel, stride=2, padding=(kernel - 1) // 2, bias=not batch_norm))
        if batch_norm:
            layers.append(BatchNorm(width))
        layers.append(activation())
        channels = width
    return nn.Sequential(*layers, Ungrouped((conv_features(shape, widths, kernel),)))


class ConvDecoder(nn.Module):
    """A linear layer onto a small image, then transposed convolutions that double it; (M, B, Z) -> (M, B, C, H, W).

    There are as many of them as widths; the last gives the image's channels, and what exceeds (H, W) is cropped.
    """

    def __init__(self, latent: int, widths: Sequence[int], shape: Shape, kernel: int) -> None:
        super().__init__()
        channels, self.height, self.width = shape
        shrink = 2 ** len(widths)
        start = (widths[0], math.ceil(self.height / shrink), math.ceil(self.width / shrink))
        layers: list[nn.Module] = [
            Linear(latent, math.prod(start)),
            nn.Unflatten(2, start),
            Grouped(),
            BatchNorm(widths[0]),
            nn.ReLU(),
        ]
        for inner, outer in itertools.pairwise(widths):
            layers += [ConvTranspose2d(inner, outer, kernel, bias=False), BatchNorm(outer), nn.ReLU()]
        layers.append(ConvTranspose2d(widths[-1], channels, kernel))
        self.layers = nn.Sequential(*layers, Ungrouped((channels, start[1] * shrink, start[2] * shrink)))

    def forward(self, latents: Tensor) -> Tensor:
        return cropped(self.layers(latents), (self.height, self.width))


class Upsampling(nn.Module):
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


def fractions(filters: int, num: int) -> list[int]:
    """Filters of `num` layers, each half of the one before; one at least."""
    return [max(1, filters >> i) for i in range(num)]


def strided_trunk(shape: Shape, filters: Sequence[int], batch_norm: bool) -> tuple[list[nn.Module], int]:
    """Layers (M, B, C, H, W) -> (M, B, F), and F: 4x4 convolutions that halve the side, BatchNorm in all but the
    first (Radford et al. 2015)."""
    channels, *sides = shape
    layers: list[nn.Module] = [Grouped()]
    for inputs, outputs in itertools.pairwise((channels, *filters)):
        normalised = batch_norm and len(layers) > 1
        layers.append(Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=not normalised))
        layers += [BatchNorm(outputs), Leaky()] if normalised else [Leaky()]
    features = filters[-1] * math.prod(side >> len(filters) for side in sides)
    return [*layers, Ungrouped((features,))], features


def paired_trunk(shape: Shape, filters: Sequence[int]) -> tuple[list[nn.Module], int]:
    """Layers (M, B, C, H, W) -> (M, B, F), and F: pairs of a 3x3 convolution and a 4x4 one that halves the side, and a
    last 3x3 one (Miyato et al. 2018, table 3)."""
    inputs, *sides = shape
    layers: list[nn.Module] = [Grouped()]
    for same, outputs in itertools.pairwise(filters):
        layers += [Conv2d(inputs, same, 3, stride=1, padding=1), nn.LeakyReLU(SN_SLOPE)]
        layers += [Conv2d(same, outputs, 4, stride=2, padding=1), nn.LeakyReLU(SN_SLOPE)]
        inputs = outputs
    layers += [Conv2d(inputs, inputs, 3, stride=1, padding=1), nn.LeakyReLU(SN_SLOPE)]
    features = inputs * math.prod(side >> len(filters) - 1 for side in sides)
    return [*layers, Ungrouped((features,))], features


def cropped(images: Tensor, sides: Sequence[int]) -> Tensor:
    """The middle of images (M, B, C, H, W), of sides (height, width)."""
    height, width = sides
    top, left = (images.shape[3] - height) // 2, (images.shape[4] - width) // 2
    return images[..., top : top + height, left : left + width]
