"""stdout and stderr of the command line, whatever they are: of a poor encoding, closed, cut off, on a full disk."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from raymix.errors import ResourceError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writable() -> Iterator[None]:
    """Inside, what a stream's encoding lacks is shown as `?`, and a stream that is not there swallows all. Raises
    `BrokenPipeError` when nobody reads any more, and `ResourceError` when stdout cannot be written to its end."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (else the next file that is opened would be stdout)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="replace")
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        let_go()
        if error.errno in FULL and error.filename is None:  # files are written elsewhere, with errors of their own
            raise ResourceError(f"cannot be written ({error.strerror})", "stdout", "free some space") from None
        raise
    finally:
        for stream, errors in zip(streams, before, strict=True):
            stream.reconfigure(errors=errors)


def let_go() -> None:
    """What is left in a stream that cannot be written goes nowhere, else Python would complain about it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
