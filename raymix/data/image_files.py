"""Folders and zip archives of images."""

import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from raymix.data.archives import Archive, member_place, open_zip, read_member
from raymix.data.faults import printable, reading
from raymix.data.images import SUFFIXES, ImageRows, Prepare, parent_labels
from raymix.data.limits import MAX_BYTES
from raymix.data.paths import Place, require_file, require_inside
from raymix.data.remote import RemotePath
from raymix.data.rows import RowSource, encode_labels
from raymix.errors import DataError


class FolderImages:
    """Image files below a folder, in the order of their paths; names that start with a dot are passed over.

    Raises `DataError` for links that lead out of the folder, for linked folders, and for pipes and the like.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with reading(folder, "a folder of images", "check the folder"):
            self.names = sorted(_image_names(folder.resolve()))

    def __len__(self) -> int:
        return len(self.names)

    def read_bytes(self, row: int) -> bytes:
        path = self.folder / self.names[row]
        with reading(path, "an image", "remove or replace it"), path.open("rb") as file:
            return file.read(MAX_BYTES + 1)

    def where(self, row: int) -> str:
        return printable(self.folder / self.names[row])


def _image_names(root: Path) -> Iterator[str]:
    folders = [""]  # below the root, each with its slash
    while folders:
        below = folders.pop()
        with os.scandir(root / below) as entries:
            for entry in entries:
                name = below + entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    if entry.is_symlink():
                        raise DataError("is a link to a folder", printable(entry.path), "put the folder itself there")
                    folders.append(f"{name}/")
                elif entry.name.lower().endswith(SUFFIXES):
                    if entry.is_symlink():
                        require_inside(Path(entry.path), root)
                    require_file(entry.path, entry.is_file())
                    yield name


class RemoteImages:
    """As `FolderImages`, of a folder elsewhere, which has no links."""

    def __init__(self, folder: RemotePath) -> None:
        self.folder = folder
        with reading(folder, "a folder of images", "check the folder"):
            self.names = sorted(name for name in folder.files() if _is_shown_image(name))

    def __len__(self) -> int:
        return len(self.names)

    def read_bytes(self, row: int) -> bytes:
        name, where = self.names[row], self.where(row)
        with reading(where, "an image", "remove or replace it"), self.folder.below(name).open("rb") as file:
            return file.read(MAX_BYTES + 1)

    def where(self, row: int) -> str:
        return printable(f"{self.folder}/{self.names[row]}")


def _is_shown_image(name: str) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and name.lower().endswith(SUFFIXES)


def folder_images(folder: Place) -> FolderImages | RemoteImages:
    """The images below a folder, here or elsewhere."""
    return RemoteImages(folder) if isinstance(folder, RemotePath) else FolderImages(folder)


class _Member(NamedTuple):
    archive: Archive
    info: zipfile.ZipInfo
    name: str
    """Path below the folder that all images of the archive share."""


class ZipImages:
    """Images of one or more zip archives in the order of their names; of equal names the first archive's counts.

    Raises `DataError` for names that are absolute or climb out (`..`).
    """

    def __init__(self, paths: Sequence[Place]) -> None:
        members: dict[str, _Member] = {}
        for path in paths:
            for member in _image_members(open_zip(path)):
                members.setdefault(member.name, member)
        self.names = sorted(members)
        self._members = [members[name] for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def read_bytes(self, row: int) -> bytes:
        archive, info, _ = self._members[row]
        return read_member(archive, info, MAX_BYTES)

    def where(self, row: int) -> str:
        return member_place(self._members[row].archive, self._members[row].info)


def _image_members(archive: Archive) -> list[_Member]:
    """Image members of one archive, named below its one top folder where it has one."""
    infos = []
    for info in archive.infolist():
        path = PurePosixPath(info.filename)
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if not info.is_dir() and not hidden and path.name.lower().endswith(SUFFIXES):
            infos.append(info)
    tops = {PurePosixPath(info.filename).parts[0] for info in infos}
    inside = len(tops) == 1 and all("/" in info.filename for info in infos)
    return [_Member(archive, info, info.filename.partition("/")[2] if inside else info.filename) for info in infos]


def open_images(
    store: FolderImages | RemoteImages | ZipImages, place: str, name: str, prepare: Prepare | None = None
) -> RowSource:
    """Rows of the images, labelled by their folders where there are several. Raises `DataError` if there are none."""
    if not store.names:
        raise DataError("holds no images", place, f"images end in {', '.join(SUFFIXES)}")
    folders = parent_labels(store.names)
    labels = None if folders is None else encode_labels(np.array(folders, dtype=object), place)
    return RowSource(name, ImageRows(store, prepare), labels)
