"""One table of bad data: what it is, and the one line that says so, in `raymix data inspect` as in `raymix train`."""

import gzip
import io
import os
import pickle
import re
import struct
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raymix import cli
from raymix.config import DataConfig
from raymix.data.open import open_source
from raymix.data.scan import scan
from raymix.errors import DataError

Make = Callable[[Path], Path]
"""Writes bad data into a folder and returns the path that is to be read."""
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


class _Canary:
    """Its pickle leaves a file behind when it is loaded."""

    def __reduce__(self) -> Any:
        return (open, ("unpickled", "w"))


CANARY = np.array([[_Canary()]], dtype=object)


def _file(name: str, content: bytes | Callable[[], bytes]) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content())
        return folder / name

    return make


# ---------------------------------------------------------------- arrays


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npy_of(header: str, version: bytes = b"\1\0", values: bytes = bytes(48)) -> bytes:
    size = struct.pack("<H" if version == b"\1\0" else "<I", len(header))
    return b"\x93NUMPY" + version + size + header.encode() + values


def _npy_shape(shape: str, descr: str = "<f4", fortran: bool = False) -> bytes:
    return _npy_of(f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}}}")


def _with(row: int, value: float) -> np.ndarray:
    rows = ROWS.copy()
    rows[row, 1] = value
    return rows


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, mode: int = 0, flags: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content in members.items():
            info = zipfile.ZipInfo(name.strip())
            info.compress_type, info.external_attr = method, mode << 16
            archive.writestr(info, content)
    content = bytearray(file.getvalue())
    if flags:
        content[content.rindex(b"PK\1\2") + 8] |= flags
    return bytes(content)


def _zip_claiming(name: str, member: bytes, size: int) -> bytes:
    """Whose directory gives its member another size."""
    content = bytearray(_zip({name: member}))
    at = content.rindex(b"PK\1\2") + 24
    content[at : at + 4] = struct.pack("<I", size)
    return bytes(content)


def _idx(shape: tuple[int, ...], values: bytes, code: int = 8) -> bytes:
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values


ARRAYS: dict[str, tuple[Make, str]] = {
    "npy, empty": (_file("a.npy", b""), "cannot be read as a .npy file"),
    "npy, wrong magic": (_file("a.npy", b"NUMPY!" * 20), "magic string is not correct"),
    "npy, unknown version": (_file("a.npy", _npy_of("{}", b"\7\0")), r"version \(7, 0\)"),
    "npy, cut in its header": (_file("a.npy", _npy(ROWS)[:50]), "cannot be read as a .npy file"),
    "npy, cut in its values": (
        _file("a.npy", _npy(ROWS)[:-1]),
        r"declares 176 bytes for shape \(4, 3\), there are 175",
    ),
    "npy, two arrays": (_file("a.npy", _npy(ROWS) * 2), "declares 176 bytes"),
    "npy, 2^31 rows": (_file("a.npy", _npy_shape("(2147483648, 3)")), "declares"),
    "npy, product overflows": (_file("a.npy", _npy_shape("(4294967296, 4294967296)")), "declares"),
    "npy, negative sizes": (_file("a.npy", _npy_shape("(-4, -3)")), "declares"),
    "npy, header of 4 GB": (_file("a.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff{"), "expected 4294967295 bytes got"),
    "npy, nested header": (_file("a.npy", _npy_of("(" * 3000)), "cannot be read as a .npy file"),
    "npy, code for a header": (_file("a.npy", _npy_of("open('unpickled', 'w')")), "cannot be read as a .npy file"),
    "npy, objects": (_file("a.npy", _npy(CANARY)), "holds Python objects"),
    "npy, a pickle": (_file("a.npy", pickle.dumps(_Canary())), "magic string is not correct"),
    "npy, structured": (_file("a.npy", _npy(np.zeros(4, [("a", ">f4"), ("b", "<i2")]))), "values are of type"),
    "npy, complex": (_file("a.npy", _npy(ROWS.astype(complex))), "complex128; give an array of numbers"),
    "npy, text": (_file("a.npy", _npy(ROWS.astype(str))), "give an array of numbers"),
    "npy, no axes": (_file("a.npy", _npy(np.float32(3))), r"has shape \(\)"),
    "npy, 200 axes": (_file("a.npy", _npy_shape("(" + "1," * 200 + ")")), "has 200 axes"),
    "npy, no rows": (_file("a.npy", _npy(np.ones((0, 3)))), "is empty"),
    "npy, no columns": (_file("a.npy", _npy(np.ones((3, 0)))), "is empty"),
    "npy, nan": (_file("a.npy", _npy(_with(2, np.nan))), r"a\.npy, row 2: holds nan"),
    "npy, inf, Fortran order": (_file("a.npy", _npy(np.asfortranarray(_with(3, np.inf)))), r"a\.npy, row 3: holds inf"),
    "npy, cut, Fortran order": (_file("a.npy", _npy(np.asfortranarray(ROWS))[:-1]), "declares"),
    "npy, too many columns": (_file("a.npy", lambda: _npy(np.zeros((1, 2**20 + 1), bool))), "has 1048577 columns"),
    "npy, images too wide": (_file("a.npy", _npy(np.zeros((1, 1, 2**14 + 1), bool))), "16385 pixels"),
    "npz, empty": (_file("a.npz", b""), "not a zip file"),
    "npz, no arrays": (_file("a.npz", _zip({})), "holds the arrays none"),
    "npz, objects": (_file("a.npz", _zip({"x.npy": _npy(CANARY)})), "holds Python objects"),
    "npz, labels that are objects": (
        _file("a.npz", _zip({"x.npy": _npy(ROWS), "y.npy": _npy(CANARY)})),
        "a.npz:y: holds Python objects",
    ),
    "npz, header that unpacks to a lot": (
        _file("a.npz", lambda: _zip({"x.npy": b"\x93NUMPY\2\0\0\0\0\4" + bytes(2**26)})),
        "expected 67108864 bytes got",
    ),
    "npz, directory that lies": (
        _file("a.npz", _zip_claiming("x.npy", _npy(ROWS), 2**31)),
        "declares 2147483648 bytes",
    ),
    "npz, bzip2": (_file("a.npz", _zip({"x.npy": _npy(ROWS)}, zipfile.ZIP_BZIP2)), "compressed by method 12"),
    "npz, encrypted": (_file("a.npz", _zip({"x.npy": _npy(ROWS)}, flags=1)), "is encrypted"),
    "npz, one label too few": (
        _file("a.npz", _zip({"x.npy": _npy(ROWS), "y.npy": _npy(np.arange(3))})),
        "3 labels for 4 rows",
    ),
    "npz, labels of two axes": (_file("a.npz", _zip({"x.npy": _npy(ROWS), "y.npy": _npy(ROWS)})), "labels have shape"),
    "npz, label that is too long": (
        _file("a.npz", lambda: _zip({"x.npy": _npy(ROWS), "y.npy": _npy(np.array(["a" * 1001] * 4))})),
        "a label is too long",
    ),
    "npz, values cut": (_file("a.npz", _zip({"x.npy": _npy(ROWS)[:-9]})), "declares 176 bytes"),
    "idx, empty": (_file("a.idx", b""), r"does not start like an idx file \(empty\)"),
    "idx, wrong magic": (_file("a.idx", b"\1\0\x08\2" + bytes(20)), "does not start like an idx file"),
    "idx, 2^31 rows": (_file("a.idx", _idx((2**31, 3), bytes(12))), "declares 6442450956 bytes"),
    "idx, product overflows": (_file("a.idx", _idx((2**32 - 1,) * 4, bytes(12))), "declares"),
    "idx, 255 axes": (_file("a.idx", _idx((1,) * 255, bytes(1))), "does not start like an idx file"),
    "idx, no rows": (_file("a.idx", _idx((0, 3), b"")), "is empty"),
    "idx, nan": (_file("a.idx", _idx((2, 1), struct.pack(">2f", 1, np.nan), 13)), "row 1: holds nan"),
    "idx.gz, cut": (_file("a.idx.gz", gzip.compress(_idx((99, 3), os.urandom(297)))[:-40]), "cannot be read as rows"),
    "idx.gz, wrong checksum": (
        _file("a.idx.gz", gzip.compress(_idx((4, 3), bytes(12)))[:-8] + bytes(8)),
        "cannot be read as rows",
    ),
    "idx.gz, plain": (_file("a.idx.gz", _idx((4, 3), bytes(12))), "Not a gzipped file"),
    "idx.gz, more than deflate can hold": (_file("a.idx.gz", gzip.compress(_idx((2**31, 9), b""))), "declares"),
    "idx.gz, a bomb": (
        _file("a.idx.gz", lambda: gzip.compress(_idx((4, 3), bytes(2**26)), 1)),
        "goes on after its 4 rows",
    ),
}

# ---------------------------------------------------------------- images


def _image(form: str = "PNG", size: tuple[int, int] = (4, 5), mode: str = "L") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, form)
    return file.getvalue()


def _png_declaring(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _many_scans() -> bytes:
    file = io.BytesIO()
    Image.new("L", (9, 9)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * 100 + content[-2:]


def _wide_bmp() -> bytes:
    """One line of 2^22 pixels that a step of 255 lines passes over."""
    head = b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024)
    return head + struct.pack("<IiiHHIIiiII", 40, 2**22, 1, 1, 8, 1, 0, 0, 0, 256, 0) + bytes(1024) + b"\0\2\0\xff"


def _images(**members: bytes) -> Make:
    """A folder of images; `__` stands for a slash."""

    def make(folder: Path) -> Path:
        for name, content in members.items():
            path = folder / "images" / f"{name.replace('__', '/')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder / "images"

    return make


GOOD = _image()
IMAGES: dict[str, tuple[Make, str]] = {
    "image, empty": (_images(a=b""), r"a\.png: cannot be read as an image"),
    "image, text": (_images(a=GOOD, b=b"no image"), r"b\.png: cannot be read as an image"),
    "image, cut": (_images(a=GOOD, b=GOOD[:45]), r"b\.png: cannot be read as an image"),
    "image, wrong checksum": (_images(a=GOOD.replace(b"IDAT", b"IDAU")), r"a\.png: cannot be read as an image"),
    "image, program": (_images(a=b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "cannot be read as an image"),
    "image, a pickle": (_images(a=pickle.dumps(_Canary())), "cannot be read as an image"),
    "image, too many pixels": (_images(a=_png_declaring(10_000, 10_000)), "has 10000 x 10000 pixels"),
    "image, 2^31 pixels": (_images(a=_png_declaring(2**31 - 1, 1)), r"a\.png: "),
    "image, too long a side": (_images(a=_png_declaring(1, 2**14 + 1)), "16385 x 1 pixels"),
    "image, too many scans": (_images(a=_many_scans()), "more than 100 scans"),
    "image, step over many lines": (_images(a=_wide_bmp()), "1 x 4194304 pixels"),
    "images of two sizes": (_images(a=GOOD, b=_image(size=(5, 4))), r"b\.png: is \(1, 4, 5\) uint8, the first"),
    "images of two kinds": (_images(a=GOOD, b=_image(mode="RGB")), r"b\.png: is \(3, 5, 4\) uint8, the first"),
    "images of two types": (_images(a=GOOD, b=_image(mode="I;16")), r"b\.png: is \(1, 5, 4\) float32, the first"),
    "zip, empty": (_file("a.zip", b""), "not a zip file"),
    "zip, cut": (_file("a.zip", _zip({"a.png": GOOD})[:-30]), "not a zip file"),
    "zip, no images": (_file("a.zip", _zip({"a.txt": b"x"})), "holds no images"),
    "zip, name climbs out": (_file("a.zip", _zip({"x/../../a.png": GOOD})), "keep names inside"),
    "zip, absolute name": (_file("a.zip", _zip({"/etc/a.png": GOOD})), "keep names inside"),
    "zip, name of nothing": (_file("a.zip", _zip({"QQ": GOOD}).replace(b"QQ", b"\0Q")), "holds the name ''"),
    "zip, backslashes": (_file("a.zip", _zip({"..\\a.png": GOOD})), "keep names inside"),
    "zip, name comes twice": (_file("a.zip", _zip({"a.png": GOOD, "a.png ": GOOD})), "'a.png' twice"),
    "zip, link": (_file("a.zip", _zip({"a.png": b"/etc/passwd"}, mode=0o120777)), "a link or device"),
    "zip, device": (_file("a.zip", _zip({"a.png": b""}, mode=0o020666)), "a link or device"),
    "zip, encrypted": (_file("a.zip", _zip({"a.png": GOOD}, flags=1)), "is encrypted"),
    "zip, lzma": (_file("a.zip", _zip({"a.png": GOOD}, zipfile.ZIP_LZMA)), "compressed by method 14"),
    "zip, bzip2 bomb": (
        _file("a.zip", lambda: _zip({"a.png": bytes(2**25)}, zipfile.ZIP_BZIP2)),
        "compressed by method 12",
    ),
    "zip, bomb": (_file("a.zip", lambda: _zip_claiming("a.png", bytes(2**20), 2**28 + 1)), "declares 268435457 bytes"),
    "zip, hidden bomb": (_file("a.zip", lambda: _zip_claiming("a.png", GOOD + bytes(2**26), 80)), "Bad CRC-32"),
    "zip, damaged member": (_file("a.zip", _zip({"a.png": GOOD}, 0).replace(b"IHDR", b"IHDX")), "Bad CRC-32"),
    "zip, corrupt image": (_file("a.zip", _zip({"a.png": GOOD, "b.png": GOOD[:40]})), r"a\.zip:b\.png: cannot be read"),
}

# ---------------------------------------------------------------- Parquet


def _parquet(table: dict[str, Any] | pa.Table, **settings: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), file, **settings)
    return file.getvalue()


def _varint(number: int) -> bytes:
    """As Thrift writes an integer: zigzag, 7 bits a byte."""
    number, out = 2 * number, b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def _with_footer(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    size = int.from_bytes(content[-8:-4], "little")
    footer = change(content[-8 - size : -8])
    return content[: -8 - size] + footer + len(footer).to_bytes(4, "little") + content[-4:]


def _two_tables(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / f"{name}.parquet").write_bytes(_parquet({name: [1.0]}))
    return folder


NUMBERS = {"a": [1.0, 2.0], "b": [3, 4]}
UNPACKED = _parquet({"a": np.arange(123_457)}, compression="zstd", use_dictionary=False)
DEEP = pa.array([1.0])
for _ in range(60):
    DEEP = pa.StructArray.from_arrays([DEEP], ["a"])
TABLES: dict[str, tuple[Make, str]] = {
    "parquet, empty": (_file("a.parquet", b""), "cannot be read as a Parquet file"),
    "parquet, cut": (_file("a.parquet", _parquet(NUMBERS)[:-20]), "cannot be read as a Parquet file"),
    "parquet, footer longer than the file": (
        _file("a.parquet", _parquet(NUMBERS)[:-8] + b"\xff\xff\xff\x7fPAR1"),
        "the footer declares 2147483647 bytes",
    ),
    "parquet, footer of nothing": (_file("a.parquet", b"PAR1" + bytes(4) + b"PAR1"), "cannot be read as a Parquet"),
    "parquet, a pickle for a footer": (
        _file("a.parquet", _with_footer(_parquet(NUMBERS), lambda _: pickle.dumps(_Canary()))),
        "cannot be read as a Parquet file",
    ),
    "parquet, list of 2^31 parts": (
        _file("a.parquet", _with_footer(_parquet(NUMBERS), lambda _: b"\x15\4\x19\xfc\xff\xff\xff\xff\7")),
        "cannot be read as a Parquet file",
    ),
    "parquet, 2^40 rows": (
        _file("a.parquet", _with_footer(UNPACKED, lambda footer: footer.replace(_varint(123_457), _varint(2**40)))),
        "declares 1099511627776 rows",
    ),
    "parquet, more rows than it has": (
        _file("a.parquet", _with_footer(UNPACKED, lambda footer: footer.replace(_varint(123_457), _varint(2**31)))),
        r"a\.parquet",
    ),
    "parquet, page of 2 GB": (
        _file("a.parquet", re.sub(rb"\x15\0\x15....?\x15", b"\x15\0\x15\xfe\xff\xff\xff\x0f\x15", UNPACKED, count=1)),
        "that unpack to 2147483647",
    ),
    "parquet, damaged page": (_file("a.parquet", UNPACKED[:60] + bytes(60) + UNPACKED[120:]), "as a Parquet file"),
    "parquet, no rows": (_file("a.parquet", _parquet({"a": pa.array([], pa.float32())})), "holds no rows"),
    "parquet, no columns": (_file("a.parquet", _parquet({"label": [1, 2]})), "no columns of numbers or images"),
    "parquet, missing columns": (_two_tables, r"b\.parquet: lacks the column a"),
    "parquet, missing value": (_file("a.parquet", _parquet({"a": [1.0, None]})), r"row 1: column a has no value"),
    "parquet, nan": (_file("a.parquet", _parquet({"a": [1.0, np.nan]})), "row 1: holds nan"),
    "parquet, missing label": (
        _file("a.parquet", _parquet({**NUMBERS, "label": [None, "x"]})),
        "row 0: column label has no value",
    ),
    "parquet, label of fractions": (_file("a.parquet", _parquet({**NUMBERS, "label": [1, 0.5]})), "row 1: 0.5 is no"),
    "parquet, label that is too long": (
        _file("a.parquet", _parquet({**NUMBERS, "label": ["x", "y" * 1001]})),
        "a label is too long",
    ),
    "parquet, lists": (_file("a.parquet", _parquet({"a": [[1.0], [2.0, 3.0]]})), "row 1: column a has 2 values"),
    "parquet, structs": (_file("a.parquet", _parquet({"a": [{"x": 1}]})), "column a holds struct"),
    "parquet, structs in structs": (_file("a.parquet", lambda: _parquet({"a": DEEP})), "a holds struct.{94}; drop it"),
    "parquet, text": (_file("a.parquet", _parquet({"a": ["x"]})), "column a holds string"),
    "parquet, two columns of a name": (
        _file("a.parquet", _parquet(pa.table([[1.0], [2.0]], names=["a", "a"]))),
        "several columns 'a'",
    ),
    "parquet, corrupt image": (
        _file("a.parquet", _parquet({"image": [GOOD, GOOD[:-20]]})),
        r"a\.parquet, row 1: cannot be read as an image",
    ),
    "parquet, image that is a pickle": (
        _file("a.parquet", _parquet({"image": [pickle.dumps(_Canary())]})),
        "row 0: cannot be read as an image",
    ),
    "parquet, missing image": (
        _file("a.parquet", _parquet({"image": pa.array([GOOD, None])})),
        "row 1: column image has no",
    ),
}

# ---------------------------------------------------------------- folders and paths


def _linked(target: str, name: str) -> Make:
    def make(folder: Path) -> Path:
        for inner in ("set", "other"):
            (folder / inner).mkdir()
            (folder / inner / "a.png").write_bytes(GOOD)
        (folder / "other" / "a.parquet").write_bytes(_parquet(NUMBERS))
        (folder / "set" / name).symlink_to(target)
        return folder / "set"

    return make


def _pipe(name: str) -> Make:
    def make(folder: Path) -> Path:
        (folder / "set").mkdir()
        (folder / "set" / "a.png").write_bytes(GOOD)
        os.mkfifo(folder / "set" / name)
        return folder / "set"

    return make


def _digits_folder(labels: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / "images-idx3-ubyte").write_bytes(_idx((4, 2, 2), bytes(16)))
        (folder / "labels-idx1-ubyte").write_bytes(labels)
        return folder

    return make


def _folder(name: str, mode: int = 0o755) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).mkdir(mode=mode)
        return folder / name

    return make


def _loop(folder: Path) -> Path:
    (folder / "a.npy").symlink_to("b.npy")
    (folder / "b.npy").symlink_to("a.npy")
    return folder / "a.npy"


def _odd_name(folder: Path) -> Path:
    path = os.fsencode(folder) + b"/\xff.npy"
    Path(os.fsdecode(path)).write_bytes(_npy(ROWS))
    return Path(os.fsdecode(path))


def _closed(folder: Path) -> Path:
    (folder / "a.npy").write_bytes(_npy(ROWS))
    (folder / "a.npy").chmod(0)
    return folder / "a.npy"


PLACES: dict[str, tuple[Make, str]] = {
    "nothing there": (lambda folder: folder / "a.npy", "does not exist"),
    "device": (lambda _: Path("/dev/zero"), "is no file"),
    "pipe": (lambda folder: _pipe("p.npy")(folder) / "p.npy", "is no file"),
    "link to nothing": (lambda folder: _linked("gone", "a.npy")(folder) / "a.npy", "does not exist"),
    "links in a circle": (_loop, r"a\.npy"),
    "name that is no UTF-8": (_odd_name, r"\\udcff\.npy: has a name that is no UTF-8"),
    "unknown ending": (_file("a.mat", b"x"), "is no form of data that is read"),
    "folder for a file": (_folder("a.npy"), "holds no data that is read"),
    "folder without data": (_folder("a"), "holds no data that is read"),
    "folder of two forms": (lambda folder: _linked("a.png", "b.parquet")(folder), "several forms"),
    "folder, pipe for an image": (_pipe("b.png"), r"b\.png: is no plain file"),
    "folder, pipe for a table": (_pipe("b.parquet"), r"b\.parquet: is no plain file"),
    "folder, pipe for an idx file": (_pipe("b.idx"), r"b\.idx: is no plain file"),
    "folder, image from outside": (_linked("../other/a.png", "b.png"), "link out of the folder"),
    "folder, table from outside": (_linked("../other/a.parquet", "b.parquet"), "link out of the folder"),
    "folder, folder from outside": (_linked("../other", "b"), "link to a folder"),
    "folder, image that is gone": (_linked("gone", "b.png"), "is no plain file"),
    "folder, table that is gone": (_linked("gone", "b.parquet"), "is no plain file"),
    "folder, one label too few": (_digits_folder(_idx((3,), bytes(3))), "3 labels for 4 rows"),
    "folder, labels of two axes": (_digits_folder(_idx((4, 1), bytes(4))), r"labels have shape \(4, 1\)"),
    "folder, labels cut": (_digits_folder(_idx((4,), bytes(3))), "declares 12 bytes"),
    "file that may not be read": (_closed, "may not be read"),
    "folder that may not be read": (_folder("a", 0), "may not be read"),
}

BAD = {**ARRAYS, **IMAGES, **TABLES, **PLACES}


@pytest.mark.parametrize("what", BAD)
def test_bad_data_is_refused_by_inspect_as_by_train(tmp_path, monkeypatch, capsys, what):
    make, message = BAD[what]
    if "may not be read" in what and os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    path = str(make(tmp_path / "data"))
    before = time.process_time()
    assert cli.main(["data", "inspect", path]) == 2
    took = time.process_time() - before
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert len(shown.err) < 700
    assert re.search(message, shown.err), shown.err
    assert took < 2
    assert cli.main(["train", "--data", path, "--dry-run", "--workers", "local"]) == 2
    assert capsys.readouterr().err == shown.err
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.txt", b"1\n2\n3\n", "3 labels for 4 rows"),
        ("l.txt", b"1\n" * 100_000, "100000 labels for 4 rows"),
        ("l.txt", b"1\n\n3\n4\n", "row 1: holds ''"),
        ("l.txt", b"1\n" + b"x" * 10**6 + b"\n3\n4\n", "row 1: holds 'xxxx"),
        ("l.csv", b'1\n"2\n3\n4\n', r"l\.csv"),
        ("l.npy", _npy(np.arange(5)), "5 labels for 4 rows"),
        ("l.npy", _npy(CANARY), "holds Python objects"),
        ("l.npy", _npy(np.array([1, 2, np.nan, 4])), "row 2: nan is no class"),
        ("l.idx", _idx((5,), bytes(5)), "5 labels for 4 rows"),
        ("l.idx.gz", gzip.compress(_idx((4,), bytes(2**24)), 1), "has more"),
        ("l.parquet", _parquet({"label": [1, 2, 3]}), "3 labels for 4 rows"),
        ("l.parquet", _parquet({"label": ["a", None, "b", "c"]}), "row 1: column label has no value"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # bytes hold the time at which they were compressed
)
def test_bad_labels_are_refused(tmp_path, monkeypatch, name, content, message):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", ROWS)
    Path(name).write_bytes(content)
    with pytest.raises(DataError, match=message) as refusal:
        open_source(DataConfig(name="file", path="rows.npy", labels=name))
    assert str(refusal.value).isprintable()
    assert not Path("unpickled").exists()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "train-images-idx3-ubyte"),
        ("cifar10", "train-0.parquet"),
        ("cifar10", "data_batch_1.bin"),
        ("omniglot", "images_background.zip"),
        ("omniglot", "images_background"),
        ("celeba", "img_align_celeba.zip"),
        ("celeba", "img_align_celeba"),
    ],
)
def test_known_sets_do_not_follow_links_out_of_their_folder(tmp_path, name, file):
    outside = tmp_path / "outside"
    outside.write_bytes(b"x") if "." in file or "-" in file else outside.mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / file).symlink_to(outside)
    with pytest.raises(DataError, match="link out of the folder"):
        open_source(DataConfig(name=name, dir=str(tmp_path / "set")))


def test_a_file_cut_short_while_it_is_open_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((100_000, 3)))
    source = open_source(DataConfig(name="file", path=str(tmp_path / "a.npy")))
    source.read(0, 10)
    os.truncate(tmp_path / "a.npy", 5000)
    with pytest.raises(DataError, match="ends before row"):
        scan(source, 2**20)


def test_class_names_are_shown_printable(tmp_path):
    names = ["a\n", "\x1b[2J", "b"]
    np.savez(tmp_path / "a.npz", x=np.ones((3, 2)), y=np.array(names))
    source = open_source(DataConfig(name="file", path=str(tmp_path / "a.npz")))
    assert source.spec.classes == ("\\x1b[2J", "a\\n", "b")
