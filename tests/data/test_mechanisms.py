"""Digits on waves: what is the same in all of them, and what is not."""

import numpy as np
import pytest

from raymix.config import DataConfig
from raymix.data.mechanisms import DIRECTIONS, enlarged, waves
from raymix.data.open import open_source, open_test_source


@pytest.fixture(scope="module")
def drawn():
    return open_source(DataConfig(name="mechanisms", num_rows=2_000)).read(0, 2_000)


def test_rows_are_grey_images_in_equal_shares(drawn):
    assert drawn.rows.shape == (2_000, 1, 16, 16)
    assert drawn.rows.dtype == np.uint8
    assert np.bincount(drawn.labels // 10).tolist() == [500] * len(DIRECTIONS)
    assert set(drawn.labels % 10) == set(range(10))


def test_names_of_classes_say_direction_and_digit():
    classes = open_source(DataConfig(name="mechanisms", num_rows=10)).spec.classes
    assert len(classes) == 40
    assert (classes[0], classes[27]) == ("0° 0", "90° 7")


def test_the_seed_decides():
    sources = [open_source(DataConfig(name="mechanisms", num_rows=50, seed=seed)) for seed in (0, 0, 1)]
    first, again, other = (source.read(0, 50) for source in sources)
    np.testing.assert_array_equal(first.rows, again.rows)
    assert not np.array_equal(first.rows, other.rows)


def test_nearness_does_not_tell_the_pattern(drawn):
    """The centre of its own pattern is hardly nearer to a row than that of all rows."""
    rows_ND, patterns_N = drawn.rows.reshape(2_000, -1) / 255.0, drawn.labels // 10
    mean_D = rows_ND.mean(0)
    for pattern in range(len(DIRECTIONS)):
        own_nD = rows_ND[patterns_N == pattern]
        total = ((own_nD - mean_D) ** 2).sum(1).mean()
        to_centre = ((own_nD - own_nD.mean(0)) ** 2).sum(1).mean()
        assert to_centre > 0.97 * total


def test_test_rows_show_other_digits(drawn):
    source = open_test_source(DataConfig(name="mechanisms", num_rows=2_000))
    held = source.read(0, 2_000).rows
    assert held.shape == drawn.rows.shape
    assert not {row.tobytes() for row in held} & {row.tobytes() for row in drawn.rows}


def test_waves_run_in_their_direction():
    along_x, along_y = waves(np.radians([0.0, 90.0]), np.zeros(2))
    assert np.ptp(along_x, axis=0).max() < 1e-9 < np.ptp(along_x, axis=1).min()
    assert np.ptp(along_y, axis=1).max() < 1e-9 < np.ptp(along_y, axis=0).min()


def test_digits_are_enlarged_between_their_pixels():
    small = np.zeros((1, 8, 8))
    small[0, 3, 4] = 1
    large = enlarged(small)[0]
    assert large.shape == (16, 16)
    assert large.sum() == pytest.approx(4)
    assert np.unravel_index(large.argmax(), large.shape) in {(6, 8), (6, 9), (7, 8), (7, 9)}
    np.testing.assert_allclose(enlarged(np.ones((1, 8, 8))), 1)
