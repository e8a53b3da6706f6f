"""The workers of a run on Ray: actors that hold components, tasks that hold blocks.

This object lives in the coordinator. It moves references, counts and small sums; rows, log ratios, samples and tensors
pass it by.

Axes: K components, B blocks.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raymix.budgets import num_fakes
from raymix.config import Config
from raymix.data.open import local_places
from raymix.data.paths import sizes_here
from raymix.data.source import DataSpec, block_bounds
from raymix.errors import TRUNK, WorkerLostError
from raymix.maths.ownership import Ownership
from raymix.runs import checkpoint
from raymix.runs.checkpoint import Generation, RunDirectory, assignment_name, discriminator_name, generator_name
from raymix.runtime import tasks
from raymix.runtime.actors import DiscriminatorActor, GeneratorActor, Meeting
from raymix.runtime.capacity import cluster_nodes
from raymix.runtime.crew import Crew, Seat
from raymix.runtime.evaluator import start_evaluator
from raymix.runtime.fetching import Pieces, may_spill, piece_bounds
from raymix.runtime.lookout import PROGRESS_S, Activity, Lookout
from raymix.state import Fit
from raymix.storage import FileStamp

Ref = Any


class RayWorkers:
    """Generator and discriminator actors, and the blocks."""

    def __init__(self, config: Config, spec: DataSpec, crew: Crew, activity: Activity) -> None:
        """Reads the blocks while the crew's actors start."""
        self.config, self.spec = config, spec
        self.shared = config.discriminator.trunk == "shared"
        self.crew, self.lookout = crew, Lookout(crew, activity, self._pieces)
        self.evaluator: Any = None
        """The actor that measures and pictures, once it was needed."""
        self._starting: list[tuple[Seat, Ref]] = []
        """Discriminators that have not been seen to start, and what tells it."""
        self._block_phase = "assign"
        """What work on blocks is for, as whoever watches is told."""
        self.reads_at_home = not self._files_are_everywhere()
        refs = self._read(tasks.read_block, "reading blocks")
        rows_B, classes_B = [rows for rows, _ in refs], [classes for _, classes in refs]
        sizes_B = [stop - start for start, stop in block_bounds(spec, config.data.block_bytes)]
        self.rows = Ownership(config, spec, self._map_blocks, rows_B, classes_B, sizes_B)
        self.fakes: dict[int, Pieces] = {}
        """Samples of the present round that were drawn before its generators trained."""

    def _read(self, task: Any, doing: str) -> list[Any]:
        """What a task reads for each block."""
        read = task.options(scheduling_strategy=self._home() if self.reads_at_home else "SPREAD")
        bounds = block_bounds(self.spec, self.config.data.block_bytes)
        reads = [partial(read.remote, self.config.data, self.spec, *range_) for range_ in bounds]
        return self.lookout.run_waves(reads, doing, self.reads_at_home)

    def _files_are_everywhere(self) -> bool:
        """Whether all nodes reach the data: it is no local path, or one that they all have. Else blocks are read on the
        coordinator's node alone."""
        places, nodes = local_places(self.config.data), [node.id for node in cluster_nodes()]
        if not places or len(nodes) == 1:
            return True
        there = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
        asked = [tasks.file_sizes.options(scheduling_strategy=node).remote(places) for node in there]
        found = self.lookout.gather(asked, "looking for the data's files")
        return all(sizes == sizes_here(places) for sizes in found)

    @staticmethod
    def _home() -> NodeAffinitySchedulingStrategy:
        """For tasks that run on the coordinator's node."""
        return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)

    def close(self) -> None:
        if self.evaluator is not None:
            ray.kill(self.evaluator)
        self.crew.close()

    # ---- start, recover and commit

    def start(self, directory: RunDirectory, last: Generation | None) -> None:
        self.crew.replace_lost()
        self.crew.fill(last.components if last else self.config.components)
        self._take_state(self.crew.seats, directory, last)

    def recover(self, directory: RunDirectory, last: Generation | None) -> None:
        self.lookout.activity.begin("replacing what was lost")
        self.crew.replace_lost()
        self.crew.fill(last.components if last else self.config.components)
        # A generator that has trained on already could not draw again what its discriminator was to see, and those who
        # trained a network together must do so again.
        config, overlap = self.config, self.config.schedule.overlap
        again: list[type] = [GeneratorActor] if overlap or config.resources.workers_per_component > 1 else []
        again += [DiscriminatorActor] if overlap or config.discriminator.workers > 1 else []
        self._take_state([seat for seat in self.crew.seats if seat.fresh or seat.kind in again], directory, last)

    def settle(self, directory: RunDirectory, last: Generation) -> None:
        moved = self.crew.settle()
        if moved:
            self._take_state(moved, directory, last)

    def _take_state(self, seats: Sequence[Seat], directory: RunDirectory, last: Generation | None) -> None:
        self.fakes, self._block_phase = {}, "assign"
        self.rows.centroids = checkpoint.read_centroids(directory.storage, last) if last else None
        if last is None:
            initialised = [seat.actor.initialise.remote(self.rows.rows_B) for seat in seats]
            pairs = list(zip(seats, initialised, strict=True))
            # discriminators are not needed yet: they may still start while generators pre-train
            self._starting = [pair for pair in pairs if pair[0].kind is not GeneratorActor]
            seats = [seat for seat in seats if seat.kind is GeneratorActor]
            self.lookout.gather([ref for seat, ref in pairs if seat.kind is GeneratorActor], "starting actors")
            self.rows.assigned_B = [None] * len(self.rows.rows_B)
        else:
            self._starting = []
            self.lookout.gather([seat.actor.pid.remote() for seat in seats], "starting actors")
            read = tasks.read_states.options(**self._near(directory))
            stamps = [{name: last.files[name] for name in self._file_names(seat)} for seat in seats]
            states = [read.remote(directory.storage, last.folder, each) for each in stamps]
            loads = [seat.actor.load.remote(state) for seat, state in zip(seats, states, strict=True)]
            self.lookout.gather(loads, "loading the last generation")
            self._assigned_from(directory, last.folder, last.files)
        for seat in seats:
            seat.fresh = False

    def slow(self, component: int, round: int) -> None:
        concerned = self.crew.discriminators if component == TRUNK else self.crew.seats
        seats = [seat for seat in concerned if component in (TRUNK, *seat.members)]
        self.lookout.gather([seat.actor.slow.remote(component, round) for seat in seats], "halving a learning rate")

    def commit(self, directory: RunDirectory, round: int) -> dict[str, FileStamp]:
        self.rows.drop_log_ratios()
        storage, folder = directory.storage, directory.folder_for(round)
        home = ray.get_runtime_context().get_node_id() if storage.is_local else None
        # those who train a trunk together all have the same
        writers = self.crew.generators + (self.crew.discriminators[:1] if self.shared else self.crew.discriminators)
        writes = [partial(seat.actor.write.remote, storage, folder, home) for seat in writers]
        states = self.lookout.run_waves(writes, "commit", at_home=True) if home else [call() for call in writes]
        write = tasks.write_assigned.options(**self._near(directory))
        named = [(assignment_name(b), assigned) for b, assigned in enumerate(self.rows.assigned_B)]
        writes = [partial(write.remote, storage, folder, *each) for each in named]
        assigned = self.lookout.run_waves(writes, "commit", storage.is_local)
        stamps = checkpoint.write_centroids(storage, folder, self.rows.centroids)
        for part in self.lookout.gather([*states, *assigned], "commit"):
            stamps |= part
        # The next round's assignment comes from the committed files, so that nothing it needs descends from an actor.
        self._assigned_from(directory, folder, stamps)
        return stamps

    def spilled_bytes(self) -> int:
        if not may_spill(self.config, self.spec):
            return 0
        nodes = [NodeAffinitySchedulingStrategy(node.id, soft=False) for node in cluster_nodes()]
        asked = [tasks.spilled_bytes.options(scheduling_strategy=node).remote() for node in nodes]
        return sum(self.lookout.gather(asked, "commit"))

    def _assigned_from(self, directory: RunDirectory, folder: str, stamps: Mapping[str, FileStamp]) -> None:
        read = tasks.read_assigned.options(**self._near(directory))
        names = [assignment_name(b) for b in range(len(self.rows.rows_B))]
        calls = [partial(read.remote, directory.storage, f"{folder}/{name}", stamps[name]) for name in names]
        self.rows.assigned_B = self.lookout.run_waves(calls, "reading assignments", directory.storage.is_local)

    def _file_names(self, seat: Seat) -> list[str]:
        if seat.kind is GeneratorActor:
            return [generator_name(k) for k in seat.members]
        return [discriminator_name(k, self.shared) for k in (seat.members[:1] if self.shared else seat.members)]

    def _near(self, directory: RunDirectory) -> dict[str, Any]:
        """A local directory is reached from the coordinator's node only."""
        return {"scheduling_strategy": self._home()} if directory.storage.is_local else {}

    # ---- phases

    def begin(self, components: tuple[int, ...]) -> None:
        by_features = self.config.schedule.begin == "features"
        features_B = self._read(tasks.read_block_features, "reading features") if by_features else None
        self._block_phase = "begin"
        self.rows.begin(components, features_B)
        self._block_phase = "assign"

    def pretrain(self, steps: Mapping[int, int]) -> list[Fit]:
        def call(actor: Any, own: Mapping[int, int], *team: Any) -> Ref:
            return actor.pretrain.remote(own, self.rows.rows_B, self.rows.assigned_B, *team)

        return self._ask_trainers(steps, call, "pre-train")()

    def train_generators(self, round: int, steps: Mapping[int, int], overlap: bool) -> Callable[[], list[Fit]]:
        if overlap:
            self.fakes = self._draw(round, tuple(steps))
            drawn = [ref for pieces in self.fakes.values() for ref in pieces.refs]
            self.lookout.gather(drawn, "drawing samples", fetch=False)  # before the generators change
        for seat in self.crew.seats:
            seat.fresh = False  # whoever was reseeded in the last round has been committed so

        def call(actor: Any, own: Mapping[int, int], *team: Any) -> Ref:
            return actor.train.remote(round, own, self.rows.rows_B, self.rows.assigned_B, *team)

        return self._ask_trainers(steps, call, "train generators")

    def _ask_trainers(self, steps: Mapping[int, int], call: Callable[..., Ref], doing: str) -> Callable[[], list[Fit]]:
        """Let generators train; the result waits for them."""
        asked, workers = _those_of(self.crew.trainers, tuple(steps)), self.config.resources.workers_per_component
        meetings = self._meetings([seat for seat, _ in asked if seat.group.rank == 0]) if workers > 1 else {}
        calls = []
        for seat, own in asked:
            calls.append(call(seat.actor, {k: steps[k] for k in own}, seat.group.rank, meetings.get(seat.members)))

        def trained() -> list[Fit]:
            fits = self.lookout.gather(calls, doing, sum(steps.values()) * workers)
            return _flat([each for (seat, _), each in zip(asked, fits, strict=True) if seat.group.rank == 0])

        return trained

    def _meetings(self, firsts: Sequence[Seat]) -> dict[tuple[int, ...], Meeting]:
        """Where the teams meet that these are the first of, by members."""
        points = self.lookout.gather([seat.actor.meeting_point.remote() for seat in firsts], "starting actors")
        return {seat.members: point for seat, point in zip(firsts, points, strict=True)}

    def train_discriminators(self, round: int, components: tuple[int, ...]) -> list[Fit]:
        asked = _those_of(self.crew.discriminators, components)
        if not asked:
            return []
        self.lookout.gather([ref for _, ref in self._starting], "starting actors")
        for seat, _ in self._starting:
            seat.fresh = False
        self._starting = []
        fakes, self.fakes = self.fakes or self._draw(round, components), {}
        steps = self.config.discriminator.steps(self.spec.num_rows)
        if self.shared:
            team = [seat for seat, _ in asked]
            meeting = self._meetings(team[:1])[team[0].members] if team[1:] else None
            calls = [seat.actor.train.remote(round, self.rows.rows_B, fakes, i, meeting) for i, seat in enumerate(team)]
            found: list[list[Fit]] = self.lookout.gather(calls, "train discriminators", steps * len(team))
            return found[0]  # all find the same
        calls = [seat.actor.train.remote(round, self.rows.rows_B, {k: fakes[k] for k in own}) for seat, own in asked]
        return _flat(self.lookout.gather(calls, "train discriminators", steps * len(components)))

    def _draw(self, round: int, components: tuple[int, ...]) -> dict[int, Pieces]:
        """The samples that the discriminators of a round see."""
        num = num_fakes(self.config, self.spec.num_rows, len(components))
        sizes = tuple(b - a for a, b in piece_bounds(self.spec, num, self.config.data.block_bytes))
        fakes: dict[int, Pieces] = {}
        for seat, own in _those_of(self.crew.generators, components):
            refs = _several(seat.actor.fakes, len(own) * len(sizes), own, num, round)
            for i, k in enumerate(own):
                fakes[k] = Pieces(sizes, tuple(refs[i * len(sizes) : (i + 1) * len(sizes)]))
        return fakes

    def score(self, round: int, components: tuple[int, ...]) -> NDArray[np.float64]:
        self.rows.drop_log_ratios()
        rows_B, places = self.rows.rows_B, {k: i for i, k in enumerate(components)}
        num_blocks = len(rows_B)
        log_ratios_BK: list[list[Ref]] = [[None] * len(components) for _ in rows_B]
        asked = _those_of(self.crew.discriminators or self.crew.generators, components)
        team = self.shared and self.crew.discriminators  # who each have the whole trunk, and so share the blocks
        parts = len(asked) if team else 1
        sums, cells = [], []
        for number, (seat, own) in enumerate(asked):
            blocks = range(number % parts, num_blocks, parts)
            if not blocks:
                continue
            own_places, rows = [places[k] for k in own], [rows_B[b] for b in blocks]
            results = _several(seat.actor.score, 1 + len(own) * len(blocks), own, round, rows)
            for (b, place), ref in zip(itertools.product(blocks, own_places), results[:-1], strict=True):
                log_ratios_BK[b][place] = ref
            sums.append(results[-1])
            cells.append(np.ix_(own_places, blocks))
        log_sum_exp_KB = np.empty((len(components), num_blocks))
        for cell, values in zip(cells, self.lookout.gather(sums, "score"), strict=True):
            log_sum_exp_KB[cell] = values
        self.rows.take_log_ratios(components, log_ratios_BK)
        return log_sum_exp_KB

    def reseed(self, donors: Mapping[int, int]) -> None:
        home = {k: seat.actor for seat in self.crew.generators for k in seat.members}
        states = {k: home[donor].state.remote(donor) for k, donor in donors.items()}
        self.lookout.gather(list(states.values()), "reseed", fetch=False)  # before a donor may itself change
        calls = []
        for seat, own in _those_of(self.crew.trainers, tuple(donors)):
            seat.fresh = True
            calls.append(seat.actor.adopt.remote({k: states[k] for k in own}))
        self.lookout.gather(calls, "reseed")

    def reshape(self, sources: Mapping[int, int]) -> None:
        components = tuple(sources)
        resat = {k: sources[k] for k in self.crew.newcomers(components)}
        old = {source: seat.actor for seat in self.crew.generators for source in seat.members}
        states = {k: old[source].state.remote(source) for k, source in resat.items()}
        copies = self._copied_discriminators(sources if self.shared else resat)
        self.lookout.gather([*states.values(), *copies], "reshape", fetch=False)  # before those who hold them change
        calls = []
        for seat in self.crew.fill(components):
            mine = {k: states[k] for k in seat.members} if seat.kind is GeneratorActor else copies
            calls.append(seat.actor.adopt.remote(mine))
        self.lookout.gather(calls, "reshape")

    def _copied_discriminators(self, sources: Mapping[int, int]) -> list[Ref]:
        """What discriminators of new components begin with, {component: of whom}."""
        seats = self.crew.discriminators[:1] if self.shared else self.crew.discriminators
        asked = [(seat, {k: j for k, j in sources.items() if j in seat.members}) for seat in seats]
        return [seat.actor.copies.remote(own) for seat, own in asked if own]

    def _map_blocks(
        self, function: Callable[..., tuple[Any, Any]], common: Sequence[Any], handles_B: Sequence[Sequence[Ref]]
    ) -> list[tuple[Ref, Any]]:
        """The `BlockMap` of a cluster: a task per block, and references for handles."""
        pairs = zip(common, handles_B, strict=True)
        calls = [partial(tasks.block_step.remote, function, value, *handles) for value, handles in pairs]
        results = self.lookout.run_waves(calls, self._block_phase)
        summaries = self.lookout.gather([summary for _, summary in results], self._block_phase)
        return [(kept, summary) for (kept, _), summary in zip(results, summaries, strict=True)]

    # ---- looking

    def evaluate(self, directory: RunDirectory, generation: Generation) -> dict[str, Any]:
        measures: dict[str, Any] = self._of_evaluator(directory, "evaluate", generation)
        return measures

    def pictures(self, directory: RunDirectory) -> Mapping[str, bytes]:
        self.crew.close()  # nobody trains any more, and few processes should hold torch at a time
        files: Mapping[str, bytes] = self._of_evaluator(directory, "pictures")
        return files

    def _pieces(self) -> int:
        """What the evaluator did, as last heard; 0 while it starts."""
        if self.evaluator is None:
            return 0
        answer = self.evaluator.progress.remote()
        ready, _ = ray.wait([answer], timeout=PROGRESS_S)
        try:
            return ray.get(answer) if ready else 0
        except RayError:  # whoever waits for its work is told
            return 0

    def _of_evaluator(self, directory: RunDirectory, method: str, *args: Any) -> Any:
        """What the evaluator's method gives. The actor is started when it is first needed, and anew after it died."""
        if self.evaluator is None:
            self.evaluator = start_evaluator(directory.storage, self.crew.run_id)
        try:
            return self.lookout.gather([getattr(self.evaluator, method).remote(*args)], method)[0]
        except WorkerLostError:  # of whomever: this one may still work
            ray.kill(self.evaluator)
            self.evaluator = None
            raise


def _those_of(seats: Sequence[Seat], components: Sequence[int]) -> list[tuple[Seat, tuple[int, ...]]]:
    """The seats that hold any of the components, each with those it holds."""
    asked = set(components)
    held = [(seat, tuple(k for k in seat.members if k in asked)) for seat in seats]
    return [(seat, own) for seat, own in held if own]


def _several(method: Any, num: int, *args: Any) -> list[Ref]:
    """Call an actor's method that returns `num` results of their own."""
    refs = method.options(num_returns=num).remote(*args)
    return refs if num > 1 else [refs]


def _flat(fits: list[list[Fit]]) -> list[Fit]:
    return sorted((fit for pack in fits for fit in pack), key=lambda fit: fit.component)
