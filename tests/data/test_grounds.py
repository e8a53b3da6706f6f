"""What is transparent is shown on a ground, one for the whole data set."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raymix.config import Config, DataConfig
from raymix.data.grounds import on_ground
from raymix.recipes.resolve import resolve

BAR = slice(1, 3)
"""Lines of the pictures here that are seen; the others are clear."""


def grey(level, clear=0):
    """A bar of a level of grey, and what lies beneath clear pixels."""
    picture = np.full((6, 4), clear, np.uint8)
    picture[BAR] = level
    return picture


def alpha(seen=255):
    picture = np.zeros((6, 4), np.uint8)
    picture[BAR] = seen
    return picture


def rgba(level, seen=255):
    return Image.fromarray(np.dstack([grey(level)] * 3 + [alpha(seen)]))


def rows_of(source):
    return source.read(0, source.spec.num_rows).rows


@pytest.mark.parametrize(
    ("level", "ground", "value"), [(0, "white", 255), (127, "white", 255), (128, "black", 0), (255, "black", 0)]
)
def test_pictures_are_seen_on_the_ground_that_is_least_like_them(tmp_path, open_file, level, ground, value):
    for row in range(3):
        rgba(level).save(tmp_path / f"{row}.png")
    source = open_file(tmp_path)
    assert source.settings == {"ground": ground}
    assert source.notes == (f"transparency is shown on {ground}",)
    np.testing.assert_array_equal(rows_of(source), np.broadcast_to(grey(level, value), (3, 3, 6, 4)))


def _palette():
    image = Image.fromarray(np.where(alpha() > 0, 1, 2).astype(np.uint8), "P")
    image.putpalette([9, 9, 9, 40, 40, 40, 0, 0, 0])
    return image


FORMS = {
    "grey and alpha": (Image.merge("LA", [Image.fromarray(grey(40)), Image.fromarray(alpha())]), "png", {}),
    "colour and alpha": (rgba(40), "png", {}),
    "palette, one clear": (_palette(), "png", {"transparency": 2}),
    "palette, alpha of each": (_palette(), "png", {"transparency": bytes([7, 255, 0])}),
    "palette, gif": (_palette(), "gif", {"transparency": 2}),
    "clear grey": (Image.fromarray(grey(40, 7)), "png", {"transparency": 7}),
    "clear colour": (Image.fromarray(np.dstack([grey(40, 7)] * 3)), "png", {"transparency": (7, 7, 7)}),
    "webp": (rgba(40), "webp", {"lossless": True}),
    "tiff": (rgba(40), "tiff", {}),
    "targa": (rgba(40), "tga", {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_transparency_is_shown(tmp_path, open_file, form):
    image, suffix, options = FORMS[form]
    image.save(tmp_path / f"a.{suffix}", **options)
    source = open_file(tmp_path)
    channels = 1 if "grey" in form else 3
    assert source.settings == {"ground": "white"}
    np.testing.assert_array_equal(rows_of(source), np.broadcast_to(grey(40, 255), (1, channels, 6, 4)))


def test_clear_grey_of_16_bits_is_white_of_16_bits(tmp_path, open_file):
    picture = grey(40, 7).astype(np.uint16) * 257
    Image.fromarray(picture).save(tmp_path / "a.png", transparency=7 * 257)
    source = open_file(tmp_path)
    assert source.settings == {"ground": "white"} and source.spec.dtype == "float32"
    np.testing.assert_array_equal(rows_of(source)[0, 0], np.where(alpha() > 0, picture, 65535))


def _png(depth, kind, lines, clear):
    """As few programs write them: Pillow turns these depths to 8 bits, and leaves the clear colour as it is."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">2I5B", 2, 1, depth, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"tRNS", clear) + chunk(b"IDAT", zlib.compress(b"\0" + lines))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (_png(4, 0, b"\x3c", struct.pack(">H", 0xC)), [0x33, 255]),
        (_png(2, 0, b"\x60", struct.pack(">H", 2)), [85, 255]),
        (_png(16, 2, struct.pack(">6H", *[0x2000] * 3, *[0x9000] * 3), struct.pack(">3H", *[0x9000] * 3)), [0x20, 255]),
    ],
)
def test_a_clear_colour_has_the_depth_of_its_file(tmp_path, open_file, content, expected):
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_array_equal(rows_of(open_file(tmp_path))[0, 0, 0], expected)


def test_a_palette_beside_alpha_is_shown():
    image = Image.merge("PA", [Image.fromarray(grey(1)), Image.fromarray(alpha())])
    image.putpalette([9, 9, 9, 40, 40, 40])
    np.testing.assert_array_equal(np.asarray(on_ground(image, "white"))[..., 1], grey(40, 255))


def test_pixels_that_are_half_seen_are_mixed(tmp_path, open_file):
    rgba(100, seen=128).save(tmp_path / "a.png")
    rows = rows_of(open_file(tmp_path))
    np.testing.assert_allclose(rows[0, 0][BAR], 100 * 128 / 255 + 255 * 127 / 255, atol=1)
    assert (rows[0, 0, 3:] == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_that_hides_nothing_is_no_transparency(tmp_path, open_file, mode):
    picture = np.random.default_rng(0).integers(0, 256, (5, 4), dtype=np.uint8)
    bands = [Image.fromarray(picture)] * (3 if mode == "RGBA" else 1) + [Image.new("L", (4, 5), 255)]
    image = Image.fromarray(picture, "P") if mode == "P" else Image.merge(mode, bands)
    if mode == "P":
        image.putpalette(bytes(value for level in range(256) for value in (level,) * 3))
    image.save(tmp_path / "a.png", **({"transparency": bytes([255] * 256)} if mode == "P" else {}))
    source = open_file(tmp_path)
    assert source.settings == {"ground": "white"} and source.notes == ()
    assert source.spec.row_shape == (1 if mode == "LA" else 3, 5, 4)
    assert (rows_of(source) == picture).all()


def test_one_ground_serves_all_and_the_first_transparent_picture_chooses_it(tmp_path, open_file):
    Image.new("RGB", (4, 6), (200, 200, 200)).save(tmp_path / "0.png")
    Image.new("RGBA", (4, 6)).save(tmp_path / "1.png")  # nothing of it is seen
    rgba(30).save(tmp_path / "2.png")
    rgba(250).save(tmp_path / "3.png")
    source = open_file(tmp_path)
    assert source.settings == {"ground": "white"}
    rows = rows_of(source)[:, 0]
    np.testing.assert_array_equal(rows[1:], [grey(255, 255), grey(30, 255), grey(250, 255)])


def test_only_the_first_images_are_looked_at(tmp_path, open_file, monkeypatch):
    monkeypatch.setattr("raymix.data.images.LOOK", 2)
    for row in range(3):
        (Image.new("RGB", (4, 6)) if row < 2 else rgba(250)).save(tmp_path / f"{row}.png")
    source = open_file(tmp_path)
    assert source.settings == {"ground": "white"}
    np.testing.assert_array_equal(rows_of(source)[2, 0], grey(250, 255))


def test_a_damaged_image_is_passed_by_the_look_and_named_when_it_is_read(tmp_path, open_file):
    Image.new("RGB", (4, 6)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"no image")
    rgba(250).save(tmp_path / "2.png")
    source = open_file(tmp_path)
    assert source.settings == {"ground": "black"}
    with pytest.raises(ValueError, match=r"1\.png: cannot be read as an image"):
        source.read(0, 3)


def test_a_ground_that_is_set_is_taken_without_a_look(tmp_path, open_file):
    rgba(250).save(tmp_path / "a.png")
    source = open_file(tmp_path, ground="white")
    assert source.settings == {"ground": "white"} and source.notes == ()
    np.testing.assert_array_equal(rows_of(source)[0, 0], grey(250, 255))
    coloured = rows_of(open_file(tmp_path, ground="#0a141E"))[0]
    np.testing.assert_array_equal(coloured, [grey(250, 10), grey(250, 20), grey(250, 30)])


def test_grey_pictures_on_a_coloured_ground_are_all_coloured(tmp_path, open_file):
    for name, seen in (("a", alpha()), ("b", np.full((6, 4), 255, np.uint8))):
        Image.merge("LA", [Image.fromarray(grey(40)), Image.fromarray(seen)]).save(tmp_path / f"{name}.png")
    assert open_file(tmp_path, ground="#808080").spec.row_shape == (1, 6, 4)
    rows = rows_of(open_file(tmp_path, ground="#ff0000"))
    np.testing.assert_array_equal(rows[0], [grey(40, 255), grey(40), grey(40)])
    np.testing.assert_array_equal(rows[1], [grey(40)] * 3)


def test_zips_and_columns_of_images_have_a_ground_too(tmp_path, open_file):
    file = io.BytesIO()
    rgba(40).save(file, "PNG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", file.getvalue())
    pq.write_table(pa.table({"image": [file.getvalue()]}), tmp_path / "a.parquet")
    for name in ("a.zip", "a.parquet"):
        source = open_file(tmp_path / name)
        assert source.settings["ground"] == "white"
        np.testing.assert_array_equal(rows_of(source)[0, 0], grey(40, 255))
        np.testing.assert_array_equal(rows_of(open_file(tmp_path / name, ground="black"))[0, 0], grey(40))


def test_a_resolved_config_keeps_the_ground(tmp_path):
    def ground(folder):
        return resolve(Config(num_components=1, data=DataConfig(name="file", path=str(folder))))[0].data.ground

    for name, image in (("clear", rgba(250)), ("opaque", Image.new("L", (4, 6)))):
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "a.png")
    assert ground(tmp_path / "clear") == "black"
    assert ground(tmp_path / "opaque") == "white"


@pytest.mark.parametrize("ground", ["blue", "#fff", "#12345g", "", "White"])
def test_what_is_no_ground_is_refused(ground):
    with pytest.raises(ValueError, match="must be auto, white, black or #rrggbb"):
        DataConfig(ground=ground)


def test_auto_is_as_good_as_unset():
    assert DataConfig(ground="auto") == DataConfig()
