"""A small good file of every form that is read, and pickles that would betray themselves."""

import gzip
import io
import pickle
import struct
import warnings
import zipfile
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CANARY = "unpickled"
"""A file of this name appears in the present folder if any of the pickles planted here is ever loaded."""


class _Canary:
    def __reduce__(self) -> Any:
        return (open, (CANARY, "w"))


PICKLE = pickle.dumps(_Canary(), protocol=2)


def _array_file(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def zip_file(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in members.items():
            info = zipfile.ZipInfo(name)  # of a fixed date
            info.compress_type = method
            archive.writestr(info, content)
    return file.getvalue()


def _idx_file(array: np.ndarray, code: int = 8) -> bytes:
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, code, array.ndim]) + shape + array.astype(array.dtype.newbyteorder(">")).tobytes()


def _parquet_file(columns: dict[str, Any], **settings: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **settings)
    return file.getvalue()


def _image_file(form: str, mode: str = "L", **settings: Any) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(2).integers(0, 256, (12, 10), dtype=np.uint8) // 16 * 16
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels.astype(np.uint16) * 200)
    elif mode != "L":
        image = image.convert(mode)
    image.save(file, form, **settings)
    return file.getvalue()


@cache
def good_files() -> dict[str, bytes]:
    """Name -> content; `labels...` go with rows.npy, `data_batch...` with the data set cifar10, images in a folder."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20, 3)).astype(np.float32)
    grey = rng.integers(0, 256, (7, 5, 4), dtype=np.uint8)
    codes = np.arange(20) % 3
    names = [f"class {code}" for code in codes]
    png, jpeg = _image_file("PNG"), _image_file("JPEG", "RGB")
    trap = _array_file(np.array([[_Canary()]], dtype=object))
    numbers = {"a": rows[:, 0], "b": rows[:, 1].astype(np.float64), "c": codes, "label": names}
    images = [{"bytes": png, "path": "x"}] * 4 + [{"bytes": png[:-1], "path": "y"}]
    extension = pa.field("a", pa.float32(), metadata={"ARROW:extension:name": "arrow.py_extension_type"})
    extension = extension.with_metadata({**extension.metadata, b"ARROW:extension:metadata": PICKLE})
    return {
        "a.npy": _array_file(rows),
        "fortran.npy": _array_file(np.asfortranarray(rows.astype(">f8"))),
        "bool.npy": _array_file(grey > 100),
        "trap.npy": trap,
        "stored.npz": zip_file({"x.npy": _array_file(rows), "y.npy": _array_file(codes)}, zipfile.ZIP_STORED),
        "deflated.npz": zip_file({"x.npy": _array_file(grey), "labels.npy": _array_file(np.array(names[:7]))}),
        "fortran.npz": zip_file({"rows.npy": _array_file(np.asfortranarray(rows))}),
        "trap.npz": zip_file({"x.npy": trap, "y.npy": trap}),
        "a.idx": _idx_file(grey),
        "b.idx": _idx_file(rows, 13),
        "a.idx.gz": gzip.compress(_idx_file(grey), mtime=0),
        "numbers.parquet": _parquet_file(numbers, row_group_size=8),
        "plain.parquet": _parquet_file(numbers, compression="zstd", use_dictionary=False, data_page_version="2.0"),
        "delta.parquet": _parquet_file(
            {"a": codes, "label": names},
            use_dictionary=False,
            column_encoding={"a": "DELTA_BINARY_PACKED", "label": "DELTA_LENGTH_BYTE_ARRAY"},
        ),
        "prefix.parquet": _parquet_file(
            {"image": [png] * 4}, use_dictionary=False, column_encoding={"image": "DELTA_BYTE_ARRAY"}
        ),
        "images.parquet": _parquet_file({"image": images, "label": [0, 1, 2, 0, 1]}, compression="gzip"),
        "blobs.parquet": _parquet_file({"image": [png] * 4}, compression="none", row_group_size=3),
        "trap.parquet": _parquet_file({"a": rows[:, 0], "b": rows[:, 1]}, compression="none"),
        "typed.parquet": _typed_parquet(rows[:, 0], extension),
        "images.zip": zip_file({"a/1.png": png, "a/2.png": png, "b/1.png": png}),
        "stored.zip": zip_file({"1.jpg": jpeg, "2.jpg": jpeg}, zipfile.ZIP_STORED),
        "labels.npy": _array_file(codes),
        "labels.idx": _idx_file(codes.astype(np.uint8)),
        "labels.csv": "\n".join(["label", *names]).encode(),
        "labels.txt": "\n".join(map(str, codes)).encode(),
        "labels.parquet": _parquet_file({"label": names}),
        "data_batch_1.bin": (b"\3" + rng.bytes(3072)) * 2,
        "l.png": png,
        "p.png": _image_file("PNG", "P"),
        "deep.png": _image_file("PNG", "I;16"),
        "j.jpg": jpeg,
        "progressive.jpg": _image_file("JPEG", "RGB", progressive=True),
        "p.gif": _image_file("GIF", "P"),
        "m.bmp": _image_file("BMP", "RGB"),
        "rle.bmp": _rle_bmp(),
        "raw.tif": _image_file("TIFF", "RGB"),
        "lzw.tif": _image_file("TIFF", compression="tiff_lzw"),
        "deflate.tif": _image_file("TIFF", "I;16", compression="tiff_adobe_deflate"),
        "fax.tif": _image_file("TIFF", "1", compression="group4"),
        "jpeg.tif": _image_file("TIFF", "RGB", compression="jpeg"),
        "lossless.webp": _image_file("WEBP", "RGB", lossless=True),
        "lossy.webp": _image_file("WEBP", "RGBA"),
        "b.ppm": _image_file("PPM", "RGB"),
        "plain.pgm": b"P2 4 3 255\n" + b" ".join(str(17 * i).encode() for i in range(12)) + b"\n",
        "deep.pgm": b"P5 4 3 1000\n" + bytes(24),
    }


def _typed_parquet(column: np.ndarray, field: pa.Field) -> bytes:
    """A column of an extension type of old pyarrow, whose description is a pickle."""
    file = io.BytesIO()
    pq.write_table(pa.table([pa.array(column)], schema=pa.schema([field])), file)
    return file.getvalue()


def _rle_bmp() -> bytes:
    """8 x 2 pixels: a run, a step to the right and upwards, the end."""
    head = b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024)
    info = struct.pack("<IiiHHIIiiII", 40, 8, 2, 1, 8, 1, 0, 0, 0, 256, 0)
    return head + info + bytes(range(256)) * 4 + b"\4\7\0\2\2\1\2\5\0\1"
