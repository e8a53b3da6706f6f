"""The processes that hold components: plain classes around the packs of `raymix.training`, made actors elsewhere.

torch is imported when an actor is constructed, not with this module, so that the coordinator stays light.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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

    def count(self, steps: int) -> None:
        """A sign of life: steps, or other pieces of work, that were done."""
        self.steps += steps

    @ray.method(concurrency_group="watch")
    def progress(self) -> int:
        """Steps done since the start; answered from a second thread while a phase runs."""
        return self.steps

    def ready(self) -> None:
        """Returns once the constructor has."""


class GeneratorActor(Worker):
    """The generators of one pack."""

    def __init__(self, config_json: str, spec: DataSpec, components: Sequence[int]) -> None:
        from raymix.training.generators import GeneratorPack

        super().__init__(config_json, spec)
        self.pack = GeneratorPack(self.setting, components)

    def initialise(self, rows_B: Refs) -> None:
        self.pack.initialise(ray.get(list(rows_B)))

    def load(self, states: Mapping[str, Any]) -> None:
        for k in self.pack.components:
            self.pack.load(k, states[generator_name(k)])

    def pretrain(self, steps: Mapping[int, int], rows_B: Refs) -> list[Fit]:
        from raymix.training.shards import pretraining_rows

        blocks = ray.get(list(rows_B))
        shards = {k: pretraining_rows(self.setting.config, blocks, k) for k in self.pack.components}
        return self.pack.train(Phase.PRETRAIN, 0, shards, steps, self.count)

    def train(self, round: int, steps: Mapping[int, int], rows_B: Refs, assigned_B: Refs) -> list[Fit]:
        from raymix.training.shards import shard

        blocks, assigned = ray.get(list(rows_B)), ray.get(list(assigned_B))
        shards = {k: shard(blocks, assigned, k) for k in self.pack.components}
        return self.pack.train(Phase.TRAIN_GENERATOR, round, shards, steps, self.count)

    def fakes(self, num: int, round: int) -> Iterator[Any]:
        """One array per member, each a result of its own."""
        for k in self.pack.components:
            yield self.pack.fakes(k, num, round)
            self.count(1)

    def score(self, round: int, rows_B: Refs) -> Iterator[Any]:
        """As `DiscriminatorActor.score`, from the generators' own log-density."""
        return flat_scores(self, round, rows_B)

    def sample(self, component: int, num: int, seed: int) -> NDArray[np.floating]:
        return self.pack.sample_in_data_units(component, num, seed)

    def states(self) -> dict[str, Any]:
        """The tensors of each member by file name."""
        return {generator_name(k): self.pack.state(k) for k in self.pack.components}


class DiscriminatorActor(Worker):
    """The discriminators of one pack, or the shared trunk of all components."""

    def __init__(self, config_json: str, spec: DataSpec, components: Sequence[int]) -> None:
        from raymix.training.discriminators import DiscriminatorPack

        super().__init__(config_json, spec)
        self.pack = DiscriminatorPack(self.setting, components)

    def load(self, states: Mapping[str, Any]) -> None:
        self.pack.load(states)

    def train(self, round: int, rows_B: Refs, fakes: Mapping[int, Any]) -> list[Fit]:
        arrays = dict(zip(fakes, ray.get(list(fakes.values())), strict=True))
        return self.pack.train(round, ray.get(list(rows_B)), arrays, self.count)

    def score(self, round: int, rows_B: Refs) -> Iterator[Any]:
        """One log-ratio array per (block, member), then the log-sum-exp of each: results of their own, so that the
        arrays stay in the object store."""
        return flat_scores(self, round, rows_B)

    def states(self) -> dict[str, Any]:
        """The tensors of each judge by file name."""
        return self.pack.states()


def flat_scores(worker: "GeneratorActor | DiscriminatorActor", round: int, rows_B: Refs) -> Iterator[Any]:
    """One log-ratio array after another in the order (block, member), then their sums (members, blocks).

    Each array leaves for the object store before the next block is scored.
    """
    sums_BM = []
    for rows in ray.get(list(rows_B)):
        scores = worker.pack.score(round, rows)
        worker.count(1)
        sums_BM.append([scores[k][1] for k in worker.pack.components])
        for k in worker.pack.components:
            yield scores[k][0]
    yield np.array(sums_BM).T
