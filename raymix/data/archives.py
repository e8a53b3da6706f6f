"""Zip archives: what they declare is checked before anything of them is unpacked."""

import stat
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

from raymix.data.faults import printable, reading
from raymix.data.limits import DEFLATE_RATIO
from raymix.data.paths import Place, num_bytes
from raymix.errors import DataError

_TODO = "write the archive again"


class Archive(zipfile.ZipFile):
    """An archive that knows its own size."""

    def __init__(self, path: Place) -> None:
        super().__init__(path if isinstance(path, Path) else path.open("rb"))
        self.filename, self.num_bytes = str(path), num_bytes(path)


def open_zip(path: Place) -> Archive:
    """An archive whose names are sound.

    Raises `DataError` for names that are empty, absolute, climb out (`..`) or come twice, and for links and devices.
    """
    place = printable(path)
    with reading(path, "a zip archive", _TODO):
        archive = Archive(path)
        for info in archive.infolist():
            name = PurePosixPath(info.filename)
            if not info.filename or name.is_absolute() or ".." in name.parts or "\\" in info.filename:
                raise DataError(f"holds the name {info.filename[:100]!r}", place, "keep names inside the archive")
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"holds {info.filename[:100]!r}, a link or device", place, "put the file itself there")
        twice = [name for name, count in Counter(archive.namelist()).items() if count > 1]
        if twice:
            raise DataError(f"holds the name {twice[0][:100]!r} twice", place, _TODO)
        return archive


def read_member(archive: Archive, info: zipfile.ZipInfo, most: int) -> bytes:
    """All bytes of one member, `most` at most. Raises `DataError`."""
    place = member_place(archive, info)
    with reading(place, "a member of a zip archive", _TODO):
        require_sound(archive, info)
        if info.file_size > most:
            raise DataError(f"has {info.file_size} bytes", place, f"at most {most} are read")
        with archive.open(info) as stream:
            return stream.read(info.file_size)  # not `archive.read`: it unpacks all there is


def read_head(archive: Archive, info: zipfile.ZipInfo, num_bytes: int) -> bytes:
    """The first bytes of one member. Raises `DataError`."""
    with reading(member_place(archive, info), "a member of a zip archive", _TODO):
        require_sound(archive, info)
        with archive.open(info) as stream:
            return stream.read(num_bytes)


def require_sound(archive: Archive, info: zipfile.ZipInfo) -> None:
    """Raises `DataError` if a member is encrypted, of another compression, or cannot have the size that it declares."""
    place = member_place(archive, info)
    if info.flag_bits & 1:
        raise DataError("is encrypted", place, _TODO)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without a bound
        raise DataError(f"is compressed by method {info.compress_type}", place, "compress with deflate")
    size = archive.num_bytes
    ratio = DEFLATE_RATIO if info.compress_type == zipfile.ZIP_DEFLATED else 1
    if info.compress_size > size or info.file_size > ratio * info.compress_size:
        what = f"declares {info.file_size} bytes packed into {info.compress_size} of {size}"
        raise DataError(what, place, "the archive is damaged, get it again")


def member_place(archive: Archive, info: zipfile.ZipInfo) -> str:
    """Archive and member as an error names them."""
    return printable(f"{archive.filename}:{info.filename[:200]}")
