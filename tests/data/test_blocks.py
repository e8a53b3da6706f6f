"""Blocks are read as they were looked over, or refused."""

from dataclasses import replace

import numpy as np
import pytest

from raymix.config import DataConfig
from raymix.data.blocks import read_blocks
from raymix.data.open import open_source
from raymix.errors import DataError


def opened(path, array, **settings):
    """The config and spec of rows in a file."""
    np.save(path, array)
    config = DataConfig(name="file", path=str(path), **settings)
    return config, open_source(config).spec


def test_blocks_are_the_rows_of_their_ranges(tmp_path):
    rows = np.arange(20, dtype=np.float32).reshape(10, 2)
    labels = tmp_path / "labels.npy"
    np.save(labels, np.arange(10) % 3)
    config, spec = opened(tmp_path / "rows.npy", rows, labels=str(labels))
    first, second = read_blocks(config, spec, [(0, 4), (7, 10)])
    np.testing.assert_array_equal(first.rows, rows[:4])
    np.testing.assert_array_equal(second.rows, rows[7:])
    assert second.labels.tolist() == [1, 2, 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("value", "name"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_a_value_that_is_not_finite_is_named(value, name, dtype, tmp_path):
    rows = np.zeros((10, 12), dtype)
    rows[6, 11] = value
    config, spec = opened(tmp_path / "rows.npy", rows)
    (block,) = read_blocks(config, spec, [(0, 6)])  # other blocks are sound
    assert len(block.rows) == 6
    with pytest.raises(
        DataError, match=rf"rows.npy, row 6: holds {name} \(value 11 of the row\); mend or drop the row"
    ):
        list(read_blocks(config, spec, [(0, 6), (6, 10)]))


def test_integers_are_always_finite(tmp_path):
    config, spec = opened(tmp_path / "rows.npy", np.full((3, 8, 8), 255, np.uint8))
    assert len(list(read_blocks(config, spec, [(0, 3)]))) == 1


def test_a_set_that_changed_is_refused_and_one_that_was_renamed_is_not(tmp_path):
    config, spec = opened(tmp_path / "rows.npy", np.zeros((10, 2), np.float32))
    assert len(list(read_blocks(config, replace(spec, name="file:old.npy"), [(0, 10)]))) == 1
    for change in ({"num_rows": 9}, {"row_shape": (3,)}, {"dtype": "float64"}, {"classes": ("a",)}):
        with pytest.raises(DataError, match=r"rows.npy: has changed since the run began, from .* to 10 rows"):
            list(read_blocks(config, replace(spec, **change), [(0, 9)]))
