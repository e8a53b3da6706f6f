"""Waits that are bounded by silence: they give up after so many seconds without a sign of progress, and say on what.

And what the failure of a wait means: a lost process, which can be tried again, or a fault, which would come back.
"""

import errno
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray import exceptions as ray_errors
from ray.exceptions import RayActorError, RayError, RayTaskError

from raymix.errors import NodeLostError, RaymixError, ResourceError, WorkerLostError

POLL_S = 1.0
LOOK_SHARE = 0.05  # of this thread's time that may go into looking for signs of progress
RESUME = "go on with `raymix resume`"
CAUSE_LENGTH = 400  # of a cause in a message

NODE_LOST = (
    ray_errors.NodeDiedError,
    ray_errors.LocalRayletDiedError,
    ray_errors.TaskUnschedulableError,
    ray_errors.ActorUnschedulableError,
    ray_errors.TaskPlacementGroupRemoved,
    ray_errors.ActorPlacementGroupRemoved,
)
LOST = (
    RayActorError,
    ray_errors.WorkerCrashedError,
    ray_errors.ObjectLostError,
    ray_errors.PlasmaObjectNotAvailable,
    ray_errors.RpcError,
    ray_errors.RaySystemError,
)
"""A process went away, or what it held."""


def gather(
    refs: Sequence[Any], what: str, stall_s: float, progress: Callable[[], int] = lambda: 0, fetch: bool = True
) -> list[Any]:
    """The values of all refs, in their order (with `fetch` false: only wait until all are done, whatever came of them).

    `progress` is asked every second, or less often where asking is much work; a change counts as a sign of life. Raises
    what a worker raised as soon as one result is an error, and `WorkerLostError` when a process died or nothing
    happened for `stall_s` seconds.
    """
    values: dict[Any, Any] = {}
    pending, seen, last_sign, last_look, pause_s = list(refs), None, time.monotonic(), time.monotonic(), POLL_S
    try:
        while pending:
            ready, pending = ray.wait(pending, num_returns=1, timeout=POLL_S, fetch_local=fetch)
            if ready and pending:  # whatever else is there is taken along
                more, pending = ray.wait(pending, num_returns=len(pending), timeout=0, fetch_local=fetch)
                ready += more
            if ready and fetch:
                values |= zip(ready, ray.get(ready, timeout=stall_s), strict=True)
            now = time.monotonic()
            if ready:
                last_sign = now
            if not pending or now - last_look < pause_s:
                continue
            before_s = time.thread_time()
            steps, last_look = progress(), time.monotonic()
            pause_s = max(POLL_S, min((time.thread_time() - before_s) / LOOK_SHARE, stall_s / 4))
            if steps != seen:
                seen, last_sign = steps, last_look
            elif last_look - last_sign > stall_s:
                raise WorkerLostError(
                    f"no progress for {stall_s:g} s, {len(pending)} of {len(refs)} results are missing",
                    what,
                    f"look at the cluster, then {RESUME}; resources.stall_s is the bound",
                )
    except RayError as error:
        raise translated(error, what) from None
    return [values[ref] for ref in refs] if fetch else []


def translated(error: RayError, what: str) -> RaymixError:
    """What a failure means: the one place that tells what can be tried again.

    A raymix error raised in a worker is itself. A lost process or object and a fetch out of time are `WorkerLostError`,
    a lost node or placement group `NodeLostError`; a full disk or memory is `ResourceError`; any other exception of a
    worker's code is a plain `RaymixError`, which would come back if it were tried again.
    """
    cause = root_cause(error)
    if isinstance(cause, RaymixError):
        return cause
    kind, text = told(cause)
    if issubclass(kind, NODE_LOST) or (issubclass(kind, RayActorError) and "node has died" in str(cause)):
        return NodeLostError(f"a node was lost ({text})", what, RESUME)
    if issubclass(kind, LOST):
        return WorkerLostError(f"a worker was lost ({text})", what, RESUME)
    if issubclass(kind, ray_errors.GetTimeoutError):
        return WorkerLostError(f"results could not be fetched in time ({text})", what, "look at the cluster's network")
    if issubclass(kind, ray_errors.OutOfMemoryError):
        todo = f"use larger nodes or fewer actors on each (resources.pack), then {RESUME}"
        return WorkerLostError(f"a node ran out of memory and a worker was ended ({text})", what, todo)
    if issubclass(kind, ray_errors.OutOfDiskError) or getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"the disk is full ({text})", what, f"free some space, then {RESUME}")
    if issubclass(kind, ray_errors.ObjectStoreFullError):
        return ResourceError(
            f"the object store is full ({text})", what, f"lower data.block_bytes, or add nodes or memory, then {RESUME}"
        )
    if issubclass(kind, MemoryError) or kind.__name__ == "OutOfMemoryError":  # torch's; this module is without torch
        todo = f"lower data.block_bytes or schedule.batch_size, or change resources.pack, then {RESUME}"
        return ResourceError(f"a worker ran out of memory ({text})", what, todo)
    if isinstance(cause, RayActorError):
        return RaymixError(f"an actor could not start: {text}", what)
    return RaymixError(text, what)


def told(cause: BaseException) -> tuple[type[BaseException], str]:
    """What an exception is, with `TypeName: text`; also where only a traceback came across.

    That is so for what an actor's constructor raised, and for exceptions that cannot be pickled, Ray's own
    `ActorDiedError` among them.
    """
    unsent = type(cause) is RayError or isinstance(cause, ray_errors.UnserializableException)
    if not unsent and not (isinstance(cause, RayActorError) and cause.actor_init_failed):
        return type(cause), f"{type(cause).__name__}: {one_line(str(cause))}"
    last = last_line(str(cause))
    of_ray = re.match(r"ray\.exceptions\.(\w+)", last)
    kind = getattr(ray_errors, of_ray[1], Exception) if of_ray else Exception
    return kind, MODULE.sub("", last)


def root_cause(error: BaseException) -> BaseException:
    """What was raised first, when a task failed because another one had."""
    while isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        error = error.cause
    return error


COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MODULE = re.compile(r"^(?:[\w<>]+\.)+(?=\w+(?::|$))")
NOISE = re.compile(
    r"^(actor_id|namespace|name): .*|(Some common causes include|Check python-core|To see information).*"
)


def one_line(text: str) -> str:
    """A message of many lines as one of bounded length, without colours and without what only Ray can use."""
    lines = [NOISE.sub("", line.strip()).strip() for line in COLOUR.sub("", text).splitlines()]
    line = " ".join(line for line in lines if line)
    return line if len(line) <= CAUSE_LENGTH else f"{line[: CAUSE_LENGTH - 4]} ..."


def last_line(text: str) -> str:
    """The exception that ends a traceback: the first line after the indented ones."""
    lines = [line for line in COLOUR.sub("", text).splitlines() if line.strip()]
    indented = [i for i, line in enumerate(lines) if line.startswith(" ")]
    last = lines[indented[-1] + 1 :] if indented else lines
    return one_line((last or lines or [""])[0])
