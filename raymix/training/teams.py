"""Several processes that train one network together: each computes the gradient of its part of every batch.

The parts are summed in their order by everybody, so that all have the same bits, and one process that computes all
parts by itself has them too.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol, Self

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from raymix.errors import WorkerLostError

Gradient = Callable[[int], Tensor]
"""Part of a batch -> its gradient, flat."""


class Team(Protocol):
    """Who computes the parts of a batch."""

    parts: int

    def summed(self, gradient: Gradient) -> Tensor:
        """The sum of all parts' gradients."""
        ...


class Alone:
    """One process computes all parts."""

    def __init__(self, parts: int) -> None:
        self.parts = parts

    def summed(self, gradient: Gradient) -> Tensor:
        return in_order([gradient(part) for part in range(self.parts)])


class Together:
    """A process for each part, connected by torch's collectives: gloo, or NCCL between GPUs."""

    def __init__(self, rank: int, parts: int, host: str, port: int, name: str, device: torch.device, wait_s: float):
        """`host`, `port`: of a `TCPStore` that rank 0 holds; `name` tells this meeting from others there. Raises
        `WorkerLostError` when not all come within `wait_s` seconds."""
        self.rank, self.parts = rank, parts
        timeout = timedelta(seconds=wait_s)
        try:
            store = PrefixStore(name, TCPStore(host, port, is_master=False, timeout=timeout))
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=store, rank=rank, world_size=parts, timeout=timeout)
        except RuntimeError as error:
            raise lost(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        dist.destroy_process_group()

    def summed(self, gradient: Gradient) -> Tensor:
        own = gradient(self.rank)
        parts = [torch.empty_like(own) for _ in range(self.parts)]
        try:
            dist.all_gather(parts, own)
        except RuntimeError as error:
            raise lost(error) from None
        return in_order(parts)


def in_order(parts: list[Tensor]) -> Tensor:
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total


def lost(error: RuntimeError) -> WorkerLostError:
    return WorkerLostError(f"one of a team is gone ({str(error).splitlines()[0]})", "the shared trunk", "")
