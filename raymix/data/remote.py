"""Files that lie elsewhere (s3://, gs://, what else pyarrow reaches), with as much of a path's manners as readers need.

Bytes are read as they are asked for: a block of rows is a range of its file. What a file declares is checked as on a
local disk, by the same readers.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, cast

import pyarrow.fs as pafs

from raymix.errors import CheckpointError, DataError
from raymix.storage import Storage, filesystem_at

BUFFER_BYTES = 2**18  # read at a time, where less is asked for


def is_remote(text: str) -> bool:
    """Whether a setting names a URI and no local path."""
    return "://" in text


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder."""

    shown: str
    """Its URI without keys and options, as errors name it."""
    path: str = field(compare=False)
    """Its name in the filesystem."""
    filesystem: pafs.FileSystem = field(compare=False, repr=False)
    info: pafs.FileInfo = field(compare=False, repr=False)

    @classmethod
    def at(cls, uri: str) -> "RemotePath":
        """What a URI names, whether it is there or not. Raises `DataError` where nothing can be reached."""
        try:
            filesystem, path = filesystem_at(uri)
        except CheckpointError as error:
            raise DataError(error.what, error.where, error.todo) from None
        return cls(Storage(uri).where(), path, filesystem, filesystem.get_file_info(path))

    def __str__(self) -> str:
        return self.shown

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        _, dot, ending = self.name.rpartition(".")
        return dot + ending

    @property
    def num_bytes(self) -> int:
        return int(self.info.size or 0)

    def is_file(self) -> bool:
        return bool(self.info.type == pafs.FileType.File)

    def is_dir(self) -> bool:
        return bool(self.info.type == pafs.FileType.Directory)

    def exists(self) -> bool:
        return bool(self.info.type != pafs.FileType.NotFound)

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """The file's bytes, which can be sought in."""
        return cast(BinaryIO, io.BufferedReader(self.filesystem.open_input_file(self.path), BUFFER_BYTES))

    def below(self, name: str) -> "RemotePath":
        """A file in this folder."""
        path = f"{self.path}/{name}"
        return RemotePath(f"{self.shown}/{name}", path, self.filesystem, self.filesystem.get_file_info(path))

    def iterdir(self) -> Iterator["RemotePath"]:
        """What lies in the folder itself."""
        for info in self.filesystem.get_file_info(pafs.FileSelector(self.path)):
            yield RemotePath(f"{self.shown}/{info.base_name}", info.path, self.filesystem, info)

    def head(self, num_bytes: int, name: str) -> bytes:
        """The first bytes of a file in this folder."""
        with self.filesystem.open_input_file(f"{self.path}/{name}") as file:
            return cast(bytes, file.read(num_bytes))

    def files(self) -> Iterator[str]:
        """Names of all files below the folder, relative to it."""
        for info in self.filesystem.get_file_info(pafs.FileSelector(self.path, recursive=True)):
            if info.type == pafs.FileType.File:
                yield info.path.removeprefix(f"{self.path}/")
