"""Files of a run directory, on any filesystem pyarrow reaches (local path, s3://, gs://)."""

import hashlib
import os
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow.fs as pafs

from raymix.errors import CheckpointError


class FileStamp(NamedTuple):
    """What a manifest says of a file."""

    sha256: str
    num_bytes: int

    @classmethod
    def of(cls, content: bytes) -> "FileStamp":
        return cls(hashlib.sha256(content).hexdigest(), len(content))


@dataclass(frozen=True)
class Storage:
    """One folder. Cheap to build and to send: every process opens its own filesystem."""

    uri: str

    @classmethod
    def at(cls, location: str | os.PathLike[str]) -> "Storage":
        """From a URI, or a local path, which is made absolute."""
        text = os.fspath(location).removeprefix("file://")
        return cls(text if "://" in text else os.path.abspath(text))

    @property
    def is_local(self) -> bool:
        return "://" not in self.uri

    def _open(self) -> tuple[pafs.FileSystem, str]:
        if "://" not in self.uri:
            return pafs.LocalFileSystem(), self.uri
        filesystem, path = pafs.FileSystem.from_uri(self.uri)
        return filesystem, path

    def write(self, name: str, content: bytes) -> FileStamp:
        """Write a file whole; its folders are made. A local file appears under its name only when complete."""
        filesystem, root = self._open()
        path = f"{root}/{name}"
        filesystem.create_dir(os.path.dirname(path), recursive=True)
        if isinstance(filesystem, pafs.LocalFileSystem):
            temporary = f"{path}.part-{os.getpid()}"
            with filesystem.open_output_stream(temporary) as stream:
                stream.write(content)
            filesystem.move(temporary, path)
        else:
            with filesystem.open_output_stream(path) as stream:
                stream.write(content)
        return FileStamp.of(content)

    def read(self, name: str) -> bytes:
        """The file's bytes. Raises `CheckpointError` when it is not there or cannot be read."""
        filesystem, root = self._open()
        try:
            with filesystem.open_input_stream(f"{root}/{name}") as stream:
                content: bytes = stream.read()
        except OSError as error:
            raise CheckpointError(f"cannot be read ({error.__class__.__name__})", f"{self.uri}/{name}") from None
        return content

    def exists(self, name: str) -> bool:
        filesystem, root = self._open()
        return bool(filesystem.get_file_info(f"{root}/{name}").type != pafs.FileType.NotFound)

    def names(self, folder: str) -> list[str]:
        """Base names in a folder, sorted; none when it is not there."""
        filesystem, root = self._open()
        infos = filesystem.get_file_info(pafs.FileSelector(f"{root}/{folder}", allow_not_found=True))
        return sorted(info.base_name for info in infos)

    def delete(self, name: str) -> None:
        """Delete a file or a folder with all in it; nothing happens when it is not there."""
        filesystem, root = self._open()
        kind = filesystem.get_file_info(f"{root}/{name}").type
        if kind == pafs.FileType.Directory:
            filesystem.delete_dir(f"{root}/{name}")
        elif kind == pafs.FileType.File:
            filesystem.delete_file(f"{root}/{name}")
