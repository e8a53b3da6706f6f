"""Features of pytorch-fid's InceptionV3, with which published FIDs are computed.

The network is pytorch-fid's; it is assembled here because pytorch-fid's own constructor downloads its weights and
unpickles them without restrictions.

Shapes: B images of a batch, D features.
"""

from pathlib import Path
from typing import Any

import torch
from pytorch_fid.inception import FID_WEIGHTS_URL, FIDInceptionA, FIDInceptionC, FIDInceptionE_1, FIDInceptionE_2
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models import inception_v3
from torchvision.models.feature_extraction import create_feature_extractor

from raymix.cache import tensors_hash
from raymix.config import DataConfig
from raymix.data.faults import reading
from raymix.errors import ConfigError, DataError
from raymix.features.base import Features, ToUnit, arrays_of, to_unit, whole_set
from raymix.models.seeded import seeded_build

SIDE = 299
BATCH = 32
LAYERS = {64: "maxpool1", 192: "maxpool2", 768: "Mixed_6e", 2048: "avgpool"}
"""By number of features: the layer, as torchvision names it."""


def inception(
    data: DataConfig, device: torch.device | str = "cpu", *, weights: Path | str | None = None, dims: int = 2048
) -> Features:
    """The mean over the image of one layer's outputs; 2048 is the last pooling (pool3), the one that FID means.

    `weights`: a file of pytorch-fid's weights, .pth or .safetensors; where it is not given, the one that pytorch-fid
    keeps in torch's cache. Images become what an image file would hold: the range of the data set in 256 steps, one
    channel repeated to three. Raises `DataError` for rows that are no images and for weights that are absent or do not
    fit, `ConfigError` for other `dims`.
    """
    if dims not in LAYERS:
        raise ConfigError(f"is {dims}", "dims", f"choose one of {', '.join(map(str, LAYERS))}")
    spec = whole_set(data).spec
    path = Path(weights) if weights is not None else usual_weights()
    if weights is None and not path.is_file():
        todo = f"put the file of {FID_WEIGHTS_URL} there, or name yours"
        raise DataError("Inception's weights are not there", str(path), todo)
    whole = seeded_build(lambda: fid_inception(path), 0)  # draws parameters before it reads its own
    told = tensors_hash(arrays_of(whole))
    network = Inception(to_unit(data, spec), whole, LAYERS[dims])
    layer = f"the {dims} outputs of {LAYERS[dims]}, averaged over the image"
    definition = f"inception: {layer}, of pytorch-fid's InceptionV3 with weights {told}"
    return Features("inception", definition, dims, spec.row_shape, network, torch.device(device), BATCH)


class Inception(nn.Module):
    """Images in data units -> features."""

    def __init__(self, unit: ToUnit, whole: nn.Module, layer: str) -> None:
        super().__init__()
        self.unit = unit
        self.layers = create_feature_extractor(whole.eval(), {layer: "outputs"})

    def forward(self, images: Tensor) -> Tensor:
        images = (self.unit(images) * 255).round().clamp(0, 255) / 255
        images = images.expand(-1, 3, -1, -1)
        images = F.interpolate(images, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        outputs: Tensor = self.layers(2 * images - 1)["outputs"]
        return F.adaptive_avg_pool2d(outputs, 1).flatten(1)


def usual_weights() -> Path:
    """Where pytorch-fid keeps its weights once it has downloaded them."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(FID_WEIGHTS_URL).name


def fid_inception(path: Path) -> nn.Module:
    """The whole network (`fid_inception_v3` of pytorch-fid) with the weights of a file. Raises `DataError`."""
    network: nn.Module = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    network.Mixed_5b = FIDInceptionA(192, pool_features=32)
    network.Mixed_5c = FIDInceptionA(256, pool_features=64)
    network.Mixed_5d = FIDInceptionA(288, pool_features=64)
    network.Mixed_6b = FIDInceptionC(768, channels_7x7=128)
    network.Mixed_6c = FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6d = FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6e = FIDInceptionC(768, channels_7x7=192)
    network.Mixed_7b = FIDInceptionE_1(1280)
    network.Mixed_7c = FIDInceptionE_2(2048)
    with reading(path, "weights of pytorch-fid's Inception", f"take the file of {FID_WEIGHTS_URL}"):
        network.load_state_dict(_read(path))
    return network.requires_grad_(False)


def _read(path: Path) -> dict[str, Any]:
    """Named tensors. Nothing but tensors is built from the file."""
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    return dict(torch.load(path, map_location="cpu", weights_only=True))
