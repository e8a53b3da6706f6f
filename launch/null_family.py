"""Components without tensors, to see what everything around the tensors costs: the coordinator, calls, blocks, commits.

The actors are the runtime's own, but for their packs: those train nothing, draw zeros, and score rows by a function of
component, round and place of a row that takes a few instructions. Nothing here loads torch.

Axes: n rows of a block.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import psutil
import ray
from numpy.typing import NDArray
from ray.actor import ActorMethod
from ray.remote_function import RemoteFunction

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.runs.checkpoint import discriminator_name
from raymix.runs.rounds import RoundRecord
from raymix.runs.run import Status
from raymix.runtime.actors import DiscriminatorActor, GeneratorActor, Meeting
from raymix.runtime.coordinator import Coordinator
from raymix.runtime.crew import Classes
from raymix.runtime.fetching import Refs
from raymix.seeds import Phase, phase_seed
from raymix.state import Fit

Arrays = dict[str, NDArray[np.generic]]
LOSS = 0.693


class NullGenerators:
    """A pack whose components have no tensors but their number."""

    def __init__(self, config: Config, spec: DataSpec, components: Sequence[int]) -> None:
        self.config, self.spec, self.components = config, spec, tuple(components)

    def initialise(self, rows_B: Sequence[NDArray[np.generic]]) -> None:
        pass

    def load(self, component: int, state: Arrays) -> None:
        assert int(state["component"]) == component

    def state(self, component: int) -> Arrays:
        return {"component": np.array(component)}

    def train(self, steps: Mapping[int, int], count: Callable[[int], None]) -> list[Fit]:
        count(sum(steps.values()))
        return [Fit(k, num, LOSS) for k, num in steps.items()]

    def groups(self, components: Sequence[int], num: int) -> list[tuple[int, ...]]:
        """Those whose samples are drawn together."""
        return [tuple(components)]

    def fakes(self, components: Sequence[int], num: int, round: int) -> dict[int, NDArray[np.generic]]:
        return {k: np.zeros((num, *self.spec.row_shape), np.float32) for k in components}


class NullDiscriminators:
    """The same for discriminators."""

    def __init__(self, config: Config, components: Sequence[int]) -> None:
        self.config, self.components = config, tuple(components)

    def initialise(self) -> None:
        pass

    def load(self, states: Mapping[str, Arrays]) -> None:
        assert set(states) == set(self.states())

    def states(self) -> dict[str, Arrays]:
        return {discriminator_name(k, shared=False): {"component": np.array(k)} for k in self.components}

    def train(
        self,
        round: int,
        rows_B: Sequence[Any],
        fakes: Mapping[int, Any],
        count: Callable[[int], None],
        team: None = None,
    ) -> list[Fit]:
        steps = self.config.discriminator.steps(sum(len(rows) for rows in rows_B))
        count(steps * len(fakes))
        return [Fit(k, steps, LOSS) for k in fakes]

    def score(
        self, round: int, rows: NDArray[np.generic], components: Sequence[int]
    ) -> dict[int, tuple[NDArray[np.floating], float]]:
        """Log ratios of a block's rows in [-1, 0), and their log-sum-exp, by component."""
        return {k: null_log_ratios(self.config.seed, round, k, len(rows)) for k in components}


def null_log_ratios(run_seed: int, round: int, component: int, num: int) -> tuple[NDArray[np.float32], float]:
    """(n,) numbers that look random, in nats."""
    factor = np.uint32((phase_seed(run_seed, round, component, Phase.TRAIN_DISCRIMINATOR) | 1) & 0xFFFFFFFF)
    bits_n = np.arange(1, num + 1, dtype=np.uint32) * factor
    log_ratio_n = (bits_n >> np.uint32(8)).astype(np.float32) * np.float32(2**-24) - np.float32(1)
    return log_ratio_n, float(np.log(np.exp(log_ratio_n).sum(dtype=np.float64)))


# ---- what is counted in every process


class Calls:
    """Remote calls that this process makes from now on, by the name of what is called."""

    def __init__(self) -> None:
        self.num: Counter[str] = Counter()
        for kind, name_of in ((ActorMethod, lambda each: each._method_name), (RemoteFunction, _name_of_function)):
            setattr(kind, "_remote", self._counting(kind._remote, name_of))  # noqa: B010, the type checker's

    def _counting(self, remote: Callable[..., Any], name_of: Callable[[Any], str]) -> Callable[..., Any]:
        def counted(called: Any, *args: Any, **options: Any) -> Any:
            self.num[name_of(called)] += 1
            return remote(called, *args, **options)

        return counted


def _name_of_function(function: Any) -> str:
    return str(function._function_name).rsplit(".", 1)[-1]


class Found(NamedTuple):
    """What is counted in one process of the run."""

    calls: Counter[str]
    private_bytes: int
    torch: bool
    """Whether it has loaded torch."""


def found_here(calls: Calls) -> Found:
    return Found(Counter(calls.num), psutil.Process().memory_full_info().uss, "torch" in sys.modules)


class NullGeneratorActor(GeneratorActor):
    """Real but for its pack, and for the rows that it does not gather."""

    pack: Any

    def _prepare(self) -> None:
        self.calls = Calls()

    def take(self, components: Sequence[int]) -> None:
        self.done = None
        self.pack = NullGenerators(self.config, self.spec, components)

    def pretrain(
        self,
        steps: Mapping[int, int],
        rows_B: Refs,
        assigned_B: Refs,
        rank: int = 0,
        meeting: Meeting | None = None,
    ) -> list[Fit]:
        ray.get(list(rows_B))
        return self.once("pre-train", 0, lambda: self.pack.train(steps, self.count))

    def train(
        self,
        round: int,
        steps: Mapping[int, int],
        rows_B: Refs,
        assigned_B: Refs,
        rank: int = 0,
        meeting: Meeting | None = None,
    ) -> list[Fit]:
        ray.get(list(rows_B)), ray.get(list(assigned_B))
        return self.once("train", round, lambda: self.pack.train(steps, self.count))

    @ray.method(concurrency_group="watch")
    def found(self) -> Found:
        return found_here(self.calls)


class NullDiscriminatorActor(DiscriminatorActor):
    """Real but for its pack."""

    pack: Any

    def _prepare(self) -> None:
        self.calls = Calls()

    def take(self, components: Sequence[int]) -> None:
        self.done = None
        self.pack = NullDiscriminators(self.config, components)

    @ray.method(concurrency_group="watch")
    def found(self) -> Found:
        return found_here(self.calls)


class Mark(NamedTuple):
    """The coordinator just after a commit, since its start."""

    round: int
    seconds: Mapping[str, float]
    """Wall time of each phase of the round."""
    wall_s: float
    cpu_s: float
    calls: Counter[str]
    private_bytes: int


class NullCoordinator(Coordinator):
    """Real, with null actors; it counts its calls and looks at itself after every commit."""

    classes: Classes = {GeneratorActor: NullGeneratorActor, DiscriminatorActor: NullDiscriminatorActor}  # noqa: RUF012

    def __init__(self, *args: Any) -> None:
        self.calls = Calls()
        self.marks: list[Mark] = []
        self.actors: list[Found] = []
        """What all actors counted, after the last commit."""
        super().__init__(*args)

    def _run(self) -> None:
        export = self.progress.watch

        def watch(status: Status) -> None:
            export(status)
            for line in status.lines:
                self._look(line)

        self.progress.watch = watch
        super()._run()

    def _look(self, line: RoundRecord) -> None:
        own = found_here(self.calls)
        mark = Mark(line.round, line.seconds, time.time(), time.process_time(), own.calls, own.private_bytes)
        self.marks.append(mark)
        if line.round == self.config.schedule.rounds and self.crew:
            self.actors = ray.get([seat.actor.found.remote() for seat in self.crew.seats])

    def measured(self) -> tuple[list[Mark], Found, list[Found]]:
        """What the coordinator counted round by round and now, and the actors."""
        return self.marks, found_here(self.calls), self.actors
