"""SIGINT and SIGTERM: the first ends a run in order and in bounded time, the second at once.

Whenever it comes, the run directory is valid: the last commit stays, and the phase under way is abandoned.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ORDERLY_S = 8.0
"""From a signal to the end of the process, whatever still waits."""


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum
        """As shells report a process that a signal ended."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises `Interrupted` in the block on SIGINT or SIGTERM; gives it `ORDERLY_S` seconds to leave."""
    asked = 0

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            at_once(128 + signum)
        asked = signum
        timer = threading.Timer(ORDERLY_S, at_once, [128 + signum])
        timer.daemon = True
        timer.start()
        raise Interrupted(signum)

    held = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if isinstance(interrupt, Interrupted) or not asked:
            raise
        raise Interrupted(asked) from None  # Ray's waits turn whatever a handler raises into a plain one
    finally:
        if not asked:  # else the next signal, and the time left, hold for what follows too
            for signum, handler in held.items():
                signal.signal(signum, handler)


def at_once(exit_code: int) -> None:
    """End the process without waiting; Ray's processes of a local run end with it."""
    sys.stderr.flush()
    os._exit(exit_code)
