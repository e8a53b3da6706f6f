"""How much memory and arithmetic a piece of torch's work takes, on any device: on `meta` nothing is allocated."""

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Use(NamedTuple):
    """What a piece of work takes."""

    num_bytes: int = 0
    """Bytes of tensors that it made, at most at a time; what kernels use beside them is not seen."""
    flops: float = 0.0
    """Floating-point operations of matrix products and convolutions, forward and backward."""


class Meter(TorchDispatchMode):
    """Follows every operation and every storage while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0.0
        self.live_bytes = self.peak_bytes = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **kwargs, out_val=result)
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.untyped_storage() not in self._known:
                self._add(value.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        num_bytes = storage.nbytes()
        self._known.add(storage)
        self.live_bytes += num_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._forget, num_bytes)

    def _forget(self, num_bytes: int) -> None:
        self.live_bytes -= num_bytes


def used(work: Callable[[], object]) -> Use:
    """What the work takes."""
    with Meter() as meter:
        work()
    return Use(meter.peak_bytes, meter.flops)
