"""The degenerate generator of Lemma 2 (Locatello et al.): a point mu that reproduces itself.

    log p(x) = -||x - mu||^2 / 2 + const         in float64

With this log-density in the discriminators' place and without normalisation or balance, Algorithm 1 is k-means.
"""

from collections.abc import Iterable
from typing import Literal, Self

import torch
from torch import Tensor
from torch.optim import Optimizer

from raymix.config import FamilyConfig
from raymix.data.source import DataSpec
from raymix.errors import ConfigError
from raymix.models.base import Generator


class CentroidConfig(FamilyConfig, extra="forbid"):
    """A centroid."""

    family: Literal["centroid"] = "centroid"
    """This family."""
    centres: tuple[tuple[float, ...], ...] | None = None
    """Where each component starts, in scaled units; unset: at a row drawn at random."""

    def resolved(self, spec: DataSpec) -> Self:
        columns = 1
        for side in spec.row_shape:
            columns *= side
        if self.centres is not None and any(len(centre) != columns for centre in self.centres):
            raise ConfigError(f"every centre needs {columns} numbers", "model.centres", "match the data's columns")
        return self


class Centroid(Generator):
    """One centroid over rows of one shape."""

    dtype = torch.float64

    def __init__(self, config: CentroidConfig, row_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.config = config
        self.mu: Tensor
        self.register_buffer("mu", torch.zeros(row_shape, dtype=torch.float64))

    def optimisers(self) -> dict[str, Optimizer]:
        return {}

    def initialise(self, rows: Tensor, component: int) -> None:
        if self.config.centres is None:
            self.mu.copy_(rows[0])
        elif component < len(self.config.centres):
            self.mu.copy_(torch.tensor(self.config.centres[component], dtype=torch.float64).reshape(self.mu.shape))
        else:
            raise ConfigError(f"no centre for component {component}", "model.centres", "give one per component")

    def fit(self, batches: Iterable[Tensor]) -> float:
        total, squares, num = torch.zeros_like(self.mu), 0.0, 0
        for rows in batches:
            total += rows.sum(0)
            squares += float(rows.square().sum())
            num += len(rows)
        if num == 0:
            return float("nan")
        self.mu.copy_(total / num)
        return 0.5 * (squares / num - float(self.mu.square().sum()))

    def log_density(self, rows: Tensor) -> Tensor:
        return -0.5 * (rows - self.mu).flatten(1).square().sum(1)

    def sample(self, num: int, noise: torch.Generator) -> Tensor:
        return self.mu.expand(num, *self.mu.shape).clone()
