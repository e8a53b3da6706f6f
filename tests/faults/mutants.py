"""Files damaged in many ways. Mutant number n is a pure function of n."""

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from good_files import PICKLE, good_files, zip_file

Rng = np.random.Generator


EXTREMES = [bytes([value]) * width for width in (1, 2, 4, 8) for value in (0x00, 0xFF, 0x7F, 0x80)]
for _order in "<>":
    EXTREMES += [struct.pack(f"{_order}I", size) for size in (1, 4096, 2**24, 2**31 - 1, 2**31, 2**32 - 1)]
    EXTREMES += [struct.pack(f"{_order}H", size) for size in (1, 4096)] + [struct.pack(f"{_order}q", 2**62)]
EXTREMES += [b"\xfe\xff\xff\xff\x0f", b"\x80" * 9 + b"\x01"]  # 2^31 - 1 and 2^63 in Thrift
NUMBERS = [b"0", b"-1", b"1", b"4096", b"16777216", b"4294967295", b"9223372036854775807", b"9" * 20, b"1e9"]


def _place(rng: Rng, size: int) -> int:
    """Anywhere, but three times in four near one of the ends, where headers and directories lie."""
    near = [min(size, 30), min(size, 200)][rng.integers(2)]
    return int(
        [rng.integers(size), rng.integers(near), rng.integers(near), size - 1 - rng.integers(near)][rng.integers(4)]
    )


def _span(rng: Rng, size: int) -> slice:
    start = _place(rng, size)
    return slice(start, start + int(rng.integers(1, 65)))


def _damage(content: bytes, rng: Rng) -> bytes:
    """One or two of the ways in which bytes go wrong."""
    for _ in range(int(rng.integers(1, 3))):
        if not content:
            return content
        at, span = _place(rng, len(content)), _span(rng, len(content))
        match int(rng.integers(9)):
            case 0:
                content = content[:at]
            case 1 | 2:
                places = [_place(rng, len(content)) for _ in range(int(rng.integers(1, 9)))]
                flipped = bytearray(content)
                for place in places:
                    flipped[place] = int(rng.integers(256))
                content = bytes(flipped)
            case 3:
                content = content[:at] + rng.bytes(int(rng.integers(1, 65))) + content[at:]
            case 4:
                content = content[:at] + content[span] * int(rng.integers(1, 4)) + content[at:]
            case 5:
                content = content[: span.start] + content[span.stop :]
            case 6:
                extreme = EXTREMES[rng.integers(len(EXTREMES))]
                content = content[:at] + extreme + content[at + len(extreme) :]
            case 7:
                numbers = list(re.finditer(rb"\d+", content))
                if numbers:
                    found = numbers[rng.integers(min(len(numbers), 20))]
                    content = content[: found.start()] + NUMBERS[rng.integers(len(NUMBERS))] + content[found.end() :]
            case 8:
                other = list(good_files().values())[rng.integers(len(good_files()))]
                stolen = PICKLE if rng.integers(2) else other[_span(rng, len(other))]
                content = content[:at] + stolen + content[at + len(stolen) * int(rng.integers(2)) :]
    return content


def _inside_gzip(content: bytes, rng: Rng) -> bytes:
    return gzip.compress(_damage(gzip.decompress(content), rng), mtime=0)


def _inside_zip(content: bytes, rng: Rng) -> bytes:
    """Damage inside one member, or of the names."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[rng.integers(len(members))]
    hurt = members.pop(name)
    odd = ["../" + name, "/" + name, "x\\" + name, name + "\n", "." + name, "é" + name]
    if rng.integers(8) == 0:
        members[odd[rng.integers(len(odd))]] = hurt
    else:
        members[name] = (_inside_png if name.endswith(".png") and rng.integers(2) else _damage)(hurt, rng)
    return zip_file(members, [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2][rng.integers(3)])


def _inside_png(content: bytes, rng: Rng) -> bytes:
    """Damage inside one chunk, image data unpacked first, under a right checksum."""
    chunks, at = [], 8
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        chunks.append([content[at + 4 : at + 8], content[at + 8 : at + 8 + size]])
        at += 12 + size
    chunk = chunks[rng.integers(len(chunks))]
    if chunk[0] == b"IDAT" and rng.integers(2):
        chunk[1] = zlib.compress(_damage(zlib.decompress(chunk[1]), rng))
    else:
        chunk[1] = _damage(chunk[1], rng)
    packed = [struct.pack(">I", len(b)) + a + b + struct.pack(">I", zlib.crc32(a + b)) for a, b in chunks]
    return content[:8] + b"".join(packed)


def _inside_parquet(content: bytes, rng: Rng) -> bytes:
    """Damage inside the footer, under a right length."""
    size = int.from_bytes(content[-8:-4], "little")
    footer = _damage(content[-8 - size : -8], rng)
    return content[: -8 - size] + footer + len(footer).to_bytes(4, "little") + content[-4:]


INSIDE: dict[str, Callable[[bytes, Rng], bytes]] = {
    ".gz": _inside_gzip,
    ".npz": _inside_zip,
    ".zip": _inside_zip,
    ".png": _inside_png,
    ".parquet": _inside_parquet,
}


class Mutant(NamedTuple):
    name: str
    content: bytes


def mutant(number: int) -> Mutant:
    """Damaged file number `number`: the form goes round, everything else is drawn from the number alone."""
    name, content = list(good_files().items())[number % len(good_files())]
    rng = np.random.default_rng([2024, number])
    inside = INSIDE.get(Path(name).suffix)
    if inside is not None and rng.integers(2):
        return Mutant(name, inside(content, rng))
    return Mutant(name, _damage(content, rng))
