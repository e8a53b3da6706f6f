"""The contract between a family of generators and the rest of raymix.

A generator is a torch module that works in scaled units: it owns its networks and its optimisers, makes one `update`
from a batch, and samples. A family is one of two kinds:

- `Generator`: an ordinary module, one component. The members of a pack train one after another.
- `StackedGenerator`: a module whose tensors have a leading axis of members (see `raymix.models.stacked`), so that the
  members of a pack train as one model.

What else a family can do is declared by the small protocols below; nobody asks for its name.

Shapes: M members of a stack, B rows of a batch, (B, *row_shape), Z latent.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from raymix.models.optimisers import Optimiser


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


@runtime_checkable
class Decodes(Protocol):
    """Turns points of a latent space, where samples come from the standard normal distribution, into rows: members of a
    stack can be walked through."""

    @property
    def latent(self) -> int:
        """Dimensions of the latent space."""
        ...

    def decode(self, latents_MBZ: Tensor) -> Tensor:
        """(M, B, Z) -> (M, B, *row_shape): the mean of the likelihood, in scaled units."""
        ...


@runtime_checkable
class HasCritic(Protocol):
    """Learns against a critic of its own: `update` gives (M, 2), the generator's losses and the critic's."""

    def saturated(self, critic_loss: float) -> bool:
        """Whether a critic with such a mean loss tells real from fake so well that little is to be learned from it."""
        ...


class Noise(Protocol):
    """Each member's own random numbers."""

    def normal(self, *shape: int) -> Tensor:
        """(M, *shape) of the standard normal distribution; a member's do not depend on the others.

        In an update `shape` begins with the number of the batch's rows, so that each of several workers can be given
        the numbers of its own.
        """
        ...


class StackedModule(nn.Module, ABC):
    """A module with optimisers, built with one member: every tensor of both has a leading axis of members."""

    _optimisers: dict[str, Optimiser] | None = None

    @abstractmethod
    def make_optimisers(self) -> dict[str, Optimiser]:
        """Fresh optimisers over the present parameters, by name; their state is part of the members'."""

    def optimisers(self) -> dict[str, Optimiser]:
        """Its optimisers; made when they are first asked for, when the parameters are where they will stay."""
        if self._optimisers is None:
            self._optimisers = self.make_optimisers()
        return self._optimisers


class StackedGenerator(StackedModule):
    """Some generators of one family as one module. Randomness is always an argument."""

    dtype: torch.dtype = torch.float32
    """Type of the rows it takes and gives."""

    @property
    def batches(self) -> int:
        """Batches of rows that one update takes, one after another along its second axis."""
        return 1

    @abstractmethod
    def update(self, rows: Tensor, noise: Noise) -> Tensor:
        """Make one step of every member on its own rows, (M, batches * B, *row_shape), and return their losses, (M,),
        detached; (M, 2) of those that have a critic. Losses are means over the rows.

        An adversarial family alternates its networks inside one update.
        """

    @abstractmethod
    def sample(self, num: int, noise: Noise) -> Tensor:
        """`num` rows of each member, (M, num, *row_shape), in scaled units."""
