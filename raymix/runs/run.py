"""One run in its directory: start it or go on, commit each round, mend what fails, finish with a picture.

The same function serves the in-process workers and the coordinator on Ray.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

from raymix.algorithm import Workers, train_mixture, without
from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.errors import DivergedError, RaymixError, WorkerLostError
from raymix.runs.checkpoint import Generation, RunDirectory
from raymix.runs.failures import TRIES, Action, action
from raymix.runs.record import Events, Record, round_record
from raymix.runs.rounds import RoundRecord
from raymix.state import RoundInfo, State
from raymix.storage import FileStamp

log = logging.getLogger(__name__)


class RunWorkers(Workers, Protocol):
    """Workers that can also be started, repaired, committed and looked at."""

    def start(self, directory: RunDirectory, last: Generation | None) -> None:
        """Everybody takes the state of a generation with its assignment; None for fresh components."""
        ...

    def recover(self, directory: RunDirectory, last: Generation | None) -> None:
        """Replace whoever was lost by one with the state of a generation. The others keep what they did since, which is
        the same that they would do again."""
        ...

    def settle(self, directory: RunDirectory, last: Generation) -> None:
        """Between rounds, all at the state of a generation: whoever gains by nodes that joined moves there."""
        ...

    def slow(self, component: int, round: int) -> None:
        """Halve the component's learning rates; its discriminator's for this round only when it starts anew in each."""
        ...

    def commit(self, directory: RunDirectory, round: int) -> dict[str, FileStamp]:
        """Write every component's tensors and every block's assignment under the round's folder."""
        ...

    def spilled_bytes(self) -> int:
        """Bytes that lie on disks because they outgrow the memory for them."""
        ...

    def evaluate(self, directory: RunDirectory, generation: Generation) -> dict[str, Any]:
        """Measures of a round whose files are written."""
        ...

    def pictures(self, directory: RunDirectory) -> Mapping[str, bytes]:
        """What shows the last committed round to people, by file name."""
        ...

    def close(self) -> None:
        """End every process and give back what they held."""
        ...


@dataclass(frozen=True)
class Status:
    """Where a run stands, for whoever watches."""

    lines: list[RoundRecord]
    """Record lines that were not shown before."""
    rounds: int
    doing: str
    share_done: float | None = None
    """The share of the present phase that is done, where its steps are known."""
    ended: bool = False
    stopped: bool = False
    failure: Exception | None = None


@dataclass
class Progress:
    """What a run has recorded so far. `watch` sees each new line when it is there."""

    rounds: int
    lines: list[RoundRecord] = field(default_factory=list)
    watch: Callable[[Status], None] = lambda status: None
    shown: int = 0

    def report(self, doing: str = "", share_done: float | None = None, ended: bool = False) -> None:
        self.watch(Status(self.lines[self.shown :], self.rounds, doing, share_done, ended=ended))
        self.shown = len(self.lines)


class Stopped(Exception):  # noqa: N818
    """The run was asked to stop and did, after a commit."""


class Mending(NamedTuple):
    """A failure and what was done about it."""

    failure: RaymixError
    action: Action


class Run:
    """The rounds of one run: each is repeated until it is committed, or its failure is given up."""

    def __init__(
        self,
        config: Config,
        spec: DataSpec,
        directory: RunDirectory,
        progress: Progress,
        stopping: Callable[[], bool] = lambda: False,
        restarted: bool = False,
    ) -> None:
        """Takes over the directory.

        `restarted` says that this process took the place of one that died: the third death without a commit between is
        given up. Raises `WorkerLostError`.
        """
        deaths = directory.take_over(restarted)
        if deaths >= TRIES:
            raise WorkerLostError(f"died {deaths} times without a commit between", "the coordinator", "look at its log")
        self.config, self.spec, self.directory = config, spec, directory
        self.progress, self.stopping = progress, stopping
        self.mendings: list[Mending] = []
        """Since the last commit."""
        self.last = directory.last()
        done = self.last.state.round if self.last else -1
        directory.drop_after(done)
        directory.prune(config.schedule.best_metric)
        self.record = Record(directory, [g.record for g in directory.generations()])
        self.events = Events(directory, self.record.lines)
        progress.lines = list(self.record.lines)
        progress.report()

    def finish(self, employ: Callable[[], RunWorkers]) -> State:
        """Do the rounds that are left, draw the picture, and return the last state.

        `employ` makes new workers. Raises what the workers raise and what cannot be mended, and `Stopped` after the
        round in which `stopping` became true.
        """
        workers: RunWorkers | None = None
        try:
            while True:
                try:
                    fresh = workers is None
                    if workers is None:
                        workers = employ()
                    state = self._prepare(workers, fresh)
                    state = train_mixture(self.config, workers, state, partial(self._commit, workers))
                    if self.config.schedule.report:
                        self._picture(workers)
                    return state
                except RaymixError as failure:
                    if self._mend(failure) is Action.RESTART and workers:
                        workers.close()
                        workers = None
        finally:
            if workers:
                workers.close()

    def _measured(self, workers: RunWorkers, generation: Generation) -> RoundRecord:
        """The round's record with what was measured, or with a warning: a round counts without it."""
        record, start = generation.record, time.perf_counter()
        try:
            record = replace(record, measures=workers.evaluate(self.directory, generation))
        except WorkerLostError:
            raise
        except RaymixError as error:
            log.warning("round %d could not be measured: %s", generation.state.round, error)
            record = replace(record, warnings=(*record.warnings, f"not measured: {error}"))
        return replace(record, seconds={**record.seconds, "evaluate": round(time.perf_counter() - start, 3)})

    def _picture(self, workers: RunWorkers) -> None:
        """Write what shows the last round to people; what was learned counts without it."""
        try:
            files = workers.pictures(self.directory)
        except WorkerLostError:
            raise
        except RaymixError as error:
            log.warning("the page could not be made: %s; try `raymix report`", error)
            return
        for name, content in files.items():
            self.directory.write(name, content)

    def _mend(self, failure: RaymixError) -> Action:
        """Decide what to do, or raise the failure."""
        competing = self.last.state.components if self.last else self.config.components
        left = len(competing) - sum(mending.action is Action.DROP for mending in self.mendings)
        decision = action(failure, [mending.failure for mending in self.mendings], self.config, left)
        finished = self.last is not None and self.last.state.round >= self.config.schedule.rounds
        if decision is Action.GIVE_UP or (finished and isinstance(failure, DivergedError)):  # no round can mend it
            raise failure
        log.warning("%s: will %s", failure, decision.value)
        self.mendings.append(Mending(failure, decision))
        return decision

    def _prepare(self, workers: RunWorkers, fresh: bool) -> State:
        """Bring the workers to the last commit, and mend what diverged since."""
        diverged = [mending for mending in self.mendings if isinstance(mending.failure, DivergedError)]
        if fresh or diverged:
            workers.start(self.directory, self.last)
        else:
            workers.recover(self.directory, self.last)
        state = self.last.state if self.last else State.fresh(self.config.components, self.config.schedule.adapt)
        for mending in diverged:
            assert isinstance(mending.failure, DivergedError)
            if mending.action is Action.DROP:
                state = without(self.config, workers, state, mending.failure.component)
            else:
                workers.slow(mending.failure.component, max(0, state.round + 1))
        return state

    def _commit(self, workers: RunWorkers, state: State, info: RoundInfo) -> None:
        config, directory = self.config, self.directory
        record = round_record(state, info, [(str(failure), action.value) for failure, action in self.mendings])
        start = time.perf_counter()
        files = workers.commit(directory, state.round)
        record = replace(
            record,
            seconds={**record.seconds, "commit": round(time.perf_counter() - start, 3)},
            committed_bytes=sum(stamp.num_bytes for stamp in files.values()),
            spilled_bytes=workers.spilled_bytes(),
        )
        generation = directory.prepared(state, files, record)
        if config.schedule.evaluates(state.round):
            generation = replace(generation, record=self._measured(workers, generation))
        directory.publish(generation)
        self.last = generation
        self.mendings.clear()
        self.record.append(generation.record)
        self.progress.lines.append(generation.record)
        self.progress.report()
        self.events.append(generation.record)
        directory.prune(config.schedule.best_metric)
        if state.round < config.schedule.rounds:
            if self.stopping():
                raise Stopped
            workers.settle(directory, generation)
