"""One run in its directory: start it or go on, commit each round, finish with a picture.

The same function serves the in-process workers and the coordinator on Ray.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from raymix.algorithm import Workers, train_mixture
from raymix.checkpoint import Generation, RunDirectory
from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.evaluation import evaluate
from raymix.record import Events, Record, record_line
from raymix.report.pictures import save_samples
from raymix.seeds import Phase, phase_seed
from raymix.state import RoundInfo, State
from raymix.storage import FileStamp

PICTURED = 16  # samples and real rows per component of an image set
SCATTERED = 400  # the same of a vector set


class RunWorkers(Workers, Protocol):
    """Workers that can also be started, committed and looked at."""

    def start(self, directory: RunDirectory, last: Generation | None) -> None:
        """Fresh components, or those of a generation with its assignment."""
        ...

    def commit(self, directory: RunDirectory, round: int) -> dict[str, FileStamp]:
        """Write every component's tensors and every block's labels under the round's folder."""
        ...

    def sample(self, component: int, num: int, seed: int) -> NDArray[np.floating]:
        """(num, *row_shape) samples of one generator in data units."""
        ...

    def owned_rows(self, component: int, num: int, seed: int) -> NDArray[np.generic]:
        """At most `num` of the rows the component won, drawn at random, in data units."""
        ...


@dataclass(frozen=True)
class Status:
    """Where a run stands, for whoever watches."""

    lines: list[dict[str, Any]]
    """Record lines that were not shown before."""
    rounds: int
    doing: str
    share_done: float | None = None
    """Of the present phase, where its steps are known."""
    ended: bool = False
    stopped: bool = False
    failure: Exception | None = None


@dataclass
class Progress:
    """What a run has recorded so far. `watch` sees each new line when it is there."""

    rounds: int
    lines: list[dict[str, Any]] = field(default_factory=list)
    watch: Callable[[Status], None] = lambda status: None
    shown: int = 0

    def report(self, doing: str = "", share_done: float | None = None, ended: bool = False) -> None:
        self.watch(Status(self.lines[self.shown :], self.rounds, doing, share_done, ended=ended))
        self.shown = len(self.lines)


class Stopped(Exception):  # noqa: N818
    """The run was asked to stop and did, after a commit."""


def run(
    config: Config,
    spec: DataSpec,
    directory: RunDirectory,
    workers: RunWorkers,
    progress: Progress,
    stopping: Callable[[], bool] = lambda: False,
) -> State:
    """Take over the directory, do the rounds it leaves to do, and return the last state.

    Raises what the workers raise, and `Stopped` after the round in which `stopping` became true.
    """
    directory.take_over()
    last = directory.last()
    done = last.state.round if last else -1
    directory.drop_after(done)
    workers.start(directory, last)
    record = Record(directory.storage, [g.record for g in directory.generations()])
    progress.lines = list(record.lines)
    progress.report()
    events = Events(directory.storage, done + 1) if directory.storage.is_local else None

    def observe(state: State, info: RoundInfo) -> None:
        line = record_line(state, info)
        every = config.schedule.evaluate_every
        if every and (state.round % every == 0 or state.round == config.schedule.rounds):
            line["measures"] = evaluate(config, spec, state, line.get("clustering"), workers.sample)
        files = workers.commit(directory, state.round)
        directory.publish(state, files, line)
        record.append(line)
        progress.lines.append(line)
        progress.report()
        if events:
            events.append(line)
        directory.prune(config.schedule.best_metric)
        if stopping() and state.round < config.schedule.rounds:
            raise Stopped

    try:
        state = train_mixture(config, workers, last.state if last else None, observe)
    finally:
        if events:
            events.close()
    directory.storage.write("samples.png", picture(config, spec, state, workers))
    return state


def picture(config: Config, spec: DataSpec, state: State, workers: RunWorkers) -> bytes:
    """A PNG of samples of each component beside real rows it owns."""
    num = PICTURED if spec.is_image else SCATTERED
    samples, real = [], []
    for k in state.components:
        seed = phase_seed(config.seed, state.round, k, Phase.PICTURE)
        samples.append(workers.sample(k, num, seed))
        real.append(workers.owned_rows(k, num, seed))
    buffer = io.BytesIO()
    kind: Literal["image", "vector"] = "image" if spec.is_image else "vector"
    save_samples(buffer, samples, real, state.weights_K, kind, state.components)
    return buffer.getvalue()
