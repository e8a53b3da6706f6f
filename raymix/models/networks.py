"""Bodies of encoders, decoders and discriminators, for members stacked as `raymix.models.stacked` says.

Shapes: M members, B rows, (C, H, W) images, D columns, F features.
"""

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from raymix.errors import ConfigError
from raymix.models.stacked import BatchNorm, Conv2d, ConvTranspose2d, Grouped, Linear, Ungrouped

Shape = tuple[int, ...]


def is_large_image(row_shape: Shape) -> bool:
    """Whether `auto` takes convolutions for rows of this shape."""
    return len(row_shape) == 3 and min(row_shape[1:]) >= 16


class Leaky(nn.LeakyReLU):
    """The activation of discriminators and critics."""

    def __init__(self) -> None:
        super().__init__(0.2)


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
    shape: Shape, widths: Sequence[int], kernel: int, activation: type[nn.Module], batch_norm: bool = True
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


def conv_features(shape: Shape, widths: Sequence[int], kernel: int) -> int:
    """F of `conv_encoder`."""
    _, height, width = shape
    for _ in widths:
        height, width = halved(height, kernel), halved(width, kernel)
    return widths[-1] * height * width


def halved(side: int, kernel: int) -> int:
    """Side of an image after one convolution of `conv_encoder`; 0 or less when nothing is left."""
    return (side + 2 * ((kernel - 1) // 2) - kernel) // 2 + 1


def require_encodable(shape: Shape, widths: Sequence[int], kernel: int, field: str) -> None:
    """Raises `ConfigError` when `conv_encoder` has more layers than the image can be halved."""
    side = min(shape[1:])
    for layer in range(len(widths)):
        side = halved(side, kernel)
        if side < 1:
            what = f"{len(widths)} convolutions of kernel {kernel} leave nothing of images of shape {shape}"
            raise ConfigError(what, field, f"give at most {layer} widths" if layer else "choose body mlp")


def require_decodable(shape: Shape, widths: Sequence[int], field: str) -> None:
    """Raises `ConfigError` when `ConvDecoder` has doublings of which only cropped pixels would come."""
    most = math.ceil(math.log2(max(shape[1:]))) or 1
    if len(widths) > most:
        raise ConfigError(
            f"{len(widths)} doublings are too many for images of shape {shape}", field, f"give at most {most} widths"
        )


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


def cropped(images: Tensor, sides: Sequence[int]) -> Tensor:
    """The middle of images (M, B, C, H, W), of sides (height, width)."""
    height, width = sides
    top, left = (images.shape[3] - height) // 2, (images.shape[4] - width) // 2
    return images[..., top : top + height, left : left + width]
