"""Files of a run directory, on any filesystem that pyarrow reaches (local path, s3://, gs://).

A file appears under its name whole or not at all. On a local path it has reached the disk when `write` returns, so that
a power cut cannot leave a name without its content.
"""

import errno
import functools
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import pyarrow.fs as pafs

from raymix.errors import CheckpointError, DamagedError, MissingError, StorageFullError

OBJECT_STORES = ("s3", "gcs")  # have no folders to make
UNSYNCABLE = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)  # folders of some filesystems, and those one may not list
PART = re.compile(r"\.part-[0-9a-f]{8}\Z")
SEAL = re.compile(rb', "sha256": "([0-9a-f]{64})"}\Z')


class FileStamp(NamedTuple):
    """What a manifest says of a file."""

    sha256: str
    num_bytes: int

    @classmethod
    def of(cls, content: bytes) -> "FileStamp":
        return cls(hashlib.sha256(content).hexdigest(), len(content))


@dataclass(frozen=True)
class Storage:
    """One folder. Cheap to build and to send: every process opens its own filesystem.

    Names are relative to the folder. Every method raises `CheckpointError` when the folder cannot be reached.
    """

    uri: str

    @classmethod
    def at(cls, location: str | os.PathLike[str]) -> "Storage":
        """From a URI, or a local path, which is made absolute."""
        text = os.fspath(location)
        if text.startswith("file:"):
            text = filesystem_at(text)[1]
        return cls(text if "://" in text else os.path.abspath(text))

    def below(self, name: str) -> "Storage":
        """A folder inside this one."""
        folder, mark, options = self.uri.partition("?") if not self.is_local else (self.uri, "", "")
        return Storage(f"{folder.rstrip('/')}/{name}{mark}{options}")

    @property
    def is_local(self) -> bool:
        return "://" not in self.uri

    def where(self, name: str = "") -> str:
        """How messages name a file: without the keys and options of the folder's address."""
        folder = self.uri
        if not self.is_local:
            parts = urlsplit(self.uri)
            folder = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
        return f"{folder}/{name}" if name else folder

    def write(self, name: str, content: bytes) -> FileStamp:
        """Write a file whole; its folders are made. Raises `StorageFullError`, `CheckpointError`."""
        with self._opened(name, "written") as (files, path):
            try:
                files.write(path, content)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                free = shutil.disk_usage(self.uri).free if os.path.isdir(self.uri) else 0
                raise StorageFullError(self.where(name), len(content), free) from None
        return FileStamp.of(content)

    def read(self, name: str, stamp: FileStamp | None = None) -> bytes:
        """The file's bytes. Raises `MissingError`, and `DamagedError` when they are not those of the stamp."""
        with self._opened(name, "read") as (files, path):
            try:
                content = files.read(path)
            except FileNotFoundError:
                raise MissingError("is missing", self.where(name)) from None
        if stamp is not None and FileStamp.of(content) != stamp:
            raise DamagedError("is not what was written", self.where(name))
        return content

    def write_json(self, name: str, values: Mapping[str, Any]) -> FileStamp:
        """A JSON object that ends with the hash of its own text."""
        text = json.dumps(values).encode()
        return self.write(name, text[:-1] + f', "sha256": "{hashlib.sha256(text).hexdigest()}"}}'.encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """What `write_json` wrote. Raises `MissingError`, and `DamagedError` when a single bit is another."""
        content = self.read(name)
        seal = SEAL.search(content)
        text = content[: seal.start()] + b"}" if seal else b""
        if seal is None or hashlib.sha256(text).hexdigest().encode() != seal[1]:
            raise DamagedError("is not what was written", self.where(name))
        values: dict[str, Any] = json.loads(text)
        return values

    def exists(self, name: str) -> bool:
        with self._opened(name, "reached") as (files, path):
            return files.exists(path)

    def names(self, folder: str) -> list[str]:
        """Base names in a folder, sorted; none when it is not there."""
        with self._opened(folder, "listed") as (files, path):
            return sorted(files.names(path))

    def delete(self, name: str) -> None:
        """Delete a file or a folder with all in it; nothing happens when it is not there."""
        with self._opened(name, "deleted") as (files, path):
            files.delete(path)

    def delete_parts(self, folder: str) -> None:
        """Delete what killed processes left of the local files they were writing into a folder."""
        if self.is_local:
            for name in filter(PART.search, self.names(folder)):
                self.delete(f"{folder}/{name}")

    @contextmanager
    def _opened(self, name: str, verb: str) -> Iterator[tuple["Files", str]]:
        """The filesystem and the path of a file. What it raises becomes one line."""
        filesystem, root = (None, self.uri) if self.is_local else filesystem_at(self.uri)
        try:
            yield Remote(filesystem) if filesystem else Disk(), f"{root}/{name}"
        except OSError as error:
            reason = str(error.strerror or error).splitlines()[0]
            raise CheckpointError(f"cannot be {verb} ({reason})", self.where(name)) from None


@functools.cache
def filesystem_at(uri: str) -> tuple[pafs.FileSystem, str]:
    """What pyarrow makes of a URI, once per process. Raises `CheckpointError`."""
    plain = Storage(uri).where()
    if uri.startswith("s3://") and "allow_delayed_open=" not in uri:
        uri += f"{'&' if '?' in uri else '?'}allow_delayed_open=true"  # a small file is one PUT
    try:
        filesystem, path = pafs.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"cannot be reached ({reason})", plain, "give a folder, s3:// or gs://") from None
    if not path:
        raise CheckpointError("names no bucket", plain, "give s3://BUCKET/FOLDER or gs://BUCKET/FOLDER")
    return filesystem, path.rstrip("/") if path != "/" else path


class Files(Protocol):
    """What `Storage` asks of a filesystem."""

    def write(self, path: str, content: bytes) -> None: ...

    def read(self, path: str) -> bytes: ...

    def exists(self, path: str) -> bool: ...

    def names(self, path: str) -> list[str]: ...

    def delete(self, path: str) -> None: ...


class Disk:
    """A local filesystem, by Python's own calls: pyarrow cannot wait for the disk."""

    def write(self, path: str, content: bytes) -> None:
        folder = os.path.dirname(path)
        new = missing_folders(folder)
        os.makedirs(folder, exist_ok=True)
        part = f"{path}.part-{uuid.uuid4().hex[:8]}"
        try:
            with open(part, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(part)
            raise
        for changed in (folder, *(os.path.dirname(made) for made in new)):
            sync_folder(changed)

    def read(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def exists(self, path: str) -> bool:
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def names(self, path: str) -> list[str]:
        return os.listdir(path) if self.exists(path) else []

    def delete(self, path: str) -> None:
        if not os.path.isdir(path):
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        try:
            shutil.rmtree(path, onerror=_unless_gone)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # a writer that is about to end has just put a file there
                raise


def _unless_gone(function: object, path: str, error: tuple[type, BaseException, object]) -> None:
    """For `rmtree`: what somebody else deleted meanwhile is no error."""
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]


def missing_folders(folder: str) -> list[str]:
    """The folder and those above it that are not there yet, deepest first."""
    missing = []
    while folder and not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing


def sync_folder(path: str) -> None:
    """Wait until the names in a folder are on the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in UNSYNCABLE:
            raise


class Remote:
    """A filesystem of pyarrow. Object stores show a file when it is complete."""

    def __init__(self, filesystem: pafs.FileSystem) -> None:
        self.filesystem = filesystem

    def write(self, path: str, content: bytes) -> None:
        if self.filesystem.type_name not in OBJECT_STORES:
            self.filesystem.create_dir(os.path.dirname(path), recursive=True)
        with self.filesystem.open_output_stream(path) as stream:
            stream.write(content)

    def read(self, path: str) -> bytes:
        with self.filesystem.open_input_stream(path) as stream:
            content: bytes = stream.read()
        return content

    def exists(self, path: str) -> bool:
        return bool(self.filesystem.get_file_info(path).type != pafs.FileType.NotFound)

    def names(self, path: str) -> list[str]:
        infos = self.filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
        return [info.base_name for info in infos]

    def delete(self, path: str) -> None:
        kind = self.filesystem.get_file_info(path).type
        if kind == pafs.FileType.Directory:
            self.filesystem.delete_dir(path)
        elif kind == pafs.FileType.File:
            self.filesystem.delete_file(path)
