"""Bodies of encoders, decoders and discriminators.

Shapes: B rows, (C, H, W) images, D columns, F features.
"""

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from raymix.errors import ConfigError

Shape = tuple[int, ...]


def is_large_image(row_shape: Shape) -> bool:
    """Whether `auto` takes convolutions for rows of this shape."""
    return len(row_shape) == 3 and min(row_shape[1:]) >= 16


def mlp(inputs: int, widths: Sequence[int], activation: type[nn.Module], batch_norm: bool = False) -> nn.Sequential:
    """Flatten, then linear layers of the given widths; (B, *) -> (B, widths[-1])."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width in widths:
        layers.append(nn.Linear(inputs, width, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(activation())
        inputs = width
    return nn.Sequential(*layers)


def conv_encoder(
    shape: Shape, widths: Sequence[int], kernel: int, activation: type[nn.Module], batch_norm: bool = True
) -> nn.Sequential:
    """Convolutions of stride 2, one per width; (B, C, H, W) -> (B, F). Sides halve down to 1."""
    channels = shape[0]
    layers: list[nn.Module] = []
    for width in widths:
        layers.append(nn.Conv2d(channels, width, kernel, stride=2, padding=(kernel - 1) // 2, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(width, eps=1e-5, momentum=0.1))
        layers.append(activation())
        channels = width
    return nn.Sequential(*layers, nn.Flatten())


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


def doubling(inputs: int, outputs: int, kernel: int, bias: bool) -> nn.ConvTranspose2d:
    """A transposed convolution whose output side is exactly twice its input's, for even and odd kernels."""
    padding, extra = (kernel - 1) // 2, kernel % 2
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, padding=padding, output_padding=extra, bias=bias)


class ConvDecoder(nn.Module):
    """A linear layer onto a small image, then transposed convolutions that double it; (B, Z) -> (B, C, H, W).

    There are as many of them as widths; the last gives the image's channels, and what exceeds (H, W) is cropped.
    """

    def __init__(self, latent: int, widths: Sequence[int], shape: Shape, kernel: int) -> None:
        super().__init__()
        channels, self.height, self.width = shape
        shrink = 2 ** len(widths)
        start = (widths[0], math.ceil(self.height / shrink), math.ceil(self.width / shrink))
        layers: list[nn.Module] = [
            nn.Linear(latent, math.prod(start)),
            nn.Unflatten(1, start),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for inner, outer in itertools.pairwise(widths):
            layers += [
                doubling(inner, outer, kernel, bias=False),
                nn.BatchNorm2d(outer, eps=1e-5, momentum=0.1),
                nn.ReLU(),
            ]
        layers.append(doubling(widths[-1], channels, kernel, bias=True))
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        image: Tensor = self.layers(latents)
        top, left = (image.shape[2] - self.height) // 2, (image.shape[3] - self.width) // 2
        return image[:, :, top : top + self.height, left : left + self.width]
