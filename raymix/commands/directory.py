"""Run directories and files that a command is given or makes."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raymix.data import written
from raymix.errors import CheckpointError, ConfigError
from raymix.runs.checkpoint import RunDirectory
from raymix.storage import Storage

RUNS = Path(written.RUNS)


def run_directory(location: str) -> RunDirectory:
    """A run directory that can be reached. Raises `CheckpointError` when its address cannot."""
    directory = RunDirectory(Storage.at(location))
    try:
        _ = directory.holds_run
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"cannot be reached ({reason})", location, "give a folder, s3:// or gs://") from None
    return directory


@contextmanager
def new_directory(out: str | None, name: str) -> Iterator[str]:
    """Where a new run goes: `out`, or the next free `runs/NAME-001` (runs that start at once get one each).

    A folder is made, and taken away again if nothing was written to it. Raises `CheckpointError` when it cannot be.
    """
    if out is not None and "://" in out:
        yield out
        return
    try:
        folder = next_free(name) if out is None else Path(out)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"cannot be made ({error.strerror})", out or str(RUNS), "give another --out") from None
    try:
        yield str(folder)
    finally:
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def next_free(name: str) -> Path:
    """Make the first of runs/NAME-001, runs/NAME-002, ... that is not there."""
    for number in itertools.count(1):
        folder = RUNS / f"{name}-{number:03d}"
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("numbers do not end")


def check_new_file(path: Path, endings: tuple[str, ...], force: bool) -> None:
    """Before the work: can the answer be written there? Raises `ConfigError`."""
    if path.suffix.lower() not in endings:
        raise ConfigError(f"ends in {path.suffix or 'nothing'!r}", f"--out {path}", f"give {' or '.join(endings)}")
    if not path.parent.is_dir():
        raise ConfigError("is in a folder that does not exist", f"--out {path}", "make the folder first")
    if path.is_dir():
        raise ConfigError("is a folder", f"--out {path}", "name a file")
    if path.exists() and not force:
        raise ConfigError("exists already", f"--out {path}", "name another file, or add --force")


def write_file(path: Path, content: bytes, force: bool) -> None:
    """Write a file that `check_new_file` allowed; never over another without `force`. Raises `ConfigError`."""
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(content)
    except OSError as error:
        raise ConfigError(f"cannot be written ({error.strerror})", f"--out {path}", "name another file") from None
