"""Several processes that train one network together: each computes the gradient of its part of every batch.

The parts are summed in their order by everybody, so that all have the same bits, and one process that computes all
parts by itself has them too: one after another where a part needs nothing of the others before its gradient is there
(`Alone`), else in threads (`abreast`).
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from raymix.errors import WorkerLostError
from raymix.models.base import StackedModule
from raymix.models.optimisers import Optimiser
from raymix.models.parts import Colleague, Part, in_order
from raymix.models.stacked import BatchNorm

Gradient = Callable[[int], Tensor]
"""Part of a batch -> its gradient, flat."""
Result = TypeVar("Result")


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


class Together(Colleague):
    """A process for each part, connected by torch's collectives: gloo, or NCCL between GPUs."""

    def __init__(self, rank: int, parts: int, host: str, port: int, name: str, device: torch.device, wait_s: float):
        """`host`, `port`: of a `TCPStore` that rank 0 holds; `name` tells this meeting from others there. Raises
        `WorkerLostError` when not all come within `wait_s` seconds."""
        super().__init__(rank, parts)
        self.name, timeout = name, timedelta(seconds=wait_s)
        try:
            store = PrefixStore(name, TCPStore(host, port, is_master=False, timeout=timeout))
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=store, rank=rank, world_size=parts, timeout=timeout)
        except RuntimeError as error:
            raise lost(error, name) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        dist.destroy_process_group()

    def gathered(self, own: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(own) for _ in range(self.parts)]
        try:
            dist.all_gather(parts, own)
        except RuntimeError as error:
            raise lost(error, self.name) from None
        return parts


def lost(error: RuntimeError, name: str) -> WorkerLostError:
    return WorkerLostError(f"one of a team is gone ({str(error).splitlines()[0]})", name, "")


class Beside(Colleague):
    """A thread for each part."""

    def __init__(self, rank: int, desk: list[Tensor | None], barrier: threading.Barrier) -> None:
        super().__init__(rank, len(desk))
        self.desk, self.barrier = desk, barrier

    def gathered(self, own: Tensor) -> list[Tensor]:
        self.desk[self.rank] = own
        self.barrier.wait()
        laid = [each for each in self.desk if each is not None]
        self.barrier.wait()  # nobody lays down the next before all have seen these
        return laid


def abreast(parts: int, work: Callable[[Colleague], Result]) -> list[Result]:
    """What `work` gives for each of so many, who keep step in threads of this process. Raises what the first one
    raised; the others end where they would next wait for it."""
    desk: list[Tensor | None] = [None] * parts
    barrier = threading.Barrier(parts)

    def one(rank: int) -> Result:
        try:
            # a GPU's gradients have one thread for all, in which they could not wait for each other
            with torch.autograd.set_multithreading_enabled(False):
                return work(Beside(rank, desk, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(parts) as pool:
        try:
            asked = [pool.submit(one, rank) for rank in range(parts)]
            wait(asked)
        except BaseException:  # interrupted
            barrier.abort()
            raise
    errors = [error for each in asked if (error := each.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [each.result() for each in asked]


@contextmanager
def joined(network: StackedModule, part: Part) -> Iterator[None]:
    """Inside, a network learns from its part of each batch together with those who have the others."""
    places: list[Optimiser | BatchNorm] = [layer for layer in network.modules() if isinstance(layer, BatchNorm)]
    places += network.optimisers().values()
    try:
        for place in places:
            place.part = part
        yield
    finally:
        for place in places:
            place.part = None
