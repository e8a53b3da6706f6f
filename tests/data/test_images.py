"""Folders and zip archives of images: round trips, labels, what is refused."""

import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from raymix.data.scan import scan
from raymix.errors import DataError


def _zip_of(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def test_folder_of_images_gives_rows_and_labels(open_file, image_folder, colour):
    source = open_file(image_folder)
    assert source.spec.row_shape == (3, 5, 4)
    assert source.spec.dtype == "uint8"
    assert source.spec.classes == ("cat", "dog")
    block = source.read(1, 6)
    np.testing.assert_array_equal(block.rows, np.moveaxis(colour[1:], -1, 1))
    np.testing.assert_array_equal(block.labels, [0, 0, 0, 1, 1])


@pytest.mark.parametrize("prefix", ["", "all/"])
def test_zip_of_images_equals_its_folder(tmp_path, open_file, image_folder, prefix):
    source, folder = open_file(_zip_of(image_folder, tmp_path / "a.zip", prefix)), open_file(image_folder)
    assert source.spec.classes == folder.spec.classes
    for mine, theirs in zip(source.read(0, 6), folder.read(0, 6), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_images_of_one_folder_have_no_labels(open_file, image_folder):
    source = open_file(image_folder / "cat")
    assert source.spec.classes == ()
    assert source.read(0, 4).labels is None


def test_nested_folders_are_labels_by_path(tmp_path, open_file):
    for name in ("set/a/x", "set/a/y", "set/b/x"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("L", (2, 2)).save(tmp_path / name / "1.png")
    assert open_file(tmp_path).spec.classes == ("a/x", "a/y", "b/x")


@pytest.mark.parametrize(
    ("mode", "row_shape", "dtype"),
    [
        ("1", (1, 3, 4), "uint8"),
        ("L", (1, 3, 4), "uint8"),
        ("LA", (1, 3, 4), "uint8"),
        ("I;16", (1, 3, 4), "float32"),
        ("P", (3, 3, 4), "uint8"),
        ("RGB", (3, 3, 4), "uint8"),
        ("RGBA", (3, 3, 4), "uint8"),
    ],
)
def test_image_mode_decides_shape_and_type(tmp_path, open_file, mode, row_shape, dtype):
    Image.new(mode, (4, 3)).save(tmp_path / "a.png")
    source = open_file(tmp_path)
    assert source.spec.row_shape == row_shape
    assert source.spec.dtype == dtype


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "tif", "webp", "gif", "ppm"])
def test_image_forms_are_read(tmp_path, open_file, suffix):
    Image.new("RGB", (16, 16), (255, 255, 255)).save(tmp_path / f"a.{suffix}")
    rows = open_file(tmp_path).read(0, 1).rows
    assert rows.shape == (1, 3, 16, 16)
    assert rows.min() >= 250


def test_one_bit_images_become_0_and_255(tmp_path, open_file):
    bits = np.array([[0, 1], [1, 0]], dtype=bool)
    Image.fromarray(bits).save(tmp_path / "a.png")
    np.testing.assert_array_equal(open_file(tmp_path).read(0, 1).rows[0, 0], bits * 255)


def test_images_of_two_shapes_are_refused_with_both_names(tmp_path, open_file, image_folder):
    Image.new("RGB", (9, 9)).save(image_folder / "dog" / "9.png")
    source = open_file(image_folder)
    with pytest.raises(DataError, match=r"dog/9\.png.*\(3, 9, 9\).*cat/0\.png.*\(3, 5, 4\)"):
        scan(source, 2**20)
    Image.new("L", (4, 5)).save(image_folder / "dog" / "9.png")
    with pytest.raises(DataError, match=r"dog/9\.png"):
        source.read(0, 7)


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
@pytest.mark.parametrize("archived", [False, True])
def test_damaged_image_is_named(tmp_path, open_file, image_folder, damage, archived):
    file = image_folder / "dog" / "5.png"
    good = file.read_bytes()
    file.write_bytes({"cut": good[: len(good) // 2], "garbage": b"not an image", "empty": b""}[damage])
    source = open_file(_zip_of(image_folder, tmp_path / "a.zip") if archived else image_folder)
    assert len(source.read(0, 5).rows) == 5
    with pytest.raises(DataError, match=r"dog/5\.png"):
        source.read(5, 6)


def _huge_png(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_image_of_too_many_pixels_is_refused_undecoded(tmp_path, open_file):
    for width, height in ((8193, 8192), (100_000, 100_000)):
        (tmp_path / "a.png").write_bytes(_huge_png(width, height))
        with pytest.raises(DataError, match=r"a\.png.*pixels"):
            open_file(tmp_path)


def test_zip_names_that_lead_out_are_refused(tmp_path, open_file):
    for name in ("../a.png", "x/../../a.png", "/etc/a.png", "x\\..\\a.png"):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(name, b"x")
        with pytest.raises(DataError, match="keep names inside"):
            open_file(tmp_path / "a.zip")


def test_zip_that_is_none_or_empty_is_refused(tmp_path, open_file):
    path = tmp_path / "a.zip"
    for content in (b"", b"PK\3\4 and no more"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="zip archive"):
            open_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(DataError, match="no images"):
        open_file(path)


def test_links_out_of_the_folder_are_refused(tmp_path, open_file, image_folder):
    outside = tmp_path / "secret.png"
    Image.new("RGB", (4, 5)).save(outside)
    link = image_folder / "cat" / "z.png"
    os.symlink(image_folder / "cat" / "0.png", link)
    assert open_file(image_folder).spec.num_rows == 7
    link.unlink()
    os.symlink(outside, link)
    with pytest.raises(DataError, match=r"z\.png.*link out"):
        open_file(image_folder)
    link.unlink()
    os.symlink(tmp_path, image_folder / "loop")
    with pytest.raises(DataError, match="link to a folder"):
        open_file(image_folder)


def test_folder_without_data_is_refused(tmp_path, open_file):
    with pytest.raises(DataError, match="no data that is read"):
        open_file(tmp_path)


UPRIGHT = np.repeat(np.repeat(np.arange(15, dtype=np.uint8).reshape(3, 5) * 17, 8, 0), 8, 1)
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a, -1),
}
"""How a camera stores an upright picture under each orientation (EXIF 2.32, tag 274)."""


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_images_are_turned_as_exif_says(tmp_path, open_file, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](UPRIGHT)))
    stored.convert("RGB" if suffix == "webp" else "L").save(tmp_path / f"a.{suffix}", exif=exif, quality=100)
    rows = open_file(tmp_path).read(0, 1).rows
    assert rows.shape[2:] == UPRIGHT.shape
    np.testing.assert_allclose(rows[0, 0], UPRIGHT, atol=8)


def test_sizes_are_compared_when_images_are_upright(tmp_path, open_file):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (4, 6)).save(tmp_path / "a.png")
    Image.new("L", (6, 4)).save(tmp_path / "b.png", exif=exif)
    assert open_file(tmp_path).read(0, 2).rows.shape == (2, 1, 6, 4)
    Image.new("L", (6, 4)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"b\.png: is \(1, 4, 6\)"):
        open_file(tmp_path).read(0, 2)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"nothing of the kind",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12",
        b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x63\0\0\0\0\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\2\0\0\0\4six\0\0\0\0\0",
    ],
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_broken_exif_leaves_the_image_as_it_is_stored(tmp_path, open_file, exif, suffix):
    Image.fromarray(UPRIGHT).save(tmp_path / f"a.{suffix}", exif=exif, quality=100)
    np.testing.assert_allclose(open_file(tmp_path).read(0, 1).rows[0, 0], UPRIGHT, atol=8)


def test_an_orientation_before_much_else_is_obeyed_and_the_rest_not_read(tmp_path, open_file):
    entries = [struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)]
    entries += [struct.pack(">HHII", 0x8000 + i, 7, 2**22, 10) for i in range(2000)]  # 8 GB, if all were
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + b"".join(entries) + bytes(2**22)
    Image.fromarray(np.ascontiguousarray(np.rot90(UPRIGHT))).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(open_file(tmp_path).read(0, 1).rows[0, 0], UPRIGHT)


def test_cmyk_is_read_in_its_colours(tmp_path, open_file):
    """Programs of Adobe store the inverse, with a mark that Pillow writes and reads."""
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    rows = open_file(tmp_path).read(0, 1).rows
    np.testing.assert_allclose(rows[0, :, 8, 8], [255, 0, 0], atol=4)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_of_a_moving_image_the_first_frame_is_read(tmp_path, open_file, suffix):
    frames = [Image.new("RGB", (8, 8), (level,) * 3) for level in (30, 200, 90)]
    frames[0].save(
        tmp_path / f"a.{suffix}",
        save_all=True,
        append_images=frames[1:],
        **({"lossless": True} if suffix == "webp" else {}),
    )
    source = open_file(tmp_path)
    assert source.spec.num_rows == 1 and (source.read(0, 1).rows == 30).all()


def test_grey_of_16_bits_keeps_its_values(tmp_path, open_file):
    values = np.array([[0, 1, 300], [65535, 40_000, 256]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(open_file(tmp_path).read(0, 1).rows[0, 0], values)
