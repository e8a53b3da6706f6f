"""What a CUDA graph is on a GPU, for the CPU: the operations of some work as torch dispatched them, done again on the
same tensors, without Python's part of the work. What a graph refuses to capture, a tape refuses too."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

REFUSED = ("aten._local_scalar_dense", "aten.lift_fresh", "aten.nonzero")
"""To read a number waits for the device, and what Python makes would have to travel there."""


class Tape(TorchDispatchMode):
    """Work that was recorded while it was done; what it changed by that is put back."""

    def __init__(self, work: Callable[[], Tensor]) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor | None]]] = []
        self.before: dict[tuple[int, torch.Size], tuple[Tensor, Tensor]] = {}
        with self:
            self.output = work()
        with torch.no_grad():
            for value, old in reversed(self.before.values()):  # views of one tensor may differ in when they were seen
                value.copy_(old)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = str(func), kwargs or {}
        if name.startswith(REFUSED):
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if func._schema.is_mutable or "batch_norm" in name:
            for each in given:
                self.before.setdefault((each.data_ptr(), each.shape), (each, each.detach().clone()))
        result = func(*args, **kwargs)
        own = {each.untyped_storage().data_ptr() for each in given}
        made = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
        places = [None if each.untyped_storage().data_ptr() in own else each.detach() for each in made]
        self.calls.append((func, args, kwargs, places))
        return result

    def replay(self) -> None:
        with torch.no_grad():
            for func, args, kwargs, places in self.calls:
                results = [each for each in tree_leaves(func(*args, **kwargs)) if isinstance(each, Tensor)]
                for place, each in zip(places, results, strict=True):
                    if place is not None:
                        place.copy_(each)

    @staticmethod
    def warm_up(work: Callable[[], Tensor]) -> Tensor:
        return work()
