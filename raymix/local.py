"""The workers of a run in one process, without Ray: for small data, notebooks and tests.

They give the same bits as Ray's actors do.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raymix.budgets import num_fakes
from raymix.config import Config
from raymix.data.blocks import read_blocks, read_features
from raymix.data.source import DataSpec, block_bounds
from raymix.errors import TRUNK
from raymix.maths.ownership import Ownership
from raymix.runs import checkpoint
from raymix.runs.checkpoint import Generation, RunDirectory, assignment_name, generator_name
from raymix.seeds import Phase
from raymix.state import Fit
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
        self.config, self.spec = config, spec
        bounds = block_bounds(spec, config.data.block_bytes)
        blocks = list(read_blocks(config.data, spec, bounds))
        rows_B, classes_B = [block.rows for block in blocks], [block.labels for block in blocks]
        self.rows = Ownership(config, spec, map_blocks, rows_B, classes_B, [len(rows) for rows in rows_B])
        self.packs = Packs(config, spec, config.components)
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
        self.rows.centroids = checkpoint.read_centroids(directory.storage, last) if last else None
        if last is None:
            self.packs.initialise(self.rows.rows_B)
            self.rows.assigned_B = [None] * len(self.rows.rows_B)
            return
        self.packs.load(directory.storage, last)
        names = [assignment_name(b) for b in range(len(self.rows.rows_B))]
        self.rows.assigned_B = [
            checkpoint.read_assigned(directory.storage, f"{last.folder}/{name}", last.files[name]) for name in names
        ]

    def slow(self, component: int, round: int) -> None:
        if component != TRUNK:
            self.generators.slow(component)
        if self.discriminators:
            self.discriminators.slow(component, round)

    def begin(self, components: tuple[int, ...]) -> None:
        self.report("begin", None)
        bounds = block_bounds(self.spec, self.config.data.block_bytes)
        features_B = None
        if self.config.schedule.begin == "features":
            features_B = [block.rows for block in read_features(self.config.data, self.spec, bounds)]
        self.rows.begin(components, features_B)

    def pretrain(self, steps: Mapping[int, int]) -> list[Fit]:
        own = pretraining_rows(self.config, self.rows.rows_B, self.rows.assigned_B, tuple(steps))
        count = self._counting("pre-train", sum(steps.values()))
        return self.generators.train(Phase.PRETRAIN, 0, own, steps, count)

    def train_generators(self, round: int, steps: Mapping[int, int], overlap: bool) -> Callable[[], list[Fit]]:
        if overlap:
            self.fakes = self._draw(round, tuple(steps))
        own = shards(self.rows.rows_B, self.rows.assigned_B, tuple(steps))
        count = self._counting("train generators", sum(steps.values()))
        fits = self.generators.train(Phase.TRAIN_GENERATOR, round, own, steps, count)
        return lambda: fits

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
        return self.discriminators.train(round, self.rows.rows_B, fakes)

    def _draw(self, round: int, components: tuple[int, ...]) -> dict[int, NDArray[np.floating]]:
        """The samples that the discriminators of a round see."""
        num = num_fakes(self.config, self.spec.num_rows, len(components))
        groups = self.generators.groups(components, num)
        return {k: rows for group in groups for k, rows in self.generators.fakes(group, num, round).items()}

    def score(self, round: int, components: tuple[int, ...]) -> NDArray[np.float64]:
        scorer = self.packs.scorer
        assert scorer is not None
        self.report("score", None)
        self.rows.drop_log_ratios()
        log_ratios_BK, sums_BK = [], []
        for rows in self.rows.rows_B:
            log_ratios = scorer.score(round, rows, components)
            log_ratios_BK.append([log_ratios[k][0] for k in components])
            sums_BK.append([log_ratios[k][1] for k in components])
        self.rows.take_log_ratios(components, log_ratios_BK)
        return np.array(sums_BK).T

    def reseed(self, donors: Mapping[int, int]) -> None:
        for receiver, donor in donors.items():
            self.generators.load(receiver, self.generators.state(donor))

    def reshape(self, sources: Mapping[int, int]) -> None:
        self.packs = self.packs.copied(sources)

    def commit(self, directory: RunDirectory, round: int) -> dict[str, FileStamp]:
        self.rows.drop_log_ratios()
        storage, folder = directory.storage, directory.folder_for(round)
        tensors = {generator_name(k): self.generators.state(k) for k in self.packs.components}
        if self.discriminators:
            tensors |= self.discriminators.states()
        files = checkpoint.write_states(storage, folder, tensors)
        files |= checkpoint.write_centroids(storage, folder, self.rows.centroids)
        for b, assigned in enumerate(self.rows.assigned_B):
            files[assignment_name(b)] = checkpoint.write_assigned(storage, f"{folder}/{assignment_name(b)}", assigned)
        return files

    def evaluate(self, directory: RunDirectory, generation: Generation) -> dict[str, Any]:
        from raymix.evaluation.evaluate import evaluate_generation  # scikit-learn takes seconds to import

        self.report("evaluate", None)
        return evaluate_generation(directory, generation)

    def pictures(self, directory: RunDirectory) -> Mapping[str, bytes]:
        from raymix.evaluation.report_files import report_files  # so does matplotlib, and training needs neither

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
