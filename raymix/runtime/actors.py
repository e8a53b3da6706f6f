"""The processes that hold components: plain classes around the packs of `raymix.training`, made actors elsewhere.

torch is imported when an actor is constructed, not with this module, so that the coordinator stays light.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import ray
from numpy.typing import NDArray

from raymix.checkpoint import generator_name
from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.seeds import Phase
from raymix.state import Fit

Refs = Sequence[Any]
"""References to arrays, fetched without a copy where they are on the same node."""


class Worker:
    """What generator and discriminator actors share: a setting, and steps counted for whoever watches."""

    def __init__(self, config_json: str, spec: DataSpec) -> None:
        from raymix.models.registry import close
        from raymix.training.setting import Setting

        config = close(Config.model_validate_json(config_json))
        self.setting = Setting.of(config, spec, use_gpu=bool(ray.get_gpu_ids()))
        self.steps = 0
        self.done: dict[tuple[str, int], Any] = {}

    def once(self, phase: str, round: int, work: Callable[[], Any]) -> Any:
        """What a phase that changes tensors gives. Asked again in the same round it answers from memory, so that a
        round in which another worker was lost can be repeated."""
        self.done = {key: result for key, result in self.done.items() if key[1] == round}
        if (phase, round) not in self.done:
            self.done[phase, round] = work()
        return self.done[phase, round]

    def count(self, steps: int) -> None:
        """A sign of life: steps, or other pieces of work, that were done."""
        self.steps += steps

    @ray.method(concurrency_group="watch")
    def progress(self) -> int:
        """Steps done since the start; answered from a second thread while a phase runs."""
        return self.steps

    @ray.method(concurrency_group="watch")
    def pid(self) -> int:
        """Of this process; answered once the constructor has returned."""
        return os.getpid()


class GeneratorActor(Worker):
    """The generators of one pack."""

    def __init__(self, config_json: str, spec: DataSpec, components: Sequence[int]) -> None:
        from raymix.training.generators import GeneratorPack

        super().__init__(config_json, spec)
        self.pack = GeneratorPack(self.setting, components)

    def initialise(self, rows_B: Refs) -> None:
        self.done = {}
        self.pack.initialise(ray.get(list(rows_B)))

    def load(self, states: Mapping[str, Any]) -> None:
        self.done = {}
        for k in self.pack.components:
            self.pack.load(k, states[generator_name(k)])

    def slow(self, component: int, round: int) -> None:
        if component in self.pack.components:
            self.pack.slow(component)

    def pretrain(self, steps: Mapping[int, int], rows_B: Refs) -> list[Fit]:
        from raymix.training.shards import pretraining_rows

        def work() -> list[Fit]:
            blocks = ray.get(list(rows_B))
            shards = {k: pretraining_rows(self.setting.config, blocks, k) for k in steps}
            return self.pack.train(Phase.PRETRAIN, 0, shards, steps, self.count)

        return cast(list[Fit], self.once("pre-train", 0, work))

    def train(self, round: int, steps: Mapping[int, int], rows_B: Refs, assigned_B: Refs) -> list[Fit]:
        from raymix.training.shards import shard

        def work() -> list[Fit]:
            blocks, assigned = ray.get(list(rows_B)), ray.get(list(assigned_B))
            shards = {k: shard(blocks, assigned, k) for k in steps}
            return self.pack.train(Phase.TRAIN_GENERATOR, round, shards, steps, self.count)

        return cast(list[Fit], self.once("train", round, work))

    def adopt(self, round: int, states: Mapping[int, Any]) -> None:
        """Let members go on from other components' tensors."""

        def work() -> None:
            for k, ref in states.items():
                self.pack.load(k, ray.get(ref))

        self.once("adopt", round, work)

    def fakes(self, components: Sequence[int], num: int, round: int) -> Iterator[Any]:
        """One array per component, each a result of its own."""
        for k in components:
            yield self.pack.fakes(k, num, round)
            self.count(1)

    def score(self, components: Sequence[int], round: int, rows_B: Refs) -> Iterator[Any]:
        """As `DiscriminatorActor.score`, from the generators' own log-density."""
        return flat_scores(self, components, round, rows_B)

    def sample(self, component: int, num: int, seed: int) -> NDArray[np.floating]:
        return self.pack.sample_in_data_units(component, num, seed)

    def state(self, component: int) -> Any:
        return self.pack.state(component)

    def states(self) -> dict[str, Any]:
        """The tensors of each member by file name."""
        return {generator_name(k): self.pack.state(k) for k in self.pack.components}


class DiscriminatorActor(Worker):
    """The discriminators of one pack, or the shared trunk of all components."""

    def __init__(self, config_json: str, spec: DataSpec, components: Sequence[int]) -> None:
        from raymix.training.discriminators import DiscriminatorPack

        super().__init__(config_json, spec)
        self.pack = DiscriminatorPack(self.setting, components)

    def initialise(self, rows_B: Refs) -> None:
        self.done = {}
        self.pack.initialise()

    def load(self, states: Mapping[str, Any]) -> None:
        self.done = {}
        self.pack.load(states)

    def slow(self, component: int, round: int) -> None:
        self.pack.slow(component, round)

    def train(self, round: int, rows_B: Refs, fakes: Mapping[int, Any]) -> list[Fit]:
        def work() -> list[Fit]:
            arrays = dict(zip(fakes, ray.get(list(fakes.values())), strict=True))
            return self.pack.train(round, ray.get(list(rows_B)), arrays, self.count)

        return cast(list[Fit], self.once("train", round, work))

    def score(self, components: Sequence[int], round: int, rows_B: Refs) -> Iterator[Any]:
        """One log-ratio array per (block, component), then the log-sum-exp of each: results of their own, so that the
        arrays stay in the object store."""
        return flat_scores(self, components, round, rows_B)

    def states(self) -> dict[str, Any]:
        """The tensors of each judge by file name."""
        return self.pack.states()


def flat_scores(
    worker: "GeneratorActor | DiscriminatorActor", components: Sequence[int], round: int, rows_B: Refs
) -> Iterator[Any]:
    """One log-ratio array after another in the order (block, component), then their sums (components, blocks).

    Each array leaves for the object store before the next block is scored.
    """
    sums_BM = []
    for rows in ray.get(list(rows_B)):
        scores = worker.pack.score(round, rows, components)
        worker.count(1)
        sums_BM.append([scores[k][1] for k in components])
        for k in components:
            yield scores[k][0]
    yield np.array(sums_BM).T
