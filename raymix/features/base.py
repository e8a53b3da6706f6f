"""What turns images into features, and what images of a data set become before they enter a network.

Shapes: n images of a call, B of a batch, (C, H, W) of an image, D features.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raymix.cache import tensors_hash
from raymix.config import DataConfig
from raymix.data.open import open_source
from raymix.data.scan import scaling, scan
from raymix.data.source import DataSpec, Source
from raymix.errors import DataError

BATCH_BYTES = 2**24  # of a batch's float32 values, unless a network asks for less
CPU = torch.device("cpu")
FEW = 1000  # first rows, which tell the range of bytes

Progress = Callable[[int, int], None]
"""Told how many steps are done, of how many."""


def ignore_progress(done: int, total: int) -> None:
    """For callers who do not watch."""


@dataclass(frozen=True)
class Features:
    """A network that turns images into features."""

    name: str
    """classifier, inception or pixels."""
    definition: str
    """One sentence: network, layer, what it was trained on, how well it does."""
    num_features: int
    row_shape: tuple[int, ...]
    """(C, H, W) of the images it takes."""
    network: nn.Module
    """(B, C, H, W) float32 in data units -> (B, D)."""
    device: torch.device = CPU
    batch_size: int = 512
    count: Callable[[int], None] = lambda batches: None
    """Told of each batch: a sign of life."""

    @property
    def hash(self) -> str:
        """Identity: what is computed, with which weights."""
        return tensors_hash(arrays_of(self.network), self.name, self.definition)

    def __call__(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """(n, D) features of images (n, C, H, W) in data units. Raises `DataError` for another shape."""
        if rows.shape[1:] != self.row_shape:
            what = f"have shape {rows.shape}, the network takes (n, {', '.join(map(str, self.row_shape))})"
            raise DataError(what, f"rows for {self.name} features", "give images of the data set it was made for")
        out = np.empty((len(rows), self.num_features), np.float32)
        size = max(1, min(self.batch_size, BATCH_BYTES // (4 * math.prod(self.row_shape))))
        self.network.to(self.device).eval()
        with torch.inference_mode():
            for start in range(0, len(rows), size):
                batch = torch.from_numpy(rows[start : start + size].astype(np.float32)).to(self.device)
                out[start : start + size] = self.network(batch).cpu().numpy()
                self.count(1)
        return out


class ToUnit(nn.Module):
    """Data units -> [0, 1] over the range of the data set; channels innermost in memory, as convolutions like it."""

    offset: Tensor
    scale: Tensor

    def __init__(self, offset: float = 0.0, scale: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("offset", torch.tensor([offset]))
        self.register_buffer("scale", torch.tensor([scale]))

    def forward(self, images: Tensor) -> Tensor:
        return ((images - self.offset) * self.scale).contiguous(memory_format=torch.channels_last)


def as_it_comes(data: DataConfig, num_rows: int | None = None) -> DataConfig:
    """The set without what a run leaves out of it, or its first rows."""
    return data.model_copy(update={"num_rows": num_rows, "holdout": 0.0})


def whole_set(data: DataConfig) -> Source:
    """All training rows of the set, whatever a run takes of them. Raises `DataError` for rows that are no images."""
    source = open_source(as_it_comes(data))
    if not source.spec.is_image:
        what = f"has rows of shape {source.spec.row_shape}, features are made of images"
        raise DataError(what, source.spec.name, "measure vectors as they are")
    return source


def to_unit(data: DataConfig, spec: DataSpec) -> ToUnit:
    """What brings the set's images to [0, 1], by the set's own range and not by the scale models train at."""
    if spec.dtype == "uint8":  # the first rows tell, unless none of them exceeds 1
        few = scan(open_source(as_it_comes(data, min(FEW, spec.num_rows))), data.block_bytes)
        if few.maximum > 1:
            return _unit_of(scaling(few))
    return _unit_of(scaling(scan(whole_set(data), data.block_bytes)))


def _unit_of(constants: tuple[tuple[float, ...], tuple[float, ...]]) -> ToUnit:
    (offset,), (scale,) = constants
    return ToUnit(offset, scale)


def arrays_of(network: nn.Module) -> dict[str, NDArray[np.generic]]:
    """A network's parameters and buffers as they are, on the CPU."""
    return {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
