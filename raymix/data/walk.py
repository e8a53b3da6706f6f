"""Files below a folder of this machine, and where its links may lead."""

import os
from pathlib import Path
from typing import NamedTuple

from raymix.data.faults import printable, reading
from raymix.data.paths import require_inside
from raymix.data.written import LocalTree, is_written
from raymix.errors import DataError

_LINKED = "put the folder itself there, or set data.links_within to a folder that holds it, too"


class Walk(NamedTuple):
    """What lies below a folder, by paths from there."""

    names: list[str]
    """All files that are not hidden and that raymix did not write."""
    unsure: frozenset[str]
    """Those of them that are links, pipes and the like."""
    num_written: int
    """Folders that raymix wrote."""


def walk(root: Path, within: Path | None) -> Walk:
    """Files below a folder (a path without links); names that start with a dot are passed over.

    Links to folders are followed where they end inside `within`. Raises `DataError` for any other, and for those that
    lead in a circle.
    """
    names, unsure, num_written = [], [], 0
    folders: list[tuple[str, tuple[Path, ...]]] = [
        ("", (root,))
    ]  # paths from the root, each with its slash; where it and those above it really lie
    while folders:
        below, places = folders.pop()
        with os.scandir(root / below) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
        for entry in shown:
            name, is_link = below + entry.name, entry.is_symlink()
            if not (os.path.isdir(entry.path) if is_link else entry.is_dir()):
                names.append(name)
                if not entry.is_file(follow_symlinks=False):
                    unsure.append(name)
            elif is_written(LocalTree(), entry.path):
                num_written += 1
            else:
                place = _followed(entry.path, root, within, places) if is_link else places[-1] / entry.name
                folders.append((f"{name}/", (*places, place)))
    return Walk(names, frozenset(unsure), num_written)


def _followed(path: str, root: Path, within: Path | None, places: tuple[Path, ...]) -> Path:
    """Where a link to a folder ends, met on the way through some places. Raises `DataError`."""
    if within is None:
        raise DataError("is a link to a folder", printable(path), _LINKED)
    with reading(path, "a link", "remove it"):
        require_inside(Path(path), root, within)
        end = Path(path).resolve()
    if any(place.is_relative_to(end) for place in places):
        raise DataError("is a link that leads in a circle", printable(path), "remove it")
    return end
