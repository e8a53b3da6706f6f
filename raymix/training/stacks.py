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
from raymix.training.replay import Replays

Tensors = dict[str, NDArray[np.generic]]
Arrays = Mapping[str, NDArray[np.generic]]
Network = TypeVar("Network", bound=StackedModule)


class Stack(Generic[Network]):
    """Members of one module, known by keys (components, or whatever the caller counts by)."""

    def __init__(self, keys: Sequence[int], network: Network, replays: Replays | None = None) -> None:
        """With `replays` the network stays where it is as long as the stack lives."""
        self.keys, self.network = tuple(keys), network
        self.replays = replays or Replays()
        self._room: dict[str, Tensor] = {}
        self._rooms: dict[int, Network] = {}
        """Networks of the first so many members of the room."""

    @classmethod
    def of(cls, members: Mapping[int, Network], replays: Replays | None = None) -> Self:
        """Join networks of one member each."""
        first, *rest = members.values()
        if not rest:
            return cls(tuple(members), first, replays)
        named = [network.tensors() for network in members.values()]
        joined = changed(first, lambda name, _: torch.cat([each[name] for each in named]))
        return cls(tuple(members), joined, replays)

    def only(self, keys: Sequence[int]) -> Self:
        """A stack of some members, copied; itself when that is all of them."""
        if tuple(keys) == self.keys:
            return self
        rows = [self.keys.index(key) for key in keys]
        return type(self)(keys, changed(self.network, lambda _, value: value[rows]))

    def left(self, keys: Sequence[int]) -> Self:
        """As `only`, for those who go on while others are done. Where steps are replayed they have one place to go on
        in, so that a step of so many members is captured once; a later call takes that place over."""
        if not self.replays or tuple(keys) == self.keys:
            return self.only(keys)
        num, rows = len(keys), [self.keys.index(key) for key in keys]
        if not self._room:
            self._room = {name: torch.empty_like(value) for name, value in places(self.network).items()}
        if num not in self._rooms:
            self._rooms[num] = changed(self.network, lambda name, _: self._room[name][:num])
        network, values = self._rooms[num], places(self.network)
        with torch.no_grad():
            for name, place in places(network).items():
                place.copy_(values[name][rows])
        network.refresh()
        network.train(self.network.training)
        return type(self)(keys, network, self.replays)

    def copy(self) -> Self:
        """Another stack with the same tensors."""
        return type(self)(self.keys, changed(self.network, lambda _, value: value.clone()))

    def put(self, others: Any) -> None:
        """Take over the members of a stack that `only` gave, or of any with such keys."""
        if others is self:
            return
        assert isinstance(others, Stack)
        rows, news = [self.keys.index(key) for key in others.keys], others.network.tensors()
        for name, value in self.network.tensors().items():
            value[rows] = news[name].to(value.device)
        self.network.refresh()

    def state(self, key: int) -> Tensors:
        """Copies of a member's tensors under canonical names."""
        m = self.keys.index(key)
        return {name: value[m].cpu().numpy().copy() for name, value in self.network.tensors().items()}

    def load(self, key: int, arrays: Arrays) -> None:
        """Put what `state` gave into a member."""
        m = self.keys.index(key)
        for name, value in self.network.tensors().items():
            value[m] = from_array(arrays[name]).to(value.device)
        self.network.refresh()

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
        if not self.replays:
            return self.network.update(rows, noise)
        names = tuple(self.network.units)

        def step(noise: Noise, rows: Tensor) -> Tensor:
            terms = self.network.update(rows, noise)
            return torch.stack([terms[name] for name in names])

        return dict(zip(names, self.replays("a step", self.network, step, noise, rows), strict=True))

    def sample(self, num: int, noise: Noise) -> Tensor:
        """(M, num, *row_shape) in scaled units."""
        name = f"sampling of {num} rows"
        return self.replays(name, self.network, lambda noise: self.network.sample(num, noise), noise)


def changed(network: Network, change: Callable[[str, Tensor], Tensor]) -> Network:
    """A copy of a network whose tensors are what `change` makes of each (new memory), with other members maybe."""
    other = copy.deepcopy(network)
    for name, value in places(other).items():
        value.data = change(name, value.detach())
    return other


def places(network: StackedModule) -> dict[str, Tensor]:
    """As its `tensors`, but what holds them: parameters and buffers, of which a state has views."""
    homes = {f"network/{name}": value for name, value in (*network.named_parameters(), *network.named_buffers())}
    return network.tensors() | homes


def from_array(value: NDArray[np.generic]) -> Tensor:
    """In torch's own memory."""
    return torch.from_numpy(np.array(value, order="C"))  # arrays from the object store are read-only
