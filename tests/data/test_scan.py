"""One pass over the data: moments against numpy in float64, faults by row, scaling."""

import numpy as np
import pytest

from raymix.config import DataConfig
from raymix.data.open import open_source
from raymix.data.scan import describe_lines, scaling, scan
from raymix.errors import DataError


def _scan(tmp_path, array, block_bytes=200):
    np.save(tmp_path / "a.npy", array)
    return scan(open_source(DataConfig(name="file", path=str(tmp_path / "a.npy"))), block_bytes)


@pytest.mark.parametrize("block_bytes", [1, 200, 2**26])
def test_moments_of_vectors_are_per_column(tmp_path, block_bytes):
    rows = np.random.default_rng(0).standard_normal((101, 3)) * [1, 1e-3, 50] + [0, 1e6, -7]
    summary = _scan(tmp_path, rows, block_bytes)
    np.testing.assert_allclose(summary.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(summary.sd, rows.std(axis=0), rtol=1e-6)
    assert (summary.minimum, summary.maximum) == (rows.min(), rows.max())
    assert summary.num_blocks == {1: 101, 200: 13, 2**26: 1}[block_bytes]


@pytest.mark.parametrize("block_bytes", [1, 200, 2**26])
def test_moments_of_images_are_global(tmp_path, grey, block_bytes):
    summary = _scan(tmp_path, grey, block_bytes)
    np.testing.assert_allclose(summary.mean, [grey.mean()])
    np.testing.assert_allclose(summary.sd, [grey.std()])
    assert (summary.minimum, summary.maximum) == (grey.min(), grey.max())


def test_moments_of_a_large_block_are_taken_in_pieces(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (3000, 30, 30), dtype=np.uint8)
    summary = _scan(tmp_path, rows, 2**26)
    np.testing.assert_allclose((*summary.mean, *summary.sd), (rows.mean(), rows.std()))


def test_classes_are_counted(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones((5, 2)), y=np.array([3, 1, 3, 3, 1]))
    assert scan(open_source(DataConfig(name="file", path=str(tmp_path / "a.npz"))), 16).class_counts == (2, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(50, 4), (50, 2, 2)])
def test_value_that_is_not_finite_is_named_by_row(tmp_path, value, shape):
    rows = np.zeros(shape, np.float32)
    rows[37].flat[2] = value
    rows[41] = np.nan
    with pytest.raises(DataError, match=rf"a\.npy, row 37: holds {value} \(value 2"):
        _scan(tmp_path, rows)


def test_values_too_large_are_refused(tmp_path):
    with pytest.raises(DataError, match="too large"):
        _scan(tmp_path, np.array([[1e300], [-1e300]]))


def test_vectors_scale_to_mean_0_and_sd_1(tmp_path):
    rows = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32) * 9 + 4
    rows[:, 1] = 0.1  # constant, and no float64 mean of it is exact
    offset, scale = scaling(_scan(tmp_path, rows))
    scaled = (rows - np.array(offset)) * np.array(scale)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0), [1, 0, 1], atol=1e-6)
    assert (offset[1], scale[1]) == (np.float32(0.1), 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_offsets_are_exact_in_the_datas_own_precision(tmp_path, dtype):
    rows = (np.random.default_rng(0).standard_normal((50, 2)) * 100 + 1.7e9).astype(dtype)
    rows[:, 1] = 1.7e9
    offset, scale = scaling(_scan(tmp_path, rows))
    assert offset == tuple(np.array(offset, dtype).tolist())
    assert offset[0] == pytest.approx(rows[:, 0].astype(np.float64).mean(), abs=1e-6 if dtype == "float64" else 64)
    assert (offset[1], scale[1]) == (1.7e9, 0)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16"])
def test_whole_numbers_are_centred_too(tmp_path, dtype):
    rows = (np.random.default_rng(0).uniform(size=(500, 3)) < [0.3, 0.5, 0.9]).astype(dtype)
    offset, scale = scaling(_scan(tmp_path, rows))
    np.testing.assert_allclose(((rows - np.array(offset)) * np.array(scale)).mean(0), 0, atol=1e-6)


def test_a_nearly_constant_column_is_none(tmp_path):
    rows = 1e6 + 1e-9 * np.arange(49.0)[:, None]
    offset, scale = scaling(_scan(tmp_path, rows))
    scaled = (rows - offset) * scale
    assert scaled.std() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 255], "uint8", (0, 1 / 255)),
        ([0, 7], "uint8", (0, 1 / 255)),
        ([0, 1], "bool", (0, 1)),
        ([0.2, 0.9], "float32", (0, 1)),
        ([-1, 1], "float32", (-1, 0.5)),
        ([5, 5], "float64", (5, 1)),
        ([0, 1000], "int64", (0, 1e-3)),
    ],
)
def test_images_scale_to_0_and_1(tmp_path, values, dtype, expected):
    rows = np.zeros((2, 2, 2), dtype)
    rows[0], rows[1] = values
    assert scaling(_scan(tmp_path, rows)) == ((expected[0],), (expected[1],))


@pytest.mark.parametrize(
    ("name", "scale"), [("digits", 1 / 16), ("synthetic-3", 0.1), ("synthetic-9", 0.1), ("ring", 1), ("grid", 0.25)]
)
def test_known_sets_bring_their_scale(name, scale):
    summary = scan(open_source(DataConfig(name=name, num_rows=100)), 2**20)
    assert scaling(summary) == ((0.0,), (scale,))


def test_description_is_short_and_says_what_matters(tmp_path):
    text = "\n".join(describe_lines(scan(open_source(DataConfig(name="digits")), 10_000)))
    for part in ("1,797 rows", "(1, 8, 8)", "uint8", "0 to 16", "10: 0 (178)", "0.0625", "blocks: 12"):
        assert part in text
    rows = np.random.default_rng(0).standard_normal((20, 300))
    rows[:, 7] = 1
    lines = describe_lines(_scan(tmp_path, rows))
    assert len(lines) <= 7
    assert "constant: 1 of 300 columns" in lines
    assert all(len(line) < 160 for line in lines)
