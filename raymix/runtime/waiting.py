"""Waits that are bounded by silence: they give up after so many seconds without a sign of progress, and say on what."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from raymix.errors import RaymixError, WorkerLostError

POLL_S = 1.0


def gather(
    refs: Sequence[Any], what: str, stall_s: float, progress: Callable[[], int] = lambda: 0, fetch: bool = True
) -> list[Any]:
    """The values of all refs (with `fetch` false: only wait for them).

    `progress` is asked every second; a change counts as a sign of life. Raises what a worker raised, and
    `WorkerLostError` when a process died or nothing happened for `stall_s` seconds.
    """
    pending, seen, last_sign = list(refs), None, time.monotonic()
    while pending:
        ready, pending = ray.wait(pending, num_returns=len(pending), timeout=POLL_S, fetch_local=fetch)
        now = time.monotonic()
        if not pending:
            break
        steps = progress()
        if ready or steps != seen:
            seen, last_sign = steps, now
        elif now - last_sign > stall_s:
            raise WorkerLostError(
                f"no progress for {stall_s:g} s, {len(pending)} of {len(refs)} results are missing",
                what,
                "look at the cluster, then go on with `raymix resume`; resources.stall_s is the bound",
            )
    if not fetch:
        return []
    try:
        return list(ray.get(list(refs), timeout=stall_s))
    except RayError as error:
        raise translated(error, what) from None


def translated(error: RayError, what: str) -> RaymixError:
    """What a failure means to the user; a raymix error raised in a worker arrives as itself."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, RaymixError):
        return error.cause
    if isinstance(error, RayActorError):
        return WorkerLostError(f"a worker died ({str(error).splitlines()[0]})", what, "go on with `raymix resume`")
    if isinstance(error, GetTimeoutError):
        return WorkerLostError("results could not be fetched in time", what, "look at the cluster's network")
    return WorkerLostError(f"failed ({str(error).strip().splitlines()[-1]})", what, "go on with `raymix resume`")
