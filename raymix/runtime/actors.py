"""The processes that hold components: plain classes around the packs of `raymix.training`, made actors elsewhere.

torch is imported when an actor is constructed, not with this module, so that the coordinator stays light.
"""

from collections.abc import Mapping, Sequence
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

    def _count(self, steps: int) -> None:
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
        return self.pack.train(Phase.PRETRAIN, 0, shards, steps, self._count)

    def train(self, round: int, steps: Mapping[int, int], rows_B: Refs, assigned_B: Refs) -> list[Fit]:
        from raymix.training.shards import shard

        blocks, assigned = ray.get(list(rows_B)), ray.get(list(assigned_B))
        shards = {k: shard(blocks, assigned, k) for k in self.pack.components}
        return self.pack.train(Phase.TRAIN_GENERATOR, round, shards, steps, self._count)

    def fakes(self, num: int, round: int) -> Any:
        """One array per member, each a result of its own."""
        arrays = [self.pack.fakes(k, num, round) for k in self.pack.components]
        return arrays if len(arrays) > 1 else arrays[0]

    def score(self, round: int, rows_B: Refs) -> list[Any]:
        """As `DiscriminatorActor.score`, from the generators' own log-density."""
        return flat_scores(self.pack, round, ray.get(list(rows_B)))

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
        return self.pack.train(round, ray.get(list(rows_B)), arrays, self._count)

    def score(self, round: int, rows_B: Refs) -> list[Any]:
        """First the log-sum-exp per (member, block), then one log-ratio array per (member, block), results of their
        own: they stay in the object store."""
        return flat_scores(self.pack, round, ray.get(list(rows_B)))

    def states(self) -> dict[str, Any]:
        """The tensors of each judge by file name."""
        return self.pack.states()


def flat_scores(pack: Any, round: int, blocks: Sequence[NDArray[np.generic]]) -> list[Any]:
    """The scores of all blocks in the order (member, block), their sums first."""
    scores_B = [pack.score(round, rows) for rows in blocks]
    sums = np.array([[scores[k][1] for scores in scores_B] for k in pack.components])
    return [sums, *(scores[k][0] for k in pack.components for scores in scores_B)]
