"""Held-out rows: a partition by seed that any range can be read from."""

import numpy as np
import pytest

from raymix.config import DataConfig
from raymix.data.holdout import held_rows
from raymix.data.open import open_source, open_test_source
from raymix.data.source import block_bounds
from raymix.errors import DataError


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("num_rows", [20, 97, 1797])
def test_the_two_parts_are_a_partition(share: float, num_rows: int) -> None:
    whole = open_source(DataConfig(name="digits", num_rows=num_rows))
    train, held = held_rows(whole, share, seed=3)
    numbers = [rows.numbers(0, rows.spec.num_rows) for rows in (train, held)]
    assert sorted(np.concatenate(numbers).tolist()) == list(range(num_rows))
    assert all((np.diff(each) > 0).all() for each in numbers)
    assert len(numbers[1]) == int(num_rows * share)


def test_a_range_holds_the_rows_and_labels_of_its_numbers() -> None:
    config = DataConfig(name="digits")
    whole = open_source(config).read(0, 1797)
    for rows in held_rows(open_source(config), 0.2, seed=0):
        found = [rows.read(start, stop) for start, stop in block_bounds(rows.spec, 100 * 64)]
        numbers = rows.numbers(0, rows.spec.num_rows)
        np.testing.assert_array_equal(np.concatenate([block.rows for block in found]), whole.rows[numbers])
        np.testing.assert_array_equal(np.concatenate([block.labels for block in found]), whole.labels[numbers])
        assert rows.where(5) == open_source(config).where(int(numbers[5]))
        assert len(rows.read(4, 4).rows) == 0


def test_places_are_drawn_by_the_seed_and_even() -> None:
    whole = open_source(DataConfig(name="synthetic-5", num_rows=16_000))
    first, again, other = (held_rows(whole, 0.1, seed)[1].numbers(0, 1600) % 10 for seed in (0, 0, 1))
    assert (first == again).all()
    counts = np.bincount(first, minlength=10)
    assert np.abs(counts - 160).max() < 5 * np.sqrt(160 * 0.9)
    assert (first == other).mean() == pytest.approx(0.1, abs=5 * np.sqrt(0.09 / 1600))


def test_a_config_opens_either_part() -> None:
    config = DataConfig(name="digits", holdout=0.1)
    train, held = open_source(config), open_test_source(config)
    assert (train.spec.num_rows, held.spec.num_rows) == (1797 - 179, 179)
    assert open_test_source(DataConfig(name="digits")) is None


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="5 rows are too few to hold one out of 10"):
        _ = open_source(DataConfig(name="digits", num_rows=5, holdout=0.1)).spec
