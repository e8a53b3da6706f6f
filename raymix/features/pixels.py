"""Raw pixels as features, for small images."""

import math

import torch
from torch import nn

from raymix.config import DataConfig
from raymix.errors import DataError
from raymix.features.base import Features, to_unit, whole_set


def pixels(data: DataConfig, device: torch.device | str = "cpu") -> Features:
    """The values of an image in [0, 1], D = C * H * W.

    Raises `DataError` for rows that are no images, or sets with no more rows than an image has values (no covariance
    could be fitted).
    """
    spec = whole_set(data).spec
    num = math.prod(spec.row_shape)
    if num >= spec.num_rows:
        what = f"{spec.num_rows} images of {num} values are too few for pixels as features"
        raise DataError(what, spec.name, "take a classifier's features")
    network = nn.Sequential(to_unit(data, spec), nn.Flatten())
    definition = f"pixels: the {num} values of an image of {spec.name}, in [0, 1]"
    return Features("pixels", definition, num, spec.row_shape, network, torch.device(device))
