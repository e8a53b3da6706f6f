"""The ground on which transparent images are shown: one colour for a whole data set."""

import math

import numpy as np
from PIL import Image, ImageColor

WHITE, BLACK = "white", "black"
_OPAQUE = 255
_DEEP = ("I;16", "I;16B", "I;16L", "I")  # grey values of 16 bits
_DEEPER = 257  # of these make one of 8 bits
_GREY = ("1", "L", "LA")


def could_be_transparent(image: Image.Image) -> bool:
    """Whether an image has a channel for it, a palette with one, or a colour that is clear."""
    tinted = image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA"
    return tinted or "A" in image.getbands() or "transparency" in image.info


def alpha_of(image: Image.Image) -> Image.Image | None:
    """How much of each pixel is seen, 0 to 255, or None where all of each is."""
    if not could_be_transparent(image):
        return None
    if image.mode in _DEEP:
        clear = np.asarray(image) == image.info["transparency"]
        alpha = Image.fromarray(np.where(clear, 0, _OPAQUE).astype(np.uint8))
    else:
        alpha = (image if "A" in image.getbands() else image.convert("RGBA")).getchannel("A")
    return None if alpha.getextrema()[0] == _OPAQUE else alpha


def seen_luminance(image: Image.Image) -> float | None:
    """The mean, 0 to 255, of what is seen of a transparent image, each pixel by how much of it is; nan where nothing
    is, None for an image that is not transparent."""
    alpha = alpha_of(image)
    if alpha is None:
        return None
    weights = np.asarray(alpha)
    if not weights.any():
        return math.nan
    values = np.asarray(image) / _DEEPER if image.mode in _DEEP else np.asarray(_without_alpha(image, "L"))
    return float(np.average(values, weights=weights))


def on_ground(image: Image.Image, ground: str) -> Image.Image:
    """The image as it is seen on a ground (white, black or #rrggbb): grey where both are, and as it is where it could
    not be transparent. Of values of 16 bits, which are grey, the ground is as bright."""
    if not could_be_transparent(image):
        return image
    alpha, colour = alpha_of(image), ImageColor.getrgb(ground)[:3]
    if image.mode in _DEEP:
        values, level = np.asarray(image), round(_DEEPER * np.dot(colour, (0.299, 0.587, 0.114)))
        if alpha is None:
            return image
        return Image.fromarray(np.where(np.asarray(alpha), values, level).astype(values.dtype))
    is_grey = image.mode in _GREY and len(set(colour)) == 1
    plain = _without_alpha(image, "L" if is_grey else "RGB")
    if alpha is None:
        return plain
    shown = Image.new(plain.mode, plain.size, colour[0] if is_grey else colour)
    shown.paste(plain, mask=alpha)
    return shown


def _without_alpha(image: Image.Image, mode: str) -> Image.Image:
    """In L or RGB, with the colours that clear pixels have beneath."""
    return (image.convert("RGBA") if "P" in image.mode else image).convert(mode)
