"""What raymix writes is no data, wherever it lies: runs, searches, and folders named runs that hold any.

Their marks are there before any picture is, and stay: the rows of a folder are the same for a run that is written into
it, for whoever looks at the run later, and for the next one.
"""

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

from raymix.config import DataConfig
from raymix.data.faults import printable, reading
from raymix.data.image_names import HEAD_BYTES, images_among
from raymix.data.paths import shown
from raymix.errors import ConfigError
from raymix.storage import Storage

RUNS = "runs"
"""Folder of runs that are not told where to go."""
_MARKS = (("config.yaml", "run.json"), ("search.json", "trials"))  # of a run's directory, and of a search's


class Tree(Protocol):
    """Files and folders, named by paths with slashes; the root has no name."""

    def holds(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        ...

    def folders(self, path: str) -> Iterable[str]:
        """Paths of the folders in a folder itself."""
        ...


class LocalTree:
    """Of this machine."""

    def holds(self, path: str) -> bool:
        return os.path.exists(path)

    def folders(self, path: str) -> list[str]:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


class NamedTree:
    """Of a list of files."""

    def __init__(self, names: Iterable[str]) -> None:
        self._inside: dict[str, set[str]] = {"": set()}  # paths of what lies in each folder itself
        for name in names:
            path = name
            while path:
                folder = path.rpartition("/")[0]
                self._inside.setdefault(folder, set()).add(path)
                path = folder

    def holds(self, path: str) -> bool:
        return path in self._inside.get(path.rpartition("/")[0], ())

    def folders(self, path: str) -> list[str]:
        return [each for each in self._inside[path] if each in self._inside]


def is_marked(tree: Tree, folder: str) -> bool:
    """Whether a folder is the directory of a run or a search."""
    start = f"{folder}/" if folder else ""
    return any(all(tree.holds(start + mark) for mark in marks) for marks in _MARKS)


def is_written(tree: Tree, folder: str) -> bool:
    """Whether a folder is raymix's own: marked, or named runs with a marked one anywhere below."""
    return is_marked(tree, folder) or (PurePosixPath(folder).name == RUNS and _holds_marked(tree, folder))


def _holds_marked(tree: Tree, folder: str) -> bool:
    return any(is_marked(tree, each) or _holds_marked(tree, each) for each in tree.folders(folder))


def without_written(names: Sequence[str]) -> tuple[list[str], int]:
    """The files that do not lie in folders of raymix's own, and how many such folders there are."""
    tree = NamedTree(names)
    folders, own = [""], []
    while folders:
        for folder in tree.folders(folders.pop()):
            if is_written(tree, folder):
                own.append(f"{folder}/")
            else:
                folders.append(folder)
    return [name for name in names if not name.startswith(tuple(own))], len(own)


def require_apart(out: str, data: DataConfig) -> None:
    """Raises `ConfigError` where a run or search that is written into `out` would make data pass for its own: `out` is
    their folder, or one in it that holds images, or lies in its folder runs and that does. Elsewhere than on this
    machine only the first is looked for."""
    named = data.path or data.dir
    if named is None:
        return
    with reading(shown(named), "a path", "check data.path"):
        place, folder = (Storage.at(os.path.expanduser(each)) for each in (out, named))
        if place.is_local and folder.is_local:
            end, root = Path(place.uri).resolve(), Path(folder.uri).resolve()
            same = end == root
            own = [each for each in (end, *end.parents) if root in each.parents and (each == end or each.name == RUNS)]
            hidden = next(filter(_holds_images, own), None)
        else:
            same, hidden = place.where() == folder.where(), None
    if same:
        raise ConfigError("is the folder of the data", place.where(), "give another --out, such as runs/NAME")
    if hidden:
        what = f"would make the images in {printable(hidden)} pass for a run's"
        raise ConfigError(what, place.where(), "give another --out, a folder without images")


def _holds_images(folder: Path) -> bool:
    """Whether data would be passed over with a folder that is none of raymix's yet."""
    if not folder.is_dir() or is_written(LocalTree(), str(folder)):
        return False
    paths = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return bool(images_among([path for path in paths if os.path.isfile(path)], partial(map, _head))[0])


def _head(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(HEAD_BYTES)
