"""The contract between a family of generators and the rest of raymix.

A family is a stacked module: its tensors, and those of its optimisers, have a leading axis of members, so that the
components of a pack train as one model (`raymix.models.stacked` has such layers). It works in scaled units, makes one
`update` from a batch, samples, and names the terms of its losses with their units. Randomness is always an argument.

What else a family can do is declared by the small protocols below; nobody asks for its name.

Shapes: M members of a stack, B rows of a batch, (M, B, *row_shape), Z latent, C categories.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from raymix.models.optimisers import Optimiser

Terms = dict[str, Tensor]
"""The parts of what networks descend on, by name, (M,) each."""


class Noise(Protocol):
    """Each member's own random numbers.

    In an update a shape begins with the number of the batch's rows, so that each of several workers can be given the
    numbers of its own.
    """

    def normal(self, *shape: int) -> Tensor:
        """(M, *shape) of the standard normal distribution; a member's do not depend on the others."""
        ...

    def uniform(self, *shape: int) -> Tensor:
        """(M, *shape) strictly between 0 and 1, so that their logarithms are finite."""
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
            with torch.inference_mode(False):  # whoever asks first
                self._optimisers = self.make_optimisers()
        return self._optimisers

    def tensors(self) -> dict[str, Tensor]:
        """Everything it and its optimisers remember, each (M, ...), under canonical names; no copies."""
        named = {f"network/{name}": value for name, value in self.state_dict().items()}
        for label, optimiser in self.optimisers().items():
            named |= {f"optimiser/{label}/{name}": value for name, value in optimiser.tensors().items()}
        return named

    def refresh(self) -> None:
        """To be called after `tensors` were changed from outside."""
        for optimiser in self.optimisers().values():
            optimiser.refresh()


class StackedGenerator(StackedModule):
    """Generators g_k of one family as one module."""

    dtype: torch.dtype = torch.float32
    """Type of the rows it takes and gives."""

    means_over_rows: ClassVar[bool] = True
    """Whether terms are means over the rows of a batch, so that several workers can each compute a part of it; False
    where rows are compared with each other."""

    units: Mapping[str, str]
    """The units of its terms by name ("" for none), in the order in which they are told; the first one speaks for the
    training as a whole."""

    @property
    def batches(self) -> int:
        """Batches of rows that one update takes, one after another along its second axis."""
        return 1

    def update(self, rows: Tensor, noise: Noise) -> Terms:
        """Make one step of every member on its own rows, (M, batches * B, *row_shape), and return the terms that
        `units` names, detached. An adversarial family alternates its networks inside. A family in `ClosedForm` takes no
        steps and leaves this out."""
        raise AssertionError(f"{type(self).__name__} takes no steps")

    @abstractmethod
    def sample(self, num: int, noise: Noise) -> Tensor:
        """`num` rows of each member, (M, num, *row_shape), in scaled units."""


@runtime_checkable
class ClosedForm(Protocol):
    """Learns its shard exactly, in one pass, instead of by updates."""

    def fit(self, member: int, batches: Iterable[Tensor]) -> dict[str, float]:
        """Fit one member to all rows of its shard, (B, *row_shape) each, and return its terms, means over them."""
        ...


@runtime_checkable
class LogDensity(Protocol):
    """Knows its own log-density, up to a constant that all components share."""

    def log_density(self, rows: Tensor) -> Tensor:
        """(M, B, *row_shape) -> (M, B), in nats."""
        ...


@runtime_checkable
class DataInitialised(Protocol):
    """Takes its first state from rows of the data set."""

    def initialise(self, rows: Tensor, component: int) -> None:
        """`rows` (B, *row_shape) are a few drawn at random for this component, the module's only member."""
        ...


@runtime_checkable
class Decodes(Protocol):
    """Turns points of a latent space into rows: members of a stack can be walked through."""

    @property
    def latent(self) -> int:
        """Dimensions of the latent space."""
        ...

    def prior(self, num: int, noise: Noise) -> Tensor:
        """(M, num, Z) points as samples begin with them."""
        ...

    def decode(self, latents_MBZ: Tensor) -> Tensor:
        """(M, B, Z) -> (M, B, *row_shape): the mean of the likelihood, in scaled units."""
        ...


@runtime_checkable
class Encodes(Protocol):
    """Finds the latent of a row."""

    def encode(self, rows: Tensor) -> Tensor:
        """(M, B, *row_shape) -> (M, B, Z): where q(z|x) has its mean."""
        ...


@runtime_checkable
class Bounds(Protocol):
    """Knows how likely rows are at least: log p(x) >= E_q [log p(x, z) - log q(z|x)], in nats per row of scaled
    units."""

    def bound(self, rows: Tensor, noise: Noise) -> Tensor:
        """(M, B) the right side from one draw of z, with in closed form what has one."""
        ...

    def log_weights(self, rows: Tensor, noise: Noise) -> Tensor:
        """(M, B) log p(x, z) - log q(z|x) of one draw of z ~ q(z|x): the log-mean-exp of many comes near log p(x)
        (importance sampling, Burda et al. 2016)."""
        ...


@runtime_checkable
class ComponentPosterior(Protocol):
    """Has categories inside one model."""

    def posterior(self, rows: Tensor) -> Tensor:
        """(M, B, *row_shape) -> (M, B, C) q(c|x); sums to 1."""
        ...


@runtime_checkable
class HasCritic(Protocol):
    """Learns against a critic of its own, whose loss is called "critic"."""

    def saturated(self, critic_loss: float) -> bool:
        """Whether a critic with such a mean loss tells real from fake so well that little is to be learned from it."""
        ...
