"""Waiting for the workers of a run, and looking meanwhile whether they live and how far they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from raymix.errors import DivergedError, NodeLostError, WorkerLostError
from raymix.runtime.capacity import cluster_nodes
from raymix.runtime.crew import Crew
from raymix.runtime.waiting import gather, translated

PROGRESS_S = 1.0  # within which a worker tells how far it is, or is not heard this time
LEAST_WIDTH = 4
Ref = Any
Call = Callable[[], Any]


@dataclass
class Activity:
    """What a run is doing just now, for whoever asks."""

    doing: str = "start"
    steps_to_do: int = 0
    steps_done: int = 0
    steps_before: int | None = None
    """Steps done when this phase was first looked at: what earlier phases did since the last look is not this one's."""

    def begin(self, doing: str, steps: int = 0) -> None:
        """Another phase, of so many steps where they are known."""
        self.doing, self.steps_to_do, self.steps_before = doing, steps, None

    def look(self, steps: int) -> None:
        """So many steps are done since the start."""
        self.steps_done = steps
        if self.steps_before is None:
            self.steps_before = steps

    @property
    def share_done(self) -> float | None:
        """The share of the present phase that is done, where its steps are known."""
        if not self.steps_to_do:
            return None
        if self.steps_before is None:
            return 0.0
        return max(0.0, min(1.0, (self.steps_done - self.steps_before) / self.steps_to_do))


class Lookout:
    """Waits for a crew, and for tasks."""

    def __init__(self, crew: Crew, activity: Activity, pieces: Callable[[], int]) -> None:
        """`pieces`: of work that others than the crew did; more of them are a sign of life, too."""
        self.crew, self.activity, self.pieces = crew, activity, pieces

    def gather(self, refs: Sequence[Ref], doing: str, steps: int = 0, fetch: bool = True) -> list[Any]:
        """As `raymix.runtime.waiting.gather`, with the names of lost actors."""
        self.activity.begin(doing, steps)
        stall_s = self.crew.config.resources.stall_s
        try:
            return gather(refs, doing, stall_s, self._progress, fetch)
        except DivergedError as error:
            raise first_diverged(refs, error, stall_s) from None
        except NodeLostError:
            raise
        except WorkerLostError as error:
            names = ", ".join(seat.name for seat in self.crew.lost())
            raise WorkerLostError(error.what, f"{doing} ({names or 'no actor is lost'})", error.todo) from None

    def run_waves(self, calls: Sequence[Call], doing: str, at_home: bool = False) -> list[Any]:
        """Start tasks a wave at a time and wait until all are done; returns what the calls did (refs).

        Tasks ask no processor, so without waves each would get a process of its own at once: as many at a time as the
        cluster has processors, or the coordinator's node where they run there alone, `at_home`.
        """
        width = width_of_this_node() if at_home else max(2, int(ray.cluster_resources().get("CPU", 0)))
        refs: list[Any] = []
        for i in range(0, len(calls), width):
            wave = [call() for call in calls[i : i + width]]
            self.gather([ref[0] if isinstance(ref, list) else ref for ref in wave], doing, fetch=False)
            refs += wave
        return refs

    def _progress(self) -> int:
        """Steps and pieces since the start, as last heard. Raises `WorkerLostError`."""
        self.crew.require_places()
        steps = self.crew.steps_done(PROGRESS_S)
        self.activity.look(steps)
        return steps + self.pieces()


def first_diverged(refs: Sequence[Ref], error: DivergedError, timeout_s: float) -> DivergedError:
    """The component with the lowest id of all that diverge in a phase, whoever told first."""
    ready, _ = ray.wait(list(refs), num_returns=len(refs), timeout=timeout_s)
    found = [error]
    for ref in ready:
        try:
            ray.get(ref)
        except RayError as other:
            cause = translated(other, "")
            if isinstance(cause, DivergedError):
                found.append(cause)
    return min(found, key=lambda each: each.component)


def width_of_this_node() -> int:
    """How many tasks may run at once on the coordinator's node, which may say that it has no processors."""
    own = ray.get_runtime_context().get_node_id()
    return max(LEAST_WIDTH, *(int(node.cpus) for node in cluster_nodes() if node.id == own))
