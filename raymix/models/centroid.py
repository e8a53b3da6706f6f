"""The degenerate generator of Lemma 2 (Locatello et al.): a point mu that reproduces itself.

    log p(x) = -||x - mu||^2 / 2 + const         in float64

With this log-density in the discriminators' place and without normalisation or balance, Algorithm 1 is k-means.

Shapes: M members, B rows.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from raymix.errors import ConfigError
from raymix.families.centroid import CentroidConfig
from raymix.models.base import Noise, StackedGenerator
from raymix.models.optimisers import Optimiser


class Centroid(StackedGenerator):
    """Centroids over rows of one shape."""

    dtype = torch.float64
    units = {"distance": "half squared distance per row"}  # noqa: RUF012
    mu: Tensor

    def __init__(self, config: CentroidConfig, row_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mu", torch.zeros((1, *row_shape), dtype=torch.float64))

    def make_optimisers(self) -> dict[str, Optimiser]:
        return {}

    def initialise(self, rows: Tensor, component: int) -> None:
        if self.config.centres is None:
            self.mu.copy_(rows)
        elif component < len(self.config.centres):
            self.mu.copy_(torch.tensor(self.config.centres[component], dtype=torch.float64).reshape(self.mu.shape))
        else:
            raise ConfigError(f"no centre for component {component}", "model.centres", "give one per component")

    def fit(self, member: int, batches: Iterable[Tensor]) -> dict[str, float]:
        mu = self.mu[member]
        total, squares, num = torch.zeros_like(mu), 0.0, 0
        for rows in batches:
            total += rows.sum(0)
            squares += float(rows.square().sum())
            num += len(rows)
        mu.copy_(total / num)
        return {"distance": 0.5 * (squares / num - float(mu.square().sum()))}

    def log_density(self, rows: Tensor) -> Tensor:
        return -0.5 * (rows - self.mu.unsqueeze(1)).flatten(2).square().sum(2)

    def sample(self, num: int, noise: Noise) -> Tensor:
        return self.mu.unsqueeze(1).repeat(1, num, *[1] * (self.mu.dim() - 1))
