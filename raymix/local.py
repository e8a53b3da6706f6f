"""The workers of a run in one process, without Ray: for small data, notebooks and tests.

They give the same bits as Ray's actors do.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raymix import checkpoint
from raymix.budgets import num_fakes
from raymix.checkpoint import Generation, RunDirectory, generator_name, labels_name
from raymix.config import Config
from raymix.data.blocks import read_blocks
from raymix.data.source import Block, DataSpec, block_bounds
from raymix.errors import TRUNK
from raymix.maths import blockwise, reshape
from raymix.maths.modality import Modality
from raymix.maths.structure import Confusion, Group, Plan
from raymix.seeds import Phase
from raymix.state import Assigned, Fit, Outcome
from raymix.storage import FileStamp
from raymix.training.discriminators import DiscriminatorPack
from raymix.training.generators import GeneratorPack
from raymix.training.packs import Packs
from raymix.training.shards import pretraining_rows, shards


class LocalWorkers:
    """All components in one pack, all blocks in memory."""

    def __init__(
        self, config: Config, spec: DataSpec, report: Callable[[str, float | None], None] = lambda doing, share: None
    ) -> None:
        """`report` is told the present phase and the share of its steps that is done."""
        self.report = report
        self.config, self.spec, self.num_rows = config, spec, spec.num_rows
        bounds = block_bounds(spec, config.data.block_bytes)
        self.blocks: list[Block] = list(read_blocks(config.data, spec, bounds))
        self.rows_B = [block.rows for block in self.blocks]
        self.packs = Packs(config, spec, config.components)
        self.assigned_B: list[Assigned] | None = None
        self.scores_B: list[dict[int, NDArray[np.floating]]] = []
        """Log ratios by component."""
        self.shared: tuple[list[Any], list[NDArray[np.int64]]] = [], []
        """Of those who `share` the rows: positions of the winners, and rows won, per block."""
        self.fakes: dict[int, NDArray[np.floating]] = {}
        """Samples of the present round that were drawn before its generators trained."""

    @property
    def generators(self) -> GeneratorPack:
        return self.packs.generators

    @property
    def discriminators(self) -> DiscriminatorPack | None:
        return self.packs.discriminators

    def start(self, directory: RunDirectory, last: Generation | None) -> None:
        self.fakes = {}
        components = last.components if last else self.config.components
        if components != self.packs.components:
            self.packs = Packs(self.config, self.spec, components)
        if last is None:
            self.packs.initialise(self.rows_B)
            self.assigned_B = None
            return
        self.packs.load(directory.storage, last)
        names = [labels_name(b) for b in range(len(self.blocks))]
        self.assigned_B = [
            checkpoint.read_assigned(directory.storage, f"{last.folder}/{name}", last.files[name]) for name in names
        ]

    def slow(self, component: int, round: int) -> None:
        if component != TRUNK:
            self.generators.slow(component)
        if self.discriminators:
            self.discriminators.slow(component, round)

    def pretrain(self, steps: Mapping[int, int]) -> list[Fit]:
        own = {k: pretraining_rows(self.config, self.rows_B, k) for k in steps}
        count = self._counting("pre-train", sum(steps.values()))
        return self.generators.train(Phase.PRETRAIN, 0, own, steps, count)

    def start_generators(self, round: int, steps: Mapping[int, int]) -> Callable[[], list[Fit]]:
        self.fakes = self._draw(round, tuple(steps))
        fits = self.train_generators(round, steps)
        return lambda: fits

    def train_generators(self, round: int, steps: Mapping[int, int]) -> list[Fit]:
        assert self.assigned_B is not None
        own = shards(self.rows_B, self.assigned_B, tuple(steps))
        count = self._counting("train generators", sum(steps.values()))
        return self.generators.train(Phase.TRAIN_GENERATOR, round, own, steps, count)

    def _counting(self, doing: str, num_steps: int) -> Callable[[int], None]:
        """Reports the share done each time it is told of further steps."""
        done = 0

        def count(steps: int) -> None:
            nonlocal done
            done += steps
            self.report(doing, min(1.0, done / max(1, num_steps)))

        count(0)
        return count

    def train_discriminators(self, round: int, components: tuple[int, ...]) -> list[Fit]:
        if self.discriminators is None:
            return []
        fakes, self.fakes = self.fakes or self._draw(round, components), {}
        self.report("train discriminators", None)
        return self.discriminators.train(round, self.rows_B, fakes)

    def _draw(self, round: int, components: tuple[int, ...]) -> dict[int, NDArray[np.floating]]:
        """The samples that the discriminators of a round see."""
        num = num_fakes(self.config, self.num_rows, len(components))
        groups = self.generators.groups(components, num)
        return {k: rows for group in groups for k, rows in self.generators.fakes(group, num, round).items()}

    def score(self, round: int, components: tuple[int, ...]) -> NDArray[np.float64]:
        judges = self.packs.judges
        assert judges is not None
        self.report("score", None)
        self.scores_B, sums_BK = [], []
        for rows in self.rows_B:
            scores = judges.score(round, rows, components)
            self.scores_B.append({k: scores[k][0] for k in components})
            sums_BK.append([scores[k][1] for k in components])
        return np.array(sums_BK).T

    def assign(self, round: int, components: tuple[int, ...], log_z_K: Sequence[float]) -> Outcome:
        self.assigned_B, outcome = blockwise.assign(
            map_blocks,
            [[scores[k] for k in components] for scores in self.scores_B],
            [block.labels for block in self.blocks],
            self.assigned_B or [None] * len(self.blocks),
            components=components,
            num_classes=len(self.spec.classes),
            log_z_K=log_z_K,
            min_share=self.config.balance.min_share,
        )
        if not self.config.schedule.retires(round):
            self.scores_B = []
        return outcome

    def deal(self, round: int, components: tuple[int, ...]) -> Outcome:
        sizes_B = [len(rows) for rows in self.rows_B]
        self.assigned_B, outcome = blockwise.assign_control(
            map_blocks,
            blockwise.control_tasks(self.config, components, sizes_B, len(self.spec.classes), round),
            [block.labels for block in self.blocks],
            self.assigned_B or [None] * len(self.blocks),
        )
        return outcome

    def reseed(self, round: int, components: tuple[int, ...], donors: Mapping[int, int]) -> Outcome:
        assert self.assigned_B is not None
        for receiver, donor in donors.items():
            self.generators.load(receiver, self.generators.state(donor))
        num_blocks, num_classes = len(self.blocks), len(self.spec.classes)
        tasks = blockwise.reseed_tasks(donors, components, num_blocks, num_classes, self.config.seed, round)
        classes_B = [block.labels for block in self.blocks]
        self.assigned_B, outcome = blockwise.reseed(map_blocks, tasks, classes_B, self.assigned_B)
        return outcome

    def share(self, components: tuple[int, ...], log_z_K: Sequence[float]) -> Confusion:
        scores_B = [[scores[k] for k in components] for scores in self.scores_B]
        self.scores_B = []
        labels_B, won_BK, confusion = reshape.confusion(map_blocks, scores_B, log_z_K)
        self.shared = labels_B, won_BK
        return confusion

    def look(self, components: tuple[int, ...], groups: Sequence[Group]) -> list[Modality]:
        return reshape.modalities(
            map_blocks,
            reshape.positions(groups, components),
            self.rows_B,
            *self.shared,
            scale=self.config.data.scale or (1.0,),
            row_shape=self.spec.row_shape,
        )

    def reshape(self, components: tuple[int, ...], plan: Plan) -> Outcome:
        assert self.assigned_B is not None
        self.packs = self.packs.copied(plan.sources)
        task = reshape.Reshape(components, plan, self.config.data.scale or (1.0,), len(self.spec.classes))
        classes_B = [block.labels for block in self.blocks]
        self.assigned_B, outcome = reshape.reshaped(
            map_blocks, task, self.rows_B, self.shared[0], self.assigned_B, classes_B
        )
        return outcome

    def commit(self, directory: RunDirectory, round: int) -> dict[str, FileStamp]:
        assert self.assigned_B is not None
        self.scores_B = []
        storage, folder = directory.storage, directory.folder_for(round)
        tensors = {generator_name(k): self.generators.state(k) for k in self.packs.components}
        if self.discriminators:
            tensors |= self.discriminators.states()
        files = checkpoint.write_states(storage, folder, tensors)
        for b, assigned in enumerate(self.assigned_B):
            files[labels_name(b)] = checkpoint.write_assigned(storage, f"{folder}/{labels_name(b)}", assigned)
        return files

    def evaluate(self, directory: RunDirectory, generation: Generation) -> dict[str, Any]:
        from raymix.evaluation.evaluate import evaluate_generation  # scikit-learn takes seconds to import

        self.report("evaluate", None)
        return evaluate_generation(directory, generation)

    def pictures(self, directory: RunDirectory) -> Mapping[str, bytes]:
        from raymix.reporting import report_files  # so does matplotlib, and training needs neither

        self.report("report", None)
        return report_files(directory)

    def recover(self, directory: RunDirectory, last: Generation | None) -> None:
        self.start(directory, last)  # nothing can be lost in one process

    def settle(self, directory: RunDirectory, last: Generation) -> None:
        pass  # there is one process

    def spilled_bytes(self) -> int:
        return 0

    def close(self) -> None:
        pass


def map_blocks(
    function: Callable[..., tuple[Any, Any]], common: Sequence[Any], handles_B: Sequence[Sequence[Any]]
) -> list[tuple[Any, Any]]:
    """The in-process `BlockMap`: a value is its own handle."""
    return [function(value, *handles) for value, handles in zip(common, handles_B, strict=True)]
