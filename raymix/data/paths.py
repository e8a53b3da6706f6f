"""Paths: what a user names, and what may be read below a folder (plain files inside it, nothing else)."""

import os
from collections.abc import Sequence
from pathlib import Path

from raymix.data.faults import printable, reading
from raymix.data.remote import RemotePath, is_remote
from raymix.errors import DataError
from raymix.storage import Storage

Place = Path | RemotePath
"""A file or folder, here or elsewhere."""


def named_place(text: str, field: str) -> Place:
    """The path or URI that a setting names. Raises `DataError` as `named_path` does, and where nothing is reached."""
    return RemotePath.at(text) if is_remote(text) else named_path(text, field)


def shown(text: str) -> str:
    """A path or URI as errors name it: without keys and options."""
    return printable(Storage(text).where() if is_remote(text) else text)


def num_bytes(path: Place) -> int:
    """The size of a file."""
    return path.num_bytes if isinstance(path, RemotePath) else path.stat().st_size


def sizes_here(paths: Sequence[str]) -> list[int | None]:
    """Bytes of each local file: 0 for a folder, None for what is not there."""
    return [os.path.getsize(path) if os.path.isfile(path) else 0 if os.path.isdir(path) else None for path in paths]


def named_path(text: str, field: str) -> Path:
    """The local path that a setting names. Raises `DataError` for one that cannot be written down again in UTF-8."""
    with reading(text, "a path", f"check {field}"):
        if is_remote(text):
            raise DataError("is no local path", shown(text), f"give a folder of this machine as {field}")
        path = Path(text).expanduser()
        try:
            os.path.abspath(path).encode()
        except UnicodeEncodeError:
            raise DataError("has a name that is no UTF-8", printable(text), "rename it") from None
        return path


def links_root(text: str | None) -> Path | None:
    """The folder within which links are followed. Raises `DataError` for one that is not there."""
    if text is None:
        return None
    folder = named_path(text, "data.links_within")
    with reading(text, "a folder", "check data.links_within"):
        if not folder.is_dir():
            raise DataError("is no folder", printable(text), "check data.links_within")
        return folder.resolve()


def inner_places(folder: Place, places: Sequence[Place], within: Path | None = None) -> list[Place]:
    """As `inner_files`, wherever the folder is; elsewhere there are no links."""
    if isinstance(folder, RemotePath):
        return sorted(place for place in places if isinstance(place, RemotePath) and place.is_file())
    return [*inner_files(folder, [place for place in places if isinstance(place, Path)], within)]


def inner_files(folder: Path, paths: list[Path], within: Path | None = None) -> list[Path]:
    """Those of some paths in a folder that are files, in the order of their names; folders are passed over.

    Raises `DataError` for links that end neither in the folder nor `within` another, and for what is neither file nor
    folder (a pipe, a device, a link to nothing): rows would be missing without a word.
    """
    with reading(folder, "a folder", "check the folder"):
        files = sorted(path for path in paths if not path.is_dir())
        for path in files:
            require_inside(path, folder, within)
            require_file(path, path.is_file())
        return files


def require_inside(path: Path, folder: Path, within: Path | None = None) -> None:
    """Raises `DataError` for a path below a folder that leads out of it by a link, unless it ends `within` another."""
    end = path.resolve()
    if end.is_relative_to(folder.resolve()) or (within is not None and end.is_relative_to(within)):
        return
    what, folders = "is a link out of the folder", "a folder that holds where it leads, too"
    if within is not None:
        what, folders = f"{what} and of {printable(within)}", "a folder that holds both"
    raise DataError(what, printable(path), f"put the file itself there, or set data.links_within to {folders}")


def require_file(path: Path | str, is_file: bool) -> None:
    """Raises `DataError` for what would be read without end or not at all."""
    if not is_file:
        what = "is no plain file" if os.path.exists(path) else "is no plain file: a link to nothing"
        raise DataError(what, printable(path), "remove it or put the file itself there")
