"""The contract between a family of generators and the rest of raymix.

A generator is a torch module that works in scaled units: it owns its networks and its optimisers, makes one `update`
from a batch, and samples. What else it can do is declared by the small protocols below; nobody asks for its family.

Shapes: B rows of a batch, (B, *row_shape).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer


class Generator(nn.Module, ABC):
    """One generator g_k. Randomness is always an argument."""

    dtype: torch.dtype = torch.float32
    """Type of the rows it takes and gives."""

    @abstractmethod
    def sample(self, num: int, noise: torch.Generator) -> Tensor:
        """`num` rows, (num, *row_shape), in scaled units."""

    @abstractmethod
    def optimisers(self) -> dict[str, Optimizer]:
        """Its optimisers by name; their state is part of the component's."""


@runtime_checkable
class Updates(Protocol):
    """Learns by optimiser steps; an adversarial family alternates its networks inside one update."""

    def update(self, rows: Tensor, noise: torch.Generator) -> Tensor:
        """Make one step on a batch and return its loss, a detached scalar."""
        ...


@runtime_checkable
class ClosedForm(Protocol):
    """Learns its shard exactly, in one pass."""

    def fit(self, batches: Iterable[Tensor]) -> float:
        """Fit all rows of the shard and return the mean loss over them."""
        ...


@runtime_checkable
class LogDensity(Protocol):
    """Knows its own log-density, up to a constant that all components share."""

    def log_density(self, rows: Tensor) -> Tensor:
        """(B,) in nats."""
        ...


@runtime_checkable
class DataInitialised(Protocol):
    """Takes its first state from rows of the data set."""

    def initialise(self, rows: Tensor, component: int) -> None:
        """`rows` are a few drawn at random for this component."""
        ...


class GradientGenerator(Generator):
    """A generator with one loss and one Adam."""

    def __init__(self) -> None:
        super().__init__()
        self._optimiser: Optimizer | None = None

    @abstractmethod
    def loss(self, rows: Tensor, noise: torch.Generator) -> Tensor:
        """Mean loss over a batch, in nats per row."""

    @abstractmethod
    def make_optimiser(self) -> Optimizer:
        """The optimiser over all parameters."""

    def optimisers(self) -> dict[str, Optimizer]:
        if self._optimiser is None:
            self._optimiser = self.make_optimiser()
        return {"adam": self._optimiser}

    def update(self, rows: Tensor, noise: torch.Generator) -> Tensor:
        optimiser = self.optimisers()["adam"]
        loss = self.loss(rows, noise)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.detach()


def adam(parameters: Iterable[nn.Parameter], learning_rate: float, beta1: float, beta2: float) -> Adam:
    """Adam in its fused form, which is the fastest on every device and differs from the plain one in rounding only."""
    return Adam(parameters, lr=learning_rate, betas=(beta1, beta2), fused=True)
