"""Folders and zip archives of images."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from raymix.data.faults import printable, reading
from raymix.data.images import SUFFIXES, ImageRows, Prepare, parent_labels
from raymix.data.rows import RowSource, encode_labels
from raymix.errors import DataError

_MAX_IMAGE_BYTES = 2**28
_ZIP_TODO = "write the archive again"


class FolderImages:
    """Image files below a folder, in the order of their paths; names that start with a dot are passed over.

    Raises `DataError` for links that lead out of the folder and for linked folders.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with reading(str(folder), "a folder of images", "check the folder"):
            self.names = sorted(_image_names(folder))

    def __len__(self) -> int:
        return len(self.names)

    def read_bytes(self, row: int) -> bytes:
        with reading(self.where(row), "an image", "remove or replace it"):
            path = self.folder / self.names[row]
            if path.stat().st_size > _MAX_IMAGE_BYTES:
                raise DataError(
                    "is too large for an image", self.where(row), f"at most {_MAX_IMAGE_BYTES} bytes are read"
                )
            return path.read_bytes()

    def where(self, row: int) -> str:
        return printable(str(self.folder / self.names[row]))


def _image_names(folder: Path) -> Iterator[str]:
    root = folder.resolve()

    def fail(error: OSError) -> None:  # os.walk passes over what it cannot list
        raise error

    for place, folders, files in os.walk(root, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if Path(place, name).is_symlink():
                raise DataError("is a link to a folder", str(Path(place, name)), "put the folder itself there")
        for name in files:
            path = Path(place, name)
            if name.startswith(".") or not name.lower().endswith(SUFFIXES):
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise DataError("is a link out of the folder", str(path), "put the file itself there")
            yield path.relative_to(root).as_posix()


class _Member(NamedTuple):
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    name: str
    """Path below the folder that all images of the archive share."""


class ZipImages:
    """Images of one or more zip archives in the order of their names; of equal names the first archive's counts.

    Raises `DataError` for names that are absolute or climb out (`..`).
    """

    def __init__(self, paths: list[Path]) -> None:
        members: dict[str, _Member] = {}
        for path in paths:
            with reading(str(path), "a zip archive", _ZIP_TODO):
                for member in _image_members(zipfile.ZipFile(path)):
                    members.setdefault(member.name, member)
        self.names = sorted(members)
        self._members = [members[name] for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def read_bytes(self, row: int) -> bytes:
        archive, info, _ = self._members[row]
        if info.file_size > _MAX_IMAGE_BYTES:
            raise DataError("is too large for an image", self.where(row), f"at most {_MAX_IMAGE_BYTES} bytes are read")
        with reading(self.where(row), "a member of a zip archive", _ZIP_TODO):
            return archive.read(info)

    def where(self, row: int) -> str:
        return printable(f"{self._members[row].archive.filename}:{self._members[row].info.filename}")


def _image_members(archive: zipfile.ZipFile) -> list[_Member]:
    """Image members of one archive, named below its one top folder where it has one."""
    infos = []
    for info in archive.infolist():
        path = PurePosixPath(info.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
            raise DataError(f"holds the name {info.filename!r}", str(archive.filename), "keep names inside the archive")
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if not info.is_dir() and not hidden and path.name.lower().endswith(SUFFIXES):
            infos.append(info)
    tops = {PurePosixPath(info.filename).parts[0] for info in infos}
    inside = len(tops) == 1 and all("/" in info.filename for info in infos)
    return [_Member(archive, info, info.filename.partition("/")[2] if inside else info.filename) for info in infos]


def open_images(store: FolderImages | ZipImages, place: str, name: str, prepare: Prepare | None = None) -> RowSource:
    """Rows of the images, labelled by their folders where there are several. Raises `DataError` if there are none."""
    if not store.names:
        raise DataError("holds no images", place, f"images end in {', '.join(SUFFIXES)}")
    folders = parent_labels(store.names)
    labels = None if folders is None else encode_labels(np.array(folders), place)
    return RowSource(name, ImageRows(store, prepare), labels)
