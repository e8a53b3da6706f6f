import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from raymix.report.thumbnails import SIDE, Shades, shrunk, strip


def picture_in(markup):
    kind, content = re.search(r'src="data:image/(\w+);base64,([^"]+)"', markup).groups()
    return kind, np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_a_strip_of_greys_holds_every_pixel_and_a_clear_ground():
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 6, 4)).astype(np.uint8)
    images[0, 0, 0, 0] = 255  # the brightest: values are drawn as they are
    markup = strip(Shades([images], []).pixels(images), 3, "a <strip>")
    kind, sheet = picture_in(markup)
    assert kind == "png" and sheet.shape == (13, 14, 2) and 'alt="a &lt;strip&gt;"' in markup
    for i, image in enumerate(images):
        top, left = i // 3 * 7, i % 3 * 5
        np.testing.assert_array_equal(sheet[top : top + 6, left : left + 4, 0], image[0])
        assert (sheet[top : top + 6, left : left + 4, 1] == 255).all()
    assert (sheet[..., 1] == 255).sum() == 5 * 24


def test_samples_are_drawn_in_the_range_of_the_real_rows():
    real, samples = np.array([[[[2.0, 4.0]]]]), np.array([[[[1.0, 3.0]]], [[[4.0, 9.0]]]])
    pixels = Shades([real], [samples]).pixels(samples)
    assert pixels[..., 0].tolist() == [[[0, 128]], [[255, 255]]]
    assert Shades([real[:0]], [samples]).pixels(samples).max() == 255


def test_colours_are_kept_and_other_channels_show_the_first():
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (2, 3, 8, 8)).astype(np.uint8)
    assert Shades([colours], []).pixels(colours).shape == (2, 8, 8, 3)
    pairs = rng.integers(0, 256, (2, 2, 8, 8)).astype(np.uint8)
    assert Shades([pairs], []).pixels(pairs).shape == (2, 8, 8, 1)
    kind, sheet = picture_in(strip(Shades([colours], []).pixels(colours), 2, ""))
    assert kind in ("png", "webp") and sheet.shape == (8, 17, 4)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 65), (218, 178), (200, 2), (1, 500)])
def test_large_images_are_shown_smaller(height, width):
    images = np.full((2, height, width, 3), 77, np.uint8)
    small = shrunk(images)
    assert max(small.shape[1:3]) <= SIDE and small.shape[0] == 2 and small.shape[3] == 3 and (small == 77).all()
    if height == width == 64:
        assert small is images
