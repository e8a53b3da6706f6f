"""The workers of a run on Ray: actors that hold components, tasks that hold blocks.

This object lives in the coordinator. It moves references, counts and small sums; rows, log ratios, samples and tensors
pass it by.

Axes: K components, B blocks.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError
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

PROGRESS_S = 5.0
Ref = Any
Call = Callable[[], Any]


class RayWorkers:
    """Generator and discriminator actors in their placement groups, and the blocks."""

    def __init__(self, config: Config, spec: DataSpec, groups: Sequence[Group], run_id: str) -> None:
        self.config, self.spec, self.num_rows = config, spec, spec.num_rows
        self.components = config.components
        self.stall_s = config.resources.stall_s
        self.shared = config.discriminator.trunk == "shared"
        self.generators: dict[tuple[int, ...], Any] = {}
        self.discriminators: dict[tuple[int, ...], Any] = {}
        self.doing, self.steps_to_do, self.steps_done, self.steps_before = "start", 0, 0, 0
        bounds = block_bounds(spec, config.data.block_bytes)
        self.rows_in_block = [stop - start for start, stop in bounds]
        reads = [partial(tasks.read_block.remote, config.data, *range_) for range_ in bounds]
        refs = self._run_waves(reads, "reading blocks")
        self.rows_B: list[Ref] = [rows for rows, _ in refs]
        self.classes_B: list[Ref] = [classes for _, classes in refs]
        self.assigned_B: list[Ref] = [None] * len(bounds)
        self.scores_B: list[list[Ref]] = []

        self.placed = [self._reserve(group, run_id) for group in groups]
        for group, place in zip(groups, self.placed, strict=True):
            if group.generators:
                self.generators[group.generators] = self._actor(GeneratorActor, group.generators, group, place, 0)
            if group.discriminators:
                bundle = group.num_actors - 1
                members = group.discriminators
                self.discriminators[members] = self._actor(DiscriminatorActor, members, group, place, bundle)
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
        ask = {"num_cpus": group.bundle["CPU"], "num_gpus": group.bundle.get("GPU", 0)}
        # a second thread answers `progress`; Ray's annotations lack this argument
        actor_class: Any = ray.remote(**ask, concurrency_groups={"watch": 1})(kind)  # type: ignore[call-overload]
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
        if steps:
            self._steps_done()  # what earlier phases did since the last look is not this one's
        self.doing, self.steps_to_do, self.steps_before = doing, steps, self.steps_done
        return gather(refs, doing, self.stall_s, self._steps_done, fetch)

    def _run_waves(self, calls: Sequence[Call], doing: str) -> list[Any]:
        """Start tasks a wave at a time and wait until all are done; returns what the calls did (refs).

        Tasks ask no processor, so without waves each would get a process of its own at once.
        """
        width = max(2, int(ray.cluster_resources().get("CPU", 0)))
        refs: list[Any] = []
        for i in range(0, len(calls), width):
            wave = [call() for call in calls[i : i + width]]
            self._gather([ref[0] if isinstance(ref, list) else ref for ref in wave], doing, fetch=False)
            refs += wave
        return refs

    def _gather_waves(self, calls: Sequence[Call], doing: str) -> list[Any]:
        return self._gather(self._run_waves(calls, doing), doing)

    def _steps_done(self) -> int:
        """Steps of all actors since they started, as last heard."""
        refs = [actor.progress.remote() for actor in self._actors()]
        with suppress(RayError):  # of a silent or dead actor, whose phase then fails by itself
            self.steps_done = sum(ray.get(refs, timeout=PROGRESS_S))
        return self.steps_done

    # ---- start and commit

    def start(self, directory: RunDirectory, last: Generation | None) -> None:
        if last is None:
            calls = [actor.initialise.remote(self.rows_B) for actor in self.generators.values()]
            self._gather(calls, "initialising")
            return
        here, storage = self._near(directory), directory.storage
        names = {actor: [generator_name(k) for k in members] for members, actor in self.generators.items()}
        names |= {actor: self._judge_names(members) for members, actor in self.discriminators.items()}
        read = tasks.read_states.options(**here)
        self._gather(
            [actor.load.remote(read.remote(storage, last.folder, files)) for actor, files in names.items()],
            "loading the last generation",
        )
        self._assigned_from(directory, last.folder)

    def commit(self, directory: RunDirectory, round: int) -> dict[str, FileStamp]:
        here, storage, folder = self._near(directory), directory.storage, directory.folder_for(round)
        write_states, write_assigned = tasks.write_states.options(**here), tasks.write_assigned.options(**here)
        writes: list[Call] = [partial(write_states.remote, storage, folder, a.states.remote()) for a in self._actors()]
        for b, assigned in enumerate(self.assigned_B):
            writes.append(partial(write_assigned.remote, storage, folder, labels_name(b), assigned))
        stamps: dict[str, FileStamp] = {}
        for part in self._gather_waves(writes, "commit"):
            stamps |= part
        # The next round's labels come from the committed files, so that nothing it needs descends from an actor.
        self._assigned_from(directory, folder)
        return stamps

    def _assigned_from(self, directory: RunDirectory, folder: str) -> None:
        read = tasks.read_assigned.options(**self._near(directory))
        names = [f"{folder}/{labels_name(b)}" for b in range(len(self.rows_B))]
        calls = [partial(read.remote, directory.storage, name) for name in names]
        self.assigned_B = self._run_waves(calls, "reading assignments")

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
        judges = 1 if self.shared else len(self.components)
        steps = judges * self.config.discriminator.steps(self.num_rows)
        return _flat(self._gather(calls, "train discriminators", steps))

    def score(self, round: int) -> NDArray[np.float64]:
        num_blocks = len(self.rows_B)
        sums, by_component = [], {}
        for members, actor in (self.discriminators or self.generators).items():
            results = _several(actor.score, 1 + len(members) * num_blocks, round, self.rows_B)
            sums.append(results[-1])
            for i, k in enumerate(members):
                by_component[k] = results[i : -1 : len(members)]
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
        pairs = zip(common, handles_B, strict=True)
        calls = [partial(tasks.block_step.remote, function, value, *handles) for value, handles in pairs]
        results = self._run_waves(calls, "assign")
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
        pairs = enumerate(zip(self.rows_B, self.assigned_B, strict=True))
        calls = [partial(tasks.owned_rows.remote, component, num, seed + b, *refs) for b, refs in pairs]
        rows = np.concatenate(self._gather_waves(calls, "reading owned rows"))
        return rows[np.sort(numpy_rng(seed).permutation(len(rows))[:num])]


def _several(method: Any, num: int, *args: Any) -> list[Ref]:
    """Call an actor's method that returns `num` results of their own."""
    refs = method.options(num_returns=num).remote(*args)
    return refs if num > 1 else [refs]


def _flat(fits: list[list[Fit]]) -> list[Fit]:
    return sorted((fit for pack in fits for fit in pack), key=lambda fit: fit.component)
