import numpy as np
import pytest

from raymix.errors import DataError
from raymix.metrics.modes import mode_coverage

CENTRES = np.array([[-15.0, 0.0], [0.0, 0.0], [15.0, 8.0]])
SDS = np.array([[0.4, 0.4], [4.0, 0.4], [0.4, 0.4]])


def test_the_true_distribution_captures_all_and_has_its_known_share():
    rng = np.random.default_rng(0)
    modes = rng.integers(0, 3, 40_000)
    rows = CENTRES[modes] + SDS[modes] * rng.normal(size=(40_000, 2))
    coverage = mode_coverage(rows, CENTRES, SDS)
    share = 1 - np.exp(-4.5)  # chi-squared of two dimensions at 3 ** 2
    standard_error = np.sqrt(share * (1 - share) / len(rows))
    assert (coverage.captured, coverage.num_modes) == (3, 3)
    assert abs(coverage.high_quality_share - share) < 4 * standard_error


def test_distance_is_in_the_modes_own_sds_and_the_radius_belongs_to_it():
    rows = np.array([[11.6, 0.0], [0.0, 1.3], [15.0, 9.19], [15.0, 9.21]])  # 2.9, 3.25, 2.975 and 3.025 sds away
    assert mode_coverage(rows, CENTRES, SDS) == (2, 0.5, 3)
    assert mode_coverage(rows, CENTRES, SDS, radius=2.95) == (1, 0.25, 3)
    assert mode_coverage(np.array([[12.0, 0.0]]), CENTRES, SDS) == (1, 1.0, 3)  # the rim belongs to the mode


def test_a_mode_needs_the_asked_number_of_samples():
    rows = np.repeat(CENTRES, [1, 2, 3], axis=0)
    assert [mode_coverage(rows, CENTRES, SDS, least=least).captured for least in (1, 2, 3, 4)] == [3, 2, 1, 0]


def test_a_sample_between_overlapping_modes_counts_for_the_nearest_alone():
    centres, sds = np.array([[0.0], [1.0]]), np.ones((2, 1))
    assert mode_coverage(np.array([[0.4]]), centres, sds).captured == 1
    assert mode_coverage(np.array([[0.4], [0.6]]), centres, sds).captured == 2


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="do not match"):
        mode_coverage(np.zeros((2, 3)), CENTRES, SDS)
    with pytest.raises(DataError, match="do not match"):
        mode_coverage(np.zeros((2, 2)), CENTRES, SDS[:2])
    with pytest.raises(DataError, match="not positive"):
        mode_coverage(np.zeros((2, 2)), CENTRES, SDS * 0)
    with pytest.raises(DataError, match="samples, row 1: holds a value that is not finite"):
        mode_coverage(np.array([[0, 0], [np.inf, 0]]), CENTRES, SDS)
