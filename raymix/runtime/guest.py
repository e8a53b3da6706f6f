"""Ray is a guest in the process of a driver: what it changes there is put back."""

import logging
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly() -> Iterator[None]:
    """For the start and the end of Ray, which takes SIGTERM for itself and draws from Python's random numbers."""
    handler, drawn = signal.getsignal(signal.SIGTERM), random.getstate()
    try:
        yield
    finally:
        random.setstate(drawn)
        # No other thread may, nor does Ray there; a handler that is not Python's cannot be put back.
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def staying() -> Iterator[None]:
    """While Ray is there its log has another level and the environment tells its processes what they need."""
    log, before = logging.getLogger("ray"), environment()
    level = log.level
    try:
        yield
    finally:
        log.setLevel(level)
        for name in environment().keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def environment() -> dict[str, str]:
    """What Ray changes of it."""
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_") or name == "PYTHONBREAKPOINT"}
