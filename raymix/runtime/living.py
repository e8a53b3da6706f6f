"""Runs that live on the connected cluster: found by their directory, watched, and ended, by any of its clients."""

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError

from raymix.errors import ResourceError, WorkerLostError
from raymix.runs.run import Status
from raymix.runtime.actors import Process
from raymix.runtime.groups import remove_groups
from raymix.runtime.identity import NAMESPACE, name_of, prefix_of, run_id_of
from raymix.runtime.waiting import one_line, translated

POLL_S = 0.1
ANSWER_S = 10.0
ENDED_S = 30.0
RESUME = "go on with `raymix resume`"


def living_coordinator(uri: str) -> Any | None:
    """The handle of the coordinator whose run in `uri` goes on, if there is one; it may be slow to answer, or start
    again just now."""
    try:
        coordinator: Any = ray.get_actor(name_of(run_id_of(uri)), namespace=NAMESPACE)
        status: Status = ray.get(coordinator.status.remote(), timeout=ANSWER_S)
    except (ValueError, ActorDiedError):  # nobody has the name, or who has it is about to lose it
        return None
    except RayError:
        return coordinator
    return None if status.ended else coordinator


def watch_until_end(coordinator: Any, stall_s: float, watch: Callable[[Status], None]) -> bool:
    """Give `watch` the status about ten times a second, with the record lines it has not seen, until the run has ended.

    Returns whether it did: False when the coordinator died with the driver or node it belonged to. Raises what the run
    itself raises, and `WorkerLostError` when somebody ended it or nothing is heard of it for `stall_s` seconds.
    """
    seen, last_answer, dead = 0, time.monotonic(), False
    while True:
        try:
            status: Status = ray.get(coordinator.status.remote(seen), timeout=ANSWER_S)
        except RayError as error:
            if getattr(error, "actor_init_failed", False):  # it will not come
                raise translated(error, "the coordinator") from None
            if "killed by `ray.kill`" in str(error):
                raise WorkerLostError("was ended by somebody else", "the coordinator", RESUME) from None
            if dead and isinstance(error, ActorDiedError):  # of one that restarts only the call under way says so
                return False
            dead = isinstance(error, ActorDiedError)
            silence = time.monotonic() - last_answer
            if silence > stall_s:
                reason = f"has not answered for {silence:.0f} s ({error.__class__.__name__})"
                raise WorkerLostError(reason, "the coordinator", RESUME) from None
            time.sleep(POLL_S)
            continue
        last_answer, dead = time.monotonic(), False
        seen += len(status.lines)
        watch(status)
        if status.failure:
            raise status.failure
        if status.ended:
            return True
        if not status.lines:  # else the run may wait to hear that they were seen
            time.sleep(POLL_S)


@dataclass(frozen=True)
class Living:
    """What a coordinator tells when it is asked."""

    status: Status
    """With all record lines."""
    processes: list[Process]
    """The coordinator's, and those of the actors that answer."""


def look(coordinator: Any) -> Living:
    """Where the run is and what it does. Raises `WorkerLostError` when the coordinator does not answer."""
    return Living(*_answers([coordinator.status.remote(), coordinator.processes.remote()]))


def end_in_order(coordinator: Any) -> Status:
    """Let the run end after the commit of its present round; returns where it is. Raises `WorkerLostError`."""
    status: Status = _answers([coordinator.stop.remote(), coordinator.status.remote()])[1]
    return status


def _answers(calls: list[Any]) -> list[Any]:
    try:
        answers: list[Any] = ray.get(calls, timeout=ANSWER_S)
    except RayError as error:
        raise translated(error, "the coordinator") from None
    return answers


def end_at_once(uri: str, coordinator: Any) -> None:
    """End a coordinator with its actors and give back their places. The last commit stays.

    Raises `WorkerLostError` when it is still there 30 seconds later, `ResourceError` when a placement group is.
    """
    with suppress(RayError):  # one that does not answer ends all the same
        ray.get(coordinator.stop.remote(now=True), timeout=ANSWER_S)  # it says so in its log
    ray.kill(coordinator)
    deadline = time.monotonic() + ENDED_S
    while living_coordinator(uri) is not None:
        if time.monotonic() > deadline:
            raise WorkerLostError("does not end", "the coordinator", "look at the cluster")
        time.sleep(POLL_S)
    remove_groups(prefix_of(run_id_of(uri)))


def tails(processes: Sequence[Process], num_lines: int) -> list[tuple[str, str]]:
    """The last lines of what each process wrote to stdout and stderr, with its name.

    Ray's state API finds them, which is a part of its dashboard. Raises `ResourceError` where that is not reachable.
    """
    from ray.util import state  # needs parts of ray[default]

    found = []
    try:
        for process, suffix in itertools.product(processes, ("out", "err")):
            where: dict[str, Any] = {"pid": process.pid, "node_ip": process.node_ip, "suffix": suffix}
            found.append((process.name, "".join(state.get_log(**where, tail=num_lines, timeout=int(ANSWER_S)))))
    except Exception as error:  # of many kinds, from the network and from Ray
        reason = one_line(str(error)) or type(error).__name__
        raise ResourceError(f"lines of actors cannot be had ({reason})", "Ray's state API") from None
    return found
