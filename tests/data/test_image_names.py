"""Files are images by well-known names, or by how they begin; what is passed over is counted."""

import io
import os
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from raymix.data.image_names import HEAD_BYTES, begins_like_image, formats
from raymix.errors import DataError

PICTURE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def encoded(form, **options):
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.jfif", "JPEG"),
        ("a.JPE", "JPEG"),
        ("A.PNG", "PNG"),
        ("a.avif", "AVIF"),
        ("a.qoi", "QOI"),
        ("a.ico", "ICO"),
        ("a.TGA", "TGA"),
        ("a.pnm", "PPM"),
    ],
)
def test_names_in_any_case_are_known(tmp_path, open_file, name, form):
    if form not in formats():
        pytest.skip(f"Pillow cannot read {form} here")
    (tmp_path / name).write_bytes(encoded(form))
    assert open_file(tmp_path).spec.row_shape == (3, 16, 16)


@pytest.mark.parametrize("name", ["photo", "photo.2024-05-01 at 12.30", "a.image"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "AVIF", "QOI", "ICO"])
def test_images_with_other_names_are_known_by_how_they_begin(tmp_path, open_file, form, name):
    if form not in formats():
        pytest.skip(f"Pillow cannot read {form} here")
    content = encoded(form)
    assert begins_like_image(content[:HEAD_BYTES])
    (tmp_path / name).write_bytes(content)
    assert open_file(tmp_path).spec.row_shape == (3, 16, 16)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"b/{name}", content)
    np.testing.assert_array_equal(open_file(tmp_path / "a.zip").read(0, 1).rows, open_file(tmp_path).read(0, 1).rows)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"P",
        b"P3 is a partition",
        b"Python is a language",
        b"BMW and others",
        b"MZ",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"%PDF-1.7",
        b"\x00\x00\x08\x03" + bytes(12),
        b"\x93NUMPY\x01\x00v\x00{",
        b"PAR1" + bytes(20),
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(30),
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(30),
        b"\0\0\1\0\0\0" + bytes(20),
        b"\x7fELF",
        bytes(64),
    ],
)
def test_other_files_do_not_begin_like_images(head):
    assert not begins_like_image(head)


def test_what_is_passed_over_is_counted_by_reason(tmp_path, open_file):
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    for name in ("b.txt", "c.JSON", "d.json", "LICENSE", ".DS_Store", "e.mp4"):
        (tmp_path / name).write_bytes(b"about these")
    (tmp_path / "empty").touch()
    source = open_file(tmp_path)
    assert source.spec.num_rows == 1
    assert source.notes == ("passed over: 5 files that are no images (no suffix, .json, .mp4, .txt), 1 empty",)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in tmp_path.iterdir():
            if file.suffix != ".zip":
                archive.write(file, f"all/{file.name}")
    assert open_file(tmp_path / "a.zip").notes == source.notes


def test_one_file_that_is_no_image_is_one(image_folder, open_file):
    assert open_file(image_folder).notes == ("passed over: 1 file that is no image (.txt)",)


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_a_damaged_file_with_the_name_of_an_image_is_an_error(tmp_path, open_file, content):
    (tmp_path / "a.jfif").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jfif: cannot be read as an image"):
        open_file(tmp_path)


def test_only_files_whose_names_say_nothing_are_opened(tmp_path, open_file, monkeypatch):
    for name in ("a.png", "b.png", "c.txt", "d.parquet.crc", "e"):
        (tmp_path / name).write_bytes(encoded("PNG"))
    asked = []
    monkeypatch.setattr(
        "raymix.data.image_files._head", lambda root, unsure, name: asked.append(name) or b"nothing that is known"
    )
    assert open_file(tmp_path).spec.num_rows == 2
    assert sorted(asked) == ["d.parquet.crc", "e"]


@pytest.mark.parametrize("name", ["p", "p.image", "p.png"])
def test_a_pipe_is_not_opened(tmp_path, open_file, name):
    (tmp_path / "a.png").write_bytes(encoded("PNG"))
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="is no plain file"):
        open_file(tmp_path)


def test_an_icon_does_not_hide_the_size_of_its_image(tmp_path, open_file):
    content = bytearray(encoded("ICO", sizes=[(16, 16)]))
    start = content.index(b"IHDR") + 4
    content[start : start + 8] = struct.pack(">2I", 20_000, 9_000)
    (tmp_path / "a.ico").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.ico: has 9000 x 20000 pixels"):
        open_file(tmp_path)
