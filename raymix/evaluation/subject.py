"""A mixture at one round, as measures see it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymix.config import Config, EvaluationConfig
from raymix.data.blocks import require_same
from raymix.data.open import open_source
from raymix.data.source import DataSpec, Source, block_bounds
from raymix.evaluation.samples import drawn, mixed_counts
from raymix.runs.checkpoint import Generation, assignment_name, read_assigned
from raymix.state import State
from raymix.storage import Storage
from raymix.training.generators import GeneratorPack

Count = Callable[[int], None]
"""Told of each piece of work that is done."""


def ignore(pieces: int) -> None:
    """For callers who do not watch."""


@dataclass(frozen=True)
class Subject:
    """What is measured, and how."""

    generators: GeneratorPack
    storage: Storage
    generation: Generation
    settings: EvaluationConfig
    count: Count = ignore

    @property
    def config(self) -> Config:
        return self.generators.setting.config

    @property
    def spec(self) -> DataSpec:
        return self.generators.setting.spec

    @property
    def state(self) -> State:
        return self.generation.state

    def training_rows(self) -> Source:
        """The data set that the run was trained on. Raises `DataError` when it is another one now."""
        source = open_source(self.config.data)
        require_same(source.spec, self.spec)
        return source

    @property
    def counts(self) -> list[tuple[int, int]]:
        """How many samples of the mixture come from each component."""
        return mixed_counts(self.state, self.settings.num_samples, self.settings.seed)

    def samples(self) -> Iterator[tuple[int, NDArray[np.floating]]]:
        """The mixture's samples in data units, component after component, in pieces (component, rows)."""
        for k, rows in drawn(self.generators, self.counts, self.settings.seed):
            self.count(1)
            yield k, rows

    def winners(self, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
        """Who won the training rows of these numbers, given in ascending order."""
        parts = []
        for b, (start, stop) in enumerate(block_bounds(self.spec, self.config.data.block_bytes)):
            here = numbers[(numbers >= start) & (numbers < stop)] - start
            name = assignment_name(b)
            path = f"{self.generation.folder}/{name}"
            parts.append(read_assigned(self.storage, path, self.generation.files[name]).winners[here])
        return np.concatenate(parts)


class Measured(NamedTuple):
    """Numbers by the names of `raymix.metrics.catalogue`."""

    mixture: dict[str, float]
    real: dict[str, float]
    """The same with training rows in the samples' place: what a perfect mixture would reach."""
    components: dict[int, dict[str, float]]
    """Some of them for each component alone."""
    about: dict[str, Any] = field(default_factory=dict)
    """How many rows they come from, and by what they were compared."""
