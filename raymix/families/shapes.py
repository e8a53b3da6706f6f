"""Which networks rows of a shape can have.

Shapes: (C, H, W) images, (D,) vectors.
"""

import math
from collections.abc import Sequence
from typing import Literal

from raymix.config import Body
from raymix.errors import ConfigError

Shape = tuple[int, ...]


def is_large_image(row_shape: Shape) -> bool:
    """Whether `auto` takes convolutions for rows of this shape."""
    return len(row_shape) == 3 and min(row_shape[1:]) >= 16


def chosen_body(body: Body, row_shape: Shape, field: str) -> Literal["mlp", "conv"]:
    """The kind of network, fitted to rows. Raises `ConfigError` for convolutions over vectors."""
    if body == "auto":
        return "conv" if is_large_image(row_shape) else "mlp"
    if body == "conv" and len(row_shape) != 3:
        raise ConfigError(f"conv cannot read rows of shape {row_shape}", field, "choose mlp or auto")
    return body


def conv_features(shape: Shape, widths: Sequence[int], kernel: int) -> int:
    """Values of a row after convolutions of stride 2, one per width."""
    _, height, width = shape
    for _ in widths:
        height, width = halved(height, kernel), halved(width, kernel)
    return widths[-1] * height * width


def halved(side: int, kernel: int) -> int:
    """Side of an image after one such convolution; 0 or less when nothing is left."""
    return (side + 2 * ((kernel - 1) // 2) - kernel) // 2 + 1


def require_encodable(shape: Shape, widths: Sequence[int], kernel: int, field: str) -> None:
    """Raises `ConfigError` when there are more convolutions than the image can be halved."""
    side = min(shape[1:])
    for layer in range(len(widths)):
        side = halved(side, kernel)
        if side < 1:
            what = f"{len(widths)} convolutions of kernel {kernel} leave nothing of images of shape {shape}"
            raise ConfigError(what, field, f"give at most {layer} widths" if layer else "choose body mlp")


def require_decodable(shape: Shape, widths: Sequence[int], field: str) -> None:
    """Raises `ConfigError` when there are doublings of which only cropped pixels would come."""
    most = math.ceil(math.log2(max(shape[1:]))) or 1
    if len(widths) > most:
        raise ConfigError(
            f"{len(widths)} doublings are too many for images of shape {shape}", field, f"give at most {most} widths"
        )


def scaled(widths: Sequence[int], width: int, most: int) -> tuple[int, ...]:
    """Widths of layers where one of `most` units becomes one of `width`; each has one unit at least."""
    return tuple(max(1, round(each * width / most)) for each in widths)
