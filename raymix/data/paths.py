"""Paths: what a user names, and what may be read below a folder (plain files inside it, nothing else)."""

import os
from pathlib import Path

from raymix.data.faults import printable, reading
from raymix.errors import DataError


def named_path(text: str, field: str) -> Path:
    """The path that a setting names. Raises `DataError` for one that cannot be written down again in UTF-8."""
    with reading(text, "a path", f"check {field}"):
        path = Path(text).expanduser()
        try:
            os.path.abspath(path).encode()
        except UnicodeEncodeError:
            raise DataError("has a name that is no UTF-8", printable(text), "rename it") from None
        return path


def inner_files(folder: Path, paths: list[Path]) -> list[Path]:
    """Those of some paths in a folder that are files, in the order of their names; folders are passed over.

    Raises `DataError` for links that lead out of the folder and for what is neither file nor folder (a pipe, a device,
    a link to nothing): rows would be missing without a word.
    """
    with reading(folder, "a folder", "check the folder"):
        files = sorted(path for path in paths if not path.is_dir())
        for path in files:
            require_inside(path, folder)
            require_file(path, path.is_file())
        return files


def require_inside(path: Path, folder: Path) -> None:
    """Raises `DataError` for a path below a folder that leads out of it by a link."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError("is a link out of the folder", printable(path), "put the file itself there")


def require_file(path: Path | str, is_file: bool) -> None:
    """Raises `DataError` for what would be read without end or not at all."""
    if not is_file:
        raise DataError("is no plain file", printable(path), "remove it or put the file itself there")
