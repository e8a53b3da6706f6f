"""The processes that hold components: plain classes around the packs of `raymix.training`, made actors elsewhere.

torch is imported when an actor is constructed, not with this module, so that the coordinator stays light.
"""

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.errors import RaymixError, WorkerLostError
from raymix.runs.checkpoint import generator_name, write_states
from raymix.runtime import tasks
from raymix.runtime.actor_names import Name
from raymix.runtime.fetching import Fetcher, Pieces, Refs, piece_bounds, store_bytes
from raymix.runtime.logs import keep_log, telling, told
from raymix.seeds import Phase
from raymix.state import Fit
from raymix.storage import FileStamp, Storage

Meeting = tuple[str, int]
"""Host and port where a team meets."""


@dataclass(frozen=True)
class Process:
    """Where an actor is."""

    name: str
    pid: int
    node_ip: str


class Worker:
    """What generator and discriminator actors share: a setting, and steps counted for whoever watches."""

    def __init__(self, config_json: str, spec: DataSpec, name: Name | None = None) -> None:
        """An actor of a run has a name, and a log file of that name."""
        self.name = name
        if name:
            keep_log(name)
        self.config, self.spec = Config.model_validate_json(config_json), spec
        self.fetcher = Fetcher(self.config, spec, store_bytes(), self.count)
        self.steps = 0
        self.torn = False
        """Whether a phase ended in its middle, so that nobody may go on from these tensors."""
        self.done: tuple[str, int, list[Fit] | RaymixError] | None = None
        """The phase and round that the tensors come from, if any since they were loaded, and what came of it."""
        self._prepare()

    def _prepare(self) -> None:
        """Load what networks need."""
        from raymix.models.registry import close
        from raymix.training.setting import Setting

        self.setting = Setting.of(close(self.config), self.spec, use_gpu=bool(ray.get_gpu_ids()))

    def __repr__(self) -> str:
        """How Ray begins the lines that the actor prints, and shows it in its state."""
        return str(self.name) if self.name else type(self).__name__

    def once(self, phase: str, round: int, work: Callable[[], list[Fit]]) -> list[Fit]:
        """What a phase that changes tensors gives, or raises. Asked again it answers from memory, so that a round in
        which another worker was lost can be repeated."""
        if self.done is None or self.done[:2] != (phase, round):
            try:
                self.done = phase, round, work()
            except RaymixError as error:
                self.done = phase, round, error
            except RayError:  # rows that it was to see are lost
                self.torn = True
                raise
        result = self.done[2]
        if isinstance(result, RaymixError):
            raise result
        return result

    def count(self, steps: int) -> None:
        """A sign of life: steps, or other pieces of work, that were done."""
        self.steps += steps

    def states(self) -> dict[str, Any]:
        """The tensors of each network by file name."""
        raise NotImplementedError

    @told
    def write(self, storage: Storage, folder: str, home: str | None) -> dict[str, FileStamp]:
        """Save the tensors of each network; through the node `home` where that alone reaches the storage."""
        if home in (None, ray.get_runtime_context().get_node_id()):
            return write_states(storage, folder, self.states())
        there = tasks.write_states.options(scheduling_strategy=NodeAffinitySchedulingStrategy(home, soft=False))
        stamps: dict[str, FileStamp] = ray.get(there.remote(storage, folder, self.states()))
        return stamps

    def meeting_point(self) -> Meeting:
        """Where a team meets that this actor is the first of."""
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        host = ray.util.get_node_ip_address()
        server = socket.create_server((host, 0))  # on that address alone, where torch would listen on all
        port = int(server.getsockname()[1])
        # the store lives as long as this actor
        self.store = TCPStore(host, port, is_master=True, wait_for_workers=False, master_listen_fd=server.detach())
        return host, port

    def team(self, rank: int, parts: int, meeting: Meeting | None, name: str) -> AbstractContextManager[Any]:
        """Those who meet there to do one thing together, this actor as number `rank`; None where it is alone."""
        if meeting is None:
            return nullcontext()
        from raymix.training.teams import Together

        return Together(rank, parts, *meeting, name, self.setting.device, self.config.resources.stall_s)

    @ray.method(concurrency_group="watch")
    def progress(self) -> int:
        """Steps done since the start; answered from a second thread while a phase runs."""
        return self.steps

    @ray.method(concurrency_group="watch")
    def pid(self) -> int:
        """The number of this process; answered once the constructor has returned. Raises `WorkerLostError` when another
        has to take its place."""
        if self.torn:
            raise WorkerLostError("lost its rows in the middle of a phase", f"process {os.getpid()}")
        return os.getpid()

    @ray.method(concurrency_group="watch")
    def process(self, name: str) -> Process:
        """This actor's process, under a name that whoever asks gives it."""
        return Process(name, os.getpid(), ray.util.get_node_ip_address())


@telling
class GeneratorActor(Worker):
    """The generators of one pack."""

    def __init__(self, config_json: str, spec: DataSpec, components: Sequence[int], name: Name | None = None) -> None:
        super().__init__(config_json, spec, name)
        self.take(components)

    def take(self, components: Sequence[int]) -> None:
        """Hold these from now on; their tensors are still to be loaded."""
        from raymix.training.generators import GeneratorPack

        self.done = None
        self.pack = GeneratorPack(self.setting, components)

    def initialise(self, rows_B: Refs) -> None:
        self.done = None
        self.pack.initialise(self.fetcher.blocks(rows_B))

    def load(self, states: Mapping[str, Any]) -> None:
        self.done = None
        for k in self.pack.components:
            self.pack.load(k, states[generator_name(k)])

    def slow(self, component: int, round: int) -> None:
        if component in self.pack.components:
            self.pack.slow(component)

    def pretrain(
        self,
        steps: Mapping[int, int],
        rows_B: Refs,
        assigned_B: Refs,
        rank: int = 0,
        meeting: Meeting | None = None,
    ) -> list[Fit]:
        """`rank` and `meeting` as of `train`."""
        from raymix.training.shards import pretraining_rows

        blocks, assigned = self.fetcher.blocks(rows_B), self.fetcher.each(assigned_B)
        own = pretraining_rows(self.config, blocks, assigned, tuple(steps))
        return self.once("pre-train", 0, lambda: self._in_team(Phase.PRETRAIN, 0, own, steps, rank, meeting))

    def train(
        self,
        round: int,
        steps: Mapping[int, int],
        rows_B: Refs,
        assigned_B: Refs,
        rank: int = 0,
        meeting: Meeting | None = None,
    ) -> list[Fit]:
        """`meeting`: where those meet who train the component together, as number `rank` of them."""
        from raymix.training.shards import shards

        own = shards(self.fetcher.blocks(rows_B), self.fetcher.each(assigned_B), tuple(steps))
        return self.once("train", round, lambda: self._in_team(Phase.TRAIN_GENERATOR, round, own, steps, rank, meeting))

    def _in_team(
        self,
        phase: Phase,
        round: int,
        shards: Mapping[int, Any],
        steps: Mapping[int, int],
        rank: int,
        meeting: Meeting | None,
    ) -> list[Fit]:
        parts, name = self.config.resources.workers_per_component, f"component {min(steps)} in round {round}"
        with self.team(rank, parts, meeting, name) as team:
            return self.pack.train(phase, round, shards, steps, self.count, team)

    def adopt(self, states: Mapping[int, Any]) -> None:
        """Let members go on from other components' tensors."""
        for k, arrays in zip(states, ray.get(list(states.values())), strict=True):
            self.pack.load(k, arrays)

    def fakes(self, components: Sequence[int], num: int, round: int) -> Iterator[Any]:
        """The pieces of each component's samples, one component after the other, each piece a result of its own."""
        bounds = piece_bounds(self.spec, num, self.config.data.block_bytes)
        for group in self.pack.groups(components, num):
            for rows in self.pack.fakes(group, num, round).values():
                yield from (rows[start:stop] for start, stop in bounds)
            self.count(1)

    def score(self, components: Sequence[int], round: int, rows_B: Refs) -> Iterator[Any]:
        """As `DiscriminatorActor.score`, from the generators' own log-density."""
        yield from flat_log_ratios(self, components, round, rows_B)

    def state(self, component: int) -> Any:
        return self.pack.state(component)

    def states(self) -> dict[str, Any]:
        return {generator_name(k): self.pack.state(k) for k in self.pack.components}


@telling
class DiscriminatorActor(Worker):
    """The discriminators of one pack, or the shared trunk of all components."""

    def __init__(self, config_json: str, spec: DataSpec, components: Sequence[int], name: Name | None = None) -> None:
        super().__init__(config_json, spec, name)
        self.take(components)

    def take(self, components: Sequence[int]) -> None:
        """Hold these from now on; their tensors are still to be loaded."""
        from raymix.training.discriminators import DiscriminatorPack

        self.done = None
        self.pack = DiscriminatorPack(self.setting, components)

    def initialise(self, rows_B: Refs) -> None:
        self.done = None
        self.pack.initialise()

    def load(self, states: Mapping[str, Any]) -> None:
        self.done = None
        self.pack.load(states)

    def slow(self, component: int, round: int) -> None:
        self.pack.slow(component, round)

    def train(
        self,
        round: int,
        rows_B: Refs,
        fakes: Mapping[int, Pieces],
        rank: int = 0,
        meeting: Meeting | None = None,
    ) -> list[Fit]:
        """`meeting`: where those meet who train the trunk together, as number `rank` of them."""
        blocks = self.fetcher.blocks(rows_B)
        arrays = {k: self.fetcher.samples(pieces) for k, pieces in fakes.items()}

        def work() -> list[Fit]:
            parts = self.config.discriminator.workers
            with self.team(rank, parts, meeting, f"the shared trunk in round {round}") as team:
                return self.pack.train(round, blocks, arrays, self.count, team)

        return self.once("train", round, work)

    def score(self, components: Sequence[int], round: int, rows_B: Refs) -> Iterator[Any]:
        """One log-ratio array per (block, component), then the log-sum-exp of each: results of their own, so that the
        arrays stay in the object store."""
        yield from flat_log_ratios(self, components, round, rows_B)

    def adopt(self, copies: Refs) -> None:
        """Go on from what other actors' `copies` gave."""
        self.load({name: arrays for states in ray.get(list(copies)) for name, arrays in states.items()})

    def copies(self, sources: Mapping[int, int]) -> dict[str, Any]:
        """The tensors of components that begin as members, {component: member}, by file name."""
        return self.pack.copies(sources)

    def states(self) -> dict[str, Any]:
        return self.pack.states()


def flat_log_ratios(
    worker: "GeneratorActor | DiscriminatorActor", components: Sequence[int], round: int, rows_B: Refs
) -> Iterator[Any]:
    """One log-ratio array after another in the order (block, component), then their sums (components, blocks).

    Each array leaves for the object store before the next block is scored.
    """
    sums_BM = []
    for rows in worker.fetcher.each(rows_B):
        log_ratios = worker.pack.score(round, rows, components)
        worker.count(1)
        sums_BM.append([log_ratios[k][1] for k in components])
        for k in components:
            yield log_ratios[k][0]
    yield np.array(sums_BM).T
