"""JPEG 2000 is read where its headers ask for no more than the image is worth."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from raymix.data.image_names import HEAD_BYTES, begins_like_image, formats
from raymix.data.jpeg2000 import require_modest
from raymix.errors import DataError

if "JPEG2000" not in formats():
    pytest.skip("Pillow cannot read it here", allow_module_level=True)
PICTURE = np.random.default_rng(0).integers(0, 256, (140, 150), dtype=np.uint8)


def encoded(**options):
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "JPEG2000", **options)
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.jp2", "a.J2K", "a"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"no_jp2": True},
        {"tile_size": (16, 16)},
        {"quality_layers": [40, 20, 0], "quality_mode": "rates"},
        {"precinct_size": (64, 64), "codeblock_size": (32, 32)},
        {"num_resolutions": 1},
        {"comment": "marks of all kinds"},
        {"plt": True},
    ],
    ids=str,
)
def test_usual_files_are_read(tmp_path, open_file, name, options):
    content = encoded(**options)
    assert begins_like_image(content[:HEAD_BYTES])
    (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(open_file(tmp_path).read(0, 1).rows[0, 0], PICTURE)


def changed(marker, change):
    """A codestream with the body of one of its header's segments changed."""
    content = encoded(no_jp2=True)
    start = content.index(marker)
    (size,) = struct.unpack_from(">H", content, start + 2)
    body = change(bytearray(content[start + 4 : start + 2 + size]))
    return content[:start] + marker + struct.pack(">H", len(body) + 2) + bytes(body) + content[start + 2 + size :]


def with_bytes(place, value):
    def change(body):
        body[place : place + len(value)] = value
        return body

    return change


COD, SIZ, SOT = b"\xff\x52", b"\xff\x51", b"\xff\x90"
PLAIN = encoded(no_jp2=True)
SMALL_PRECINCTS = b"\x01" + PLAIN.split(COD)[1][3:12] + bytes(6)

REFUSED = [
    (changed(SIZ, with_bytes(18, struct.pack(">2I", 1, 1))), "too many tiles"),
    (changed(COD, with_bytes(2, b"\xff\xff")), "too many layers"),
    (changed(COD, with_bytes(5, b"\x20")), "too many levels"),
    (changed(COD, with_bytes(6, b"\x00")), "too small code-blocks"),
    (changed(COD, lambda _: SMALL_PRECINCTS), "too many precincts"),
    (PLAIN.replace(SOT, COD + struct.pack(">H", 18) + SMALL_PRECINCTS + SOT, 1), "too many precincts"),
    (
        PLAIN.replace(b"\xff\x93", b"\xff\x53\0\x0f\0\1\5\4\4\0\1" + b"\x00" * 6 + b"\xff\x93", 1),
        "too many precincts",
    ),
    (PLAIN.replace(SOT, b"\xff\x70\0\2" + SOT, 1), "the marker ff70"),
    (changed(SOT, with_bytes(2, struct.pack(">I", 5))), "the marker"),
    (encoded() + PLAIN, "no or several"),
    (encoded()[:80], "no or several"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_headers_that_ask_for_much_are_refused_undecoded(number):
    content, said = REFUSED[number]
    with pytest.raises(DataError, match=said):
        require_modest(content, "a.jp2")


def test_a_header_in_disorder_is_one_error(tmp_path, open_file):
    for cut in range(2, 120):
        (tmp_path / "a.j2k").write_bytes(PLAIN[:cut])
        with pytest.raises(DataError, match=r"a\.j2k: "):
            open_file(tmp_path)
