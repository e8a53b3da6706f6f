"""Where raymix keeps what it can make again: paces, feature networks, features of data sets.

Any number of processes may read and write at once: a file appears whole or not at all, and whoever comes last wins.
"""

import functools
import hashlib
import json
import logging
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as safetensors_save

Tensors = Mapping[str, NDArray[np.generic]]
HEADER = "raymix"  # entry of a safetensors header
log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """What a file of the cache holds."""

    tensors: dict[str, NDArray[np.generic]]
    about: dict[str, Any]
    """What is said of the tensors, as plain JSON values."""


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME/raymix`, or `~/.cache/raymix`; None, with a warning, for a user who has no home folder."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raymix"
    except RuntimeError:
        _tell_homeless()
        return None


@functools.cache  # once is enough
def _tell_homeless() -> None:
    log.warning("nothing is kept for the next run: this user has no home folder; set XDG_CACHE_HOME to a folder")


def cache_file(name: str, folder: Path | None = None) -> Path | None:
    """A file in the user's cache, or in another folder; None where there is none."""
    folder = folder or cache_folder()
    return folder / name if folder else None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name, then rename it. Raises `OSError`, and leaves nothing behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def keep(path: Path | None, tensors: Tensors, about: Mapping[str, Any]) -> None:
    """Write tensors as safetensors, with `about` as JSON in its header, where there is a file to write to. One that
    cannot be written is a warning."""
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    text = json.dumps(about)
    told = json.dumps({"about": text, "sha256": _digest(contiguous, text)})
    keep_whole(path, safetensors_save(contiguous, {HEADER: told}))  # one entry: the order of several varies


def keep_whole(path: Path | None, content: bytes) -> None:
    """Write a file, where there is one to write to. One that cannot be written is a warning."""
    if path is None:
        return
    try:
        write_whole(path, content)
    except OSError as error:
        log.warning("%s: cannot be kept (%s); it will be made again the next time", path, error.strerror)


def kept(path: Path | None) -> Kept | None:
    """What `keep` wrote; None where there is nothing, and, with a warning, where it is damaged."""
    if path is None:
        return None
    try:
        with safe_open(path, framework="np") as file:
            told = json.loads((file.metadata() or {})[HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        text = told["about"]
        if _digest(tensors, text) != told["sha256"]:
            raise ValueError("its hash is another")
        return Kept(tensors, json.loads(text))
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("%s: is damaged (%s); it is made anew", path, error)
        return None


def tensors_hash(tensors: Tensors, *told: Any) -> str:
    """Names, types, shapes and bits of tensors, and what else is `told`, in 16 hexadecimal digits."""
    return _digest(tensors, repr(told))[:16]


def _digest(tensors: Tensors, text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        digest.update(f"\n{name} {value.dtype.str} {tensors[name].shape}\n".encode())
        digest.update(value.data if value.size else b"")
    return digest.hexdigest()
