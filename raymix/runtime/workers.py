"""The workers of a run on Ray: actors that hold components, tasks that hold blocks.

This object lives in the coordinator. It moves references, counts and small sums; rows, log ratios, samples and tensors
pass it by.

Axes: K components, B blocks.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from raymix.algorithm import num_fakes
from raymix.checkpoint import Generation, RunDirectory, discriminator_name, generator_name, labels_name
from raymix.config import Config
from raymix.data.source import DataSpec, block_bounds
from raymix.errors import ResourceError
from raymix.maths import blockwise
from raymix.runtime import tasks
from raymix.runtime.actors import DiscriminatorActor, GeneratorActor
from raymix.runtime.placement import Group
from raymix.runtime.waiting import gather
from raymix.seeds import numpy_rng
from raymix.state import Fit, Outcome
from raymix.storage import FileStamp

Ref = Any


class RayWorkers:
    """Generator and discriminator actors in their placement groups, and the blocks."""

    def __init__(self, config: Config, spec: DataSpec, groups: Sequence[Group], run_id: str) -> None:
        self.config, self.spec, self.num_rows = config, spec, spec.num_rows
        self.components = config.components
        self.stall_s = config.resources.stall_s
        self.shared = config.discriminator.trunk == "shared"
        self.doing, self.steps_to_do, self.steps_done, self.steps_before = "start", 0, 0, 0
        bounds = block_bounds(spec, config.data.block_bytes)
        self.rows_in_block = [stop - start for start, stop in bounds]
        refs = [tasks.read_block.remote(config.data, start, stop) for start, stop in bounds]
        self.rows_B: list[Ref] = [rows for rows, _ in refs]
        self.classes_B: list[Ref] = [classes for _, classes in refs]
        self.assigned_B: list[Ref] = [None] * len(bounds)
        self.scores_B: list[list[Ref]] = []

        self.placed = [self._reserve(group, run_id) for group in groups]
        self.generators: dict[tuple[int, ...], Any] = {}
        self.discriminators: dict[tuple[int, ...], Any] = {}
        for group, place in zip(groups, self.placed, strict=True):
            if group.generators:
                self.generators[group.generators] = self._actor(GeneratorActor, group.generators, group, place, 0)
            if group.discriminators:
                bundle = group.num_actors - 1
                members = group.discriminators
                self.discriminators[members] = self._actor(DiscriminatorActor, members, group, place, bundle)
        self._gather(self.rows_B, "reading blocks", fetch=False)
        self._gather([actor.ready.remote() for actor in self._actors()], "starting actors")

    def _reserve(self, group: Group, run_id: str) -> PlacementGroup:
        bundles = [group.bundle for _ in range(group.num_actors)]
        place = placement_group(bundles, strategy="STRICT_PACK", name=f"raymix-{run_id}-{group.name}")
        if not place.wait(self.stall_s):
            raise ResourceError(
                f"{bundles} were not free within {self.stall_s:g} s",
                f"placement group {group.name}",
                "free the cluster",
            )
        return place

    def _actor(self, kind: type, members: tuple[int, ...], group: Group, place: PlacementGroup, bundle: int) -> Any:
        actor_class = ray.remote(
            num_cpus=group.bundle["CPU"], num_gpus=group.bundle.get("GPU", 0), concurrency_groups={"watch": 1}
        )(kind)
        strategy = PlacementGroupSchedulingStrategy(place, placement_group_bundle_index=bundle)
        return actor_class.options(scheduling_strategy=strategy).remote(
            self.config.model_dump_json(), self.spec, members
        )

    def _actors(self) -> list[Any]:
        return [*self.generators.values(), *self.discriminators.values()]

    def close(self) -> None:
        """End the actors and give back what they held."""
        for actor in self._actors():
            ray.kill(actor)
        for place in self.placed:
            remove_placement_group(place)

    # ---- waiting

    def _gather(self, refs: Sequence[Ref], doing: str, steps: int = 0, fetch: bool = True) -> list[Any]:
        self.doing, self.steps_to_do, self.steps_before = doing, steps, self.steps_done
        return gather(refs, doing, self.stall_s, self._steps_done if steps else lambda: 0, fetch)

    def _steps_done(self) -> int:
        """Steps of all actors since they started; -1 when they do not answer."""
        refs = [actor.progress.remote() for actor in self._actors()]
        ready, late = ray.wait(refs, num_returns=len(refs), timeout=5)
        if late:
            return -1
        self.steps_done = sum(ray.get(ready))
        return self.steps_done

    # ---- start and commit

    def start(self, directory: RunDirectory, last: Generation | None) -> None:
        if last is None:
            calls = [actor.initialise.remote(self.rows_B) for actor in self.generators.values()]
            self._gather(calls, "initialising")
            return
        here = self._near(directory)

        def read(name: str) -> Ref:
            return tasks.read_tensors.options(**here).remote(directory.storage, f"{last.folder}/{name}")

        calls = []
        for members, actor in self.generators.items():
            calls.append(actor.load.remote({k: read(generator_name(k)) for k in members}))
        for members, actor in self.discriminators.items():
            calls.append(actor.load.remote({name: read(name) for name in self._judge_names(members)}))
        self._gather(calls, "loading the last generation")
        self._assigned_from(directory, last.folder)

    def commit(self, directory: RunDirectory, round: int) -> dict[str, FileStamp]:
        here, storage, folder = self._near(directory), directory.storage, directory.folder_for(round)
        states: dict[str, Ref] = {}
        for members, actor in self.generators.items():
            states |= zip(map(generator_name, members), _several(actor.states, len(members)), strict=True)
        for members, actor in self.discriminators.items():
            names = self._judge_names(members)
            states |= zip(names, _several(actor.states, len(names)), strict=True)
        writes = {
            name: tasks.write_tensors.options(**here).remote(storage, f"{folder}/{name}", state)
            for name, state in states.items()
        }
        for b, assigned in enumerate(self.assigned_B):
            path = f"{folder}/{labels_name(b)}"
            writes[labels_name(b)] = tasks.write_assigned.options(**here).remote(storage, path, assigned)
        stamps = self._gather(list(writes.values()), "commit")
        # The next round's labels come from the committed files, so that nothing it needs descends from an actor.
        self._assigned_from(directory, folder)
        return dict(zip(writes, stamps, strict=True))

    def _assigned_from(self, directory: RunDirectory, folder: str) -> None:
        read = tasks.read_assigned.options(**self._near(directory))
        names = [f"{folder}/{labels_name(b)}" for b in range(len(self.rows_B))]
        self.assigned_B = [read.remote(directory.storage, name) for name in names]

    def _judge_names(self, members: Sequence[int]) -> list[str]:
        return [discriminator_name(k, self.shared) for k in (members[:1] if self.shared else members)]

    @staticmethod
    def _near(directory: RunDirectory) -> dict[str, Any]:
        """A local directory is reached from the coordinator's node only."""
        if not directory.storage.is_local:
            return {}
        node = ray.get_runtime_context().get_node_id()
        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}

    # ---- phases

    def pretrain(self, steps_K: Sequence[int]) -> list[Fit]:
        steps = self._steps(steps_K)
        calls = [actor.pretrain.remote(steps[members], self.rows_B) for members, actor in self.generators.items()]
        return _flat(self._gather(calls, "pre-train", sum(steps_K)))

    def train_generators(self, round: int, steps_K: Sequence[int]) -> list[Fit]:
        steps = self._steps(steps_K)
        calls = [
            actor.train.remote(round, steps[members], self.rows_B, self.assigned_B)
            for members, actor in self.generators.items()
        ]
        return _flat(self._gather(calls, "train generators", sum(steps_K)))

    def _steps(self, steps_K: Sequence[int]) -> dict[tuple[int, ...], dict[int, int]]:
        by_component = dict(zip(self.components, steps_K, strict=True))
        return {members: {k: by_component[k] for k in members} for members in self.generators}

    def train_discriminators(self, round: int) -> list[Fit]:
        if not self.discriminators:
            return []
        num = num_fakes(self.config, self.num_rows)
        fakes: dict[int, Ref] = {}
        for members, actor in self.generators.items():
            fakes |= zip(members, _several(actor.fakes, len(members), num, round), strict=True)
        calls = [
            actor.train.remote(round, self.rows_B, {k: fakes[k] for k in members})
            for members, actor in self.discriminators.items()
        ]
        settings = self.config.discriminator
        judges = 1 if self.shared else len(self.components)
        steps = judges * round_steps_bound(settings.epochs * self.num_rows, settings.batch_size)
        return _flat(self._gather(calls, "train discriminators", steps))

    def score(self, round: int) -> NDArray[np.float64]:
        num_blocks = len(self.rows_B)
        sums, by_component = [], {}
        for members, actor in (self.discriminators or self.generators).items():
            results = _several(actor.score, 1 + len(members) * num_blocks, round, self.rows_B)
            sums.append(results[0])
            for i, k in enumerate(members):
                by_component[k] = results[1 + i * num_blocks : 1 + (i + 1) * num_blocks]
        self.scores_B = [[by_component[k][b] for k in self.components] for b in range(num_blocks)]
        return np.concatenate(self._gather(sums, "score"))

    def assign(self, round: int, log_z_K: Sequence[float]) -> Outcome:
        self.assigned_B, outcome = blockwise.assign(
            self._map_blocks,
            self.scores_B,
            self.classes_B,
            self.assigned_B,
            components=self.components,
            num_classes=len(self.spec.classes),
            log_z_K=log_z_K,
            min_share=self.config.balance.min_share,
        )
        self.scores_B = []
        return outcome

    def deal(self, round: int) -> Outcome:
        deals = blockwise.control_tasks(self.config, self.rows_in_block, len(self.spec.classes), round)
        self.assigned_B, outcome = blockwise.assign_control(
            self._map_blocks, deals, self.classes_B, self.assigned_B, self.components
        )
        return outcome

    def _map_blocks(
        self, function: Callable[..., tuple[Any, Any]], common: Sequence[Any], handles_B: Sequence[Sequence[Ref]]
    ) -> list[tuple[Ref, Any]]:
        """The `BlockMap` of a cluster: a task per block, and references for handles."""
        results = [
            tasks.block_step.remote(function, value, *handles) for value, handles in zip(common, handles_B, strict=True)
        ]
        summaries = self._gather([summary for _, summary in results], "assign")
        return [(kept, summary) for (kept, _), summary in zip(results, summaries, strict=True)]

    # ---- looking

    def sample(self, component: int, num: int, seed: int) -> NDArray[np.floating]:
        members = next(members for members in self.generators if component in members)
        rows: NDArray[np.floating] = self._gather(
            [self.generators[members].sample.remote(component, num, seed)], "sample"
        )[0]
        return rows

    def owned_rows(self, component: int, num: int, seed: int) -> NDArray[np.generic]:
        calls = [
            tasks.owned_rows.remote(component, num, seed + b, rows, assigned)
            for b, (rows, assigned) in enumerate(zip(self.rows_B, self.assigned_B, strict=True))
        ]
        rows = np.concatenate(self._gather(calls, "reading owned rows"))
        return rows[np.sort(numpy_rng(seed).permutation(len(rows))[:num])]


def _several(method: Any, num: int, *args: Any) -> list[Ref]:
    """Call an actor's method that returns `num` results of their own."""
    refs = method.options(num_returns=num).remote(*args)
    return refs if num > 1 else [refs]


def _flat(fits: list[list[Fit]]) -> list[Fit]:
    return sorted((fit for pack in fits for fit in pack), key=lambda fit: fit.component)


def round_steps_bound(rows: float, batch_size: int) -> int:
    return int(np.ceil(rows / batch_size))
