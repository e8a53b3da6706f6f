"""Cleans up behind a local Ray whose driver was killed.

Ray's daemons end with the driver, but two agents of the raylet first try for a minute to report its end to a server
that is gone. This file runs as a process of its own, on the standard library alone: it waits until the driver says that
all is done, or is no more, and then ends what the raylet had started and is still there.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

GRACE_S = 8.0
LOOK_S = 2.0
DONE = b"done"


@contextmanager
def watched(raylet: int) -> Iterator[None]:
    """While inside, the death of this process is noticed by another one, which cleans up after the raylet."""
    known = [f"{process.pid}:{process.start}" for process in processes() if process.parent == raylet]
    command = [sys.executable, "-I", __file__, str(raylet), *known]
    # a session of its own: it outlives what ends the driver's process group
    janitor = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        with suppress(subprocess.TimeoutExpired):
            janitor.communicate(DONE, timeout=GRACE_S)


def main(raylet: int, known: Sequence[str]) -> None:
    children = {Process(pid, raylet, start) for pid, start in (map(int, each.split(":")) for each in known)}
    while not select.select([sys.stdin.buffer], [], [], LOOK_S)[0]:
        children |= {process for process in processes() if process.parent == raylet}
    if sys.stdin.buffer.read() == DONE:  # without a word, the end of the file is the end of the driver
        return
    deadline = time.monotonic() + GRACE_S
    while alive(children) and time.monotonic() < deadline:
        time.sleep(0.2)
    for process in alive(children):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


class Process(NamedTuple):
    """A process; its number may be given to another one later, but not with the same start."""

    pid: int
    parent: int
    start: int


def processes() -> Iterator[Process]:
    """All there are."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            state, parent, *more = file.read_text().rpartition(")")[2].split()
            if state != "Z":
                yield Process(int(file.parent.name), int(parent), int(more[17]))


def alive(these: Set[Process]) -> list[Process]:
    """Those of them that still live, whoever is their parent now."""
    starts = {process.pid: process.start for process in processes()}
    return [process for process in these if starts.get(process.pid) == process.start]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
