"""A run's last round as bytes, so that what was trained can be carried to another process and outlive its folder."""

import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path

from raymix.errors import CheckpointError
from raymix.runs.checkpoint import Generation, RunDirectory

TODO = "set TMPDIR to a folder with room"


class TemporaryFolder(os.PathLike[str]):
    """A new folder that goes with this object, or with the process that made it; not with a child that was forked.

    The standard library's own warns where it is not closed by hand.
    """

    def __init__(self) -> None:
        """Raises `CheckpointError` where none can be made."""
        try:
            self.path = tempfile.mkdtemp(prefix="raymix-")
        except OSError as error:
            raise CheckpointError(f"cannot be made ({error.strerror})", "a temporary folder", TODO) from None
        weakref.finalize(self, remove_own, os.getpid(), self.path)

    def __fspath__(self) -> str:
        return self.path


def remove_own(maker: int, path: str) -> None:
    """Remove a folder in the process that made it."""
    if os.getpid() == maker:
        shutil.rmtree(path, ignore_errors=True)


def contents(directory: RunDirectory, generation: Generation) -> dict[str, bytes]:
    """All that a generation is read from, by name: config, what is known of the data, manifest, tensors, labels. Raises
    `CheckpointError`."""
    storage, folder = directory.storage, generation.folder
    files = {name: storage.read(name) for name in ("config.yaml", "run.json", f"{folder}/manifest.json")}
    own = {f"{folder}/{name}": stamp for name, stamp in generation.files.items()}
    return files | {name: storage.read(name, stamp) for name, stamp in own.items()}


def unpacked(files: Mapping[str, bytes]) -> TemporaryFolder:
    """A run directory with these contents. Raises `CheckpointError` where they have no room."""
    folder = TemporaryFolder()
    try:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise CheckpointError(f"cannot be written ({error.strerror})", folder.path, TODO) from None
    return folder
