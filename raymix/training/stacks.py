"""Components that train together: how they are joined into one module, parted again, saved and loaded.

The state of a member is the same whoever it is stacked with: named NumPy arrays, the form of checkpoints and digests.
Names: `network/<state_dict name>`, `optimiser/<its name>/<parameter>/<moment>`, `optimiser/<its name>/learning_rate`.

Shapes: M members, B rows.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raymix.models.base import Noise, StackedGenerator, StackedModule, Terms

Tensors = dict[str, NDArray[np.generic]]
Arrays = Mapping[str, NDArray[np.generic]]
Network = TypeVar("Network", bound=StackedModule)


class Stack(Generic[Network]):
    """Members of one module, known by keys (components, or whatever the caller counts by)."""

    def __init__(self, keys: Sequence[int], network: Network) -> None:
        self.keys, self.network = tuple(keys), network

    @classmethod
    def of(cls, members: Mapping[int, Network]) -> Self:
        """Join networks of one member each."""
        first, *rest = members.values()
        if not rest:
            return cls(tuple(members), first)
        named = [tensors_of(network) for network in members.values()]
        return cls(tuple(members), changed(first, lambda name, _: torch.cat([each[name] for each in named])))

    def only(self, keys: Sequence[int]) -> Self:
        """A stack of some members, copied; itself when that is all of them."""
        if tuple(keys) == self.keys:
            return self
        rows = [self.keys.index(key) for key in keys]
        return type(self)(keys, changed(self.network, lambda _, value: value[rows]))

    def copy(self) -> Self:
        """Another stack with the same tensors."""
        return type(self)(self.keys, changed(self.network, lambda _, value: value.clone()))

    def put(self, others: Any) -> None:
        """Take over the members of a stack that `only` gave, or of any with such keys."""
        if others is self:
            return
        assert isinstance(others, Stack)
        rows, news = [self.keys.index(key) for key in others.keys], tensors_of(others.network)
        for name, value in tensors_of(self.network).items():
            value[rows] = news[name].to(value.device)
        refresh(self.network)

    def state(self, key: int) -> Tensors:
        """Copies of a member's tensors under canonical names."""
        m = self.keys.index(key)
        return {name: value[m].cpu().numpy().copy() for name, value in tensors_of(self.network).items()}

    def load(self, key: int, arrays: Arrays) -> None:
        """Put what `state` gave into a member."""
        m = self.keys.index(key)
        for name, value in tensors_of(self.network).items():
            value[m] = from_array(arrays[name]).to(value.device)
        refresh(self.network)

    def slow(self, key: int) -> None:
        """Halve a member's learning rates."""
        for optimiser in self.network.optimisers().values():
            optimiser.slow(self.keys.index(key))

    def not_finite(self) -> list[int]:
        """Members with a weight that is nan or infinite."""
        values = [*self.network.parameters(), *self.network.buffers()]
        sums_VM = torch.stack([value.detach().reshape(len(value), -1).sum(1, dtype=torch.float64) for value in values])
        return [self.keys[m] for m in torch.nonzero(~torch.isfinite(sums_VM.sum(0))).flatten().tolist()]


class GeneratorStack(Stack[StackedGenerator]):
    """Generators of one family."""

    def update(self, rows: Tensor, noise: Noise) -> Terms:
        """One step of every member on its rows; see `StackedGenerator.update`."""
        return self.network.update(rows, noise)

    def sample(self, num: int, noise: Noise) -> Tensor:
        """(M, num, *row_shape) in scaled units."""
        return self.network.sample(num, noise)


def tensors_of(network: StackedModule) -> dict[str, Tensor]:
    """Everything a stacked network and its optimisers remember, each (M, ...), under canonical names; no copies."""
    named = {f"network/{name}": value for name, value in network.state_dict().items()}
    for label, optimiser in network.optimisers().items():
        named |= {f"optimiser/{label}/{name}": value for name, value in optimiser.tensors().items()}
    return named


def changed(network: Network, change: Callable[[str, Tensor], Tensor]) -> Network:
    """A copy of a network whose tensors are what `change` makes of each (new memory), with other members maybe."""
    refresh(network)
    other = copy.deepcopy(network)
    homes = {f"network/{name}": value for name, value in (*other.named_parameters(), *other.named_buffers())}
    olds = tensors_of(other) | homes
    for name, value in olds.items():
        value.data = change(name, value.detach())
    return other


def refresh(network: StackedModule) -> None:
    """Let optimisers look at their tensors anew."""
    for optimiser in network.optimisers().values():
        optimiser.refresh()


def from_array(value: NDArray[np.generic]) -> Tensor:
    """In torch's own memory."""
    return torch.from_numpy(np.array(value, order="C"))  # arrays from the object store are read-only
