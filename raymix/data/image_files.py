"""Folders and zip archives of images."""

import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from raymix.data.archives import Archive, member_place, open_zip, read_head, read_member
from raymix.data.faults import printable, reading
from raymix.data.image_names import HEAD_BYTES, PassedOver, images_among
from raymix.data.images import ImageRows, Prepare, parent_labels
from raymix.data.limits import MAX_BYTES
from raymix.data.paths import Place, require_file, require_inside
from raymix.data.remote import RemotePath
from raymix.data.rows import RowSource, encode_labels
from raymix.data.walk import walk
from raymix.data.written import without_written
from raymix.errors import DataError

_READERS = 16  # files elsewhere are asked for their first bytes so many at a time


class FolderImages:
    """Image files below a folder, in the order of their paths; names that start with a dot are passed over.

    Links are followed where they end in the folder or `within`. Raises `DataError` for others, for linked folders where
    `within` is not given, and for pipes and the like.
    """

    def __init__(self, folder: Path, within: Path | None = None) -> None:
        self.folder = folder
        with reading(folder, "a folder of images", "check the folder"):
            root = folder.resolve()
            found = walk(root, within)
            self.names, passed_over = images_among(found.names, partial(map, partial(_head, root, found.unsure)))
            for name in sorted(found.unsure.intersection(self.names)):
                require_inside(root / name, root, within)
                require_file(root / name, (root / name).is_file())
            self.passed_over = passed_over + PassedOver(num_written=found.num_written)

    def __len__(self) -> int:
        return len(self.names)

    def read_bytes(self, row: int) -> bytes:
        path = self.folder / self.names[row]
        with reading(path, "an image", "remove or replace it"), path.open("rb") as file:
            return file.read(MAX_BYTES + 1)

    def where(self, row: int) -> str:
        return printable(self.folder / self.names[row])


def _head(root: Path, unsure: frozenset[str], name: str) -> bytes:
    """The first bytes of a file. Raises `DataError` for a pipe, which may never give any."""
    path = root / name
    if name in unsure:
        require_file(path, path.is_file())
    with reading(path, "a file beside images", "check its permissions"), path.open("rb", buffering=0) as file:
        return file.read(HEAD_BYTES)


class RemoteImages:
    """As `FolderImages`, of a folder elsewhere, which has no links."""

    def __init__(self, folder: RemotePath) -> None:
        self.folder = folder
        with reading(folder, "a folder of images", "check the folder"), ThreadPoolExecutor(_READERS) as pool:
            names, num_written = without_written([name for name in folder.files() if not _is_hidden(name)])
            self.names, passed_over = images_among(names, partial(pool.map, partial(folder.head, HEAD_BYTES)))
            self.passed_over = passed_over + PassedOver(num_written=num_written)

    def __len__(self) -> int:
        return len(self.names)

    def read_bytes(self, row: int) -> bytes:
        name, where = self.names[row], self.where(row)
        with reading(where, "an image", "remove or replace it"), self.folder.below(name).open("rb") as file:
            return file.read(MAX_BYTES + 1)

    def where(self, row: int) -> str:
        return printable(f"{self.folder}/{self.names[row]}")


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def folder_images(folder: Place, within: Path | None = None) -> FolderImages | RemoteImages:
    """The images below a folder, here or elsewhere."""
    return RemoteImages(folder) if isinstance(folder, RemotePath) else FolderImages(folder, within)


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
        self.passed_over = PassedOver()
        for path in paths:
            found, passed_over = _image_members(open_zip(path))
            self.passed_over += passed_over
            for member in found:
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


def _image_members(archive: Archive) -> tuple[list[_Member], PassedOver]:
    """Image members of one archive, named below its one top folder where it has one, and what the others are."""

    def head(name: str) -> bytes:
        return read_head(archive, infos[name], HEAD_BYTES)

    infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    names, num_written = without_written([name for name in infos if not _is_hidden(name)])
    names, passed_over = images_among(names, partial(map, head))
    inside = len({PurePosixPath(name).parts[0] for name in names}) == 1 and all("/" in name for name in names)
    members = [_Member(archive, infos[name], name.partition("/")[2] if inside else name) for name in names]
    return members, passed_over + PassedOver(num_written=num_written)


def open_images(
    store: FolderImages | RemoteImages | ZipImages,
    place: str,
    name: str,
    prepare: Prepare | None = None,
    ground: str | None = None,
) -> RowSource:
    """Rows of the images, labelled by their folders where there are several. Raises `DataError` if there are none."""
    if not store.names:
        raise DataError("holds no images", place, "give PNG, JPEG or other images")
    folders = parent_labels(store.names)
    labels = None if folders is None else encode_labels(np.array(folders, dtype=object), place)
    rows = ImageRows(store, prepare, ground)
    notes = (*rows.notes, *store.passed_over.notes)
    return RowSource(name, rows, labels, settings=rows.settings, notes=notes)
