"""Winners and controls against brute force over the whole matrix."""

import numpy as np
import pytest

from raymix.maths.assignment import control, dealt, from_classes, winners


def test_winners_are_those_of_the_whole_matrix():
    rng = np.random.default_rng(0)
    for _ in range(50):
        num_components = int(rng.integers(1, 8))
        log_ratio_Kn = rng.normal(scale=10.0 ** rng.integers(-2, 5), size=(num_components, 30)).astype(np.float32)
        log_z_K = rng.normal(scale=5, size=num_components)
        positions_n, best_n = winners(log_ratio_Kn, log_z_K)
        s_Kn = log_ratio_Kn.astype(np.float64) - log_z_K[:, None]
        np.testing.assert_array_equal(positions_n, s_Kn.argmax(0))
        np.testing.assert_array_equal(best_n, s_Kn.max(0))


def test_ties_go_to_the_lowest_component():
    log_ratio_Kn = np.array([[0, 1, -0.0, 5], [0, 2, 0.0, 5], [0, 2, 0.0, 6]], np.float32)
    assert winners(log_ratio_Kn, [0.0] * 3)[0].tolist() == [0, 1, 0, 2]


def test_logits_of_ten_thousand_are_ordered():
    log_ratio_Kn = np.array([[1e4, -1e4, 1e4, -1e4], [-1e4, 1e4, 9999.5, -9999.5]], np.float32)
    positions_n, best_n = winners(log_ratio_Kn, [0.0, 0.0])
    assert positions_n.tolist() == [0, 1, 0, 1]
    assert best_n.tolist() == [1e4, 1e4, 1e4, -9999.5]


def test_a_difference_below_float32_of_the_normalisers_decides():
    same = np.full(3, 1e4, np.float32)
    assert winners([same, same], [1e4 + 1e-9, 1e4])[0].tolist() == [1, 1, 1]


def test_normalisers_of_equal_log_ratios_decide():
    same = np.zeros(2, np.float32)
    assert winners([same, same, same], [0.5, -0.5, 0.0])[0].tolist() == [1, 1]


@pytest.mark.parametrize(("num_rows", "num_components"), [(10, 3), (9, 3), (2, 5), (1, 1)])
def test_dealt_shares_are_equal(num_rows, num_components):
    counts = np.bincount(dealt(num_rows, num_components, 0), minlength=num_components)
    assert counts.sum() == num_rows
    assert counts.max() - counts.min() <= 1


def test_dealt_rows_follow_the_seed():
    np.testing.assert_array_equal(dealt(100, 4, 7), dealt(100, 4, 7))
    assert (dealt(100, 4, 7) != dealt(100, 4, 8)).any()


@pytest.mark.parametrize("num_components", range(1, 11))
def test_neighbouring_classes_share_a_component_when_there_are_fewer(num_components):
    classes = np.arange(10)
    positions = from_classes(classes, 10, num_components, seed=0)
    assert sorted(set(positions.tolist())) == list(range(num_components))
    assert (np.diff(positions) >= 0).all()
    sizes = np.bincount(positions)
    assert sizes.max() - sizes.min() <= 1


def test_as_many_components_as_classes_are_the_classes():
    classes = np.random.default_rng(0).integers(0, 6, 50)
    np.testing.assert_array_equal(from_classes(classes, 6, 6, seed=0), classes)


@pytest.mark.parametrize("num_components", [4, 5, 7, 9])
def test_a_class_is_dealt_over_several_components_when_there_are_more(num_components):
    classes = np.repeat(np.arange(3), 600)
    positions = from_classes(classes, 3, num_components, seed=0)
    np.testing.assert_array_equal(positions % 3, classes)  # no component mixes classes
    own = [np.arange(c, num_components, 3) for c in range(3)]
    for c in range(3):
        counts = np.bincount(positions[classes == c], minlength=num_components)[own[c]]
        share = 1 / len(own[c])
        error = np.sqrt(600 * share * (1 - share))
        assert (np.abs(counts - 600 * share) <= 5 * error).all()


def test_control_bag_stays_and_random_changes_with_the_round():
    def positions(mode, round, block=0, seed=3):
        return control(mode, 60, None, 0, 4, seed, round, block)

    np.testing.assert_array_equal(positions("bag", 0), positions("bag", 5))
    assert (positions("random", 1) != positions("random", 2)).any()
    for mode in ("bag", "random"):
        assert (positions(mode, 1, block=0) != positions(mode, 1, block=1)).any()
        assert (positions(mode, 1, seed=3) != positions(mode, 1, seed=4)).any()
        assert np.bincount(positions(mode, 1)).tolist() == [15] * 4


def test_control_oracle_gives_the_classes_and_single_one_component():
    classes = np.array([2, 0, 1, 1])
    assert control("oracle", 4, classes, 3, 3, 0, 1, 0).tolist() == [2, 0, 1, 1]
    assert control("single", 4, None, 0, 1, 0, 1, 0).tolist() == [0] * 4
