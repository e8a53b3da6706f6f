import math

import numpy as np
import pytest

from raymix.errors import DataError
from raymix.metrics.stacked import mode_numbers, sampling_floor, stacked_modes


def test_captured_modes_and_kl_equal_brute_force():
    rng = np.random.default_rng(0)
    modes = rng.integers(0, 40, 500) ** 2 % 60
    share = rng.random(60) + 0.1
    share /= share.sum()
    kl = 0.0
    for mode in set(modes.tolist()):
        q = sum(int(m == mode) for m in modes) / 500
        kl += q * math.log(q / share[mode])
    found = stacked_modes(modes, 60, share)
    assert found.captured == len(set(modes.tolist())) < 60
    assert found.kl_nats == pytest.approx(kl, rel=1e-12)
    assert (found.num_modes, found.num_samples) == (60, 500)


def test_one_sample_of_each_mode_has_no_kl_and_one_mode_alone_has_the_log_of_their_number():
    assert stacked_modes(np.arange(1000)) == (1000, pytest.approx(0, abs=1e-12), 0.4995, 1000, 1000)
    assert stacked_modes(np.full(50, 7)).kl_nats == pytest.approx(math.log(1000))


def test_floor_is_the_mean_kl_of_the_data_itself():
    rng = np.random.default_rng(0)
    kls = [stacked_modes(rng.integers(0, 1000, 26_000)).kl_nats for _ in range(50)]
    floor = sampling_floor(1000, 26_000)
    standard_error = np.std(kls) / math.sqrt(50)
    second_order = 1000**2 / (12 * 26_000**2)  # the next term of the expansion, for equal shares
    assert abs(np.mean(kls) - floor) < 4 * standard_error + second_order
    assert stacked_modes(rng.integers(0, 1000, 26_000)).floor_nats == floor


def test_modes_without_data_do_not_raise_the_floor():
    share = np.array([0.5, 0.5, 0.0, 0.0])
    assert stacked_modes(np.array([0, 1, 1]), 4, share).floor_nats == pytest.approx(1 / 6)


def test_mode_numbers_spell_the_digits():
    np.testing.assert_array_equal(mode_numbers(np.array([[0, 0, 7], [9, 9, 9], [1, 2, 3]], np.uint8)), [7, 999, 123])
    every = np.stack(np.meshgrid(*[np.arange(10)] * 3, indexing="ij"), -1).reshape(-1, 3)
    np.testing.assert_array_equal(mode_numbers(every), np.arange(1000))


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="modes of samples, row 1: mode 1000; give 0 to 999"):
        stacked_modes(np.array([0, 1000]))
    with pytest.raises(DataError, match="give one mode per sample"):
        stacked_modes(np.array([], int))
    with pytest.raises(DataError, match="mode 1 has samples and no data; the KL would be infinite"):
        stacked_modes(np.array([0, 1]), 2, np.array([1.0, 0.0]))
    with pytest.raises(DataError, match="are no 3 shares"):
        stacked_modes(np.array([0, 1]), 3, np.array([1.0, 0.0]))
    with pytest.raises(DataError, match="reach beyond 0 to 9"):
        mode_numbers(np.array([[1, 10, 2]]))
