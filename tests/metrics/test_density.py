import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity

from raymix.errors import ConfigError, DataError
from raymix.metrics.density import choose_bandwidth, kde_log_likelihood


def brute_force(generated_ND: np.ndarray, held_out_MD: np.ndarray, bandwidth: float) -> float:
    D = generated_ND.shape[1]
    squares_MN = ((held_out_MD[:, None] - generated_ND[None]) ** 2).sum(-1)
    log_kernel_MN = -squares_MN / (2 * bandwidth**2) - D / 2 * np.log(2 * np.pi * bandwidth**2)
    return float((logsumexp(log_kernel_MN, axis=1) - np.log(len(generated_ND))).mean())


@pytest.mark.parametrize("D", [1, 2, 9])
@pytest.mark.parametrize("bandwidth", [0.05, 0.3, 2.0])
def test_kde_equals_brute_force(D, bandwidth):
    rng = np.random.default_rng(D)
    generated_ND, held_out_MD = rng.normal(size=(200, D)), rng.normal(size=(70, D))
    expected = brute_force(generated_ND, held_out_MD, bandwidth)
    single = generated_ND.astype(np.float32)
    assert kde_log_likelihood(single, held_out_MD, bandwidth) == pytest.approx(expected, rel=1e-5)
    assert kde_log_likelihood(generated_ND, held_out_MD, bandwidth) == pytest.approx(expected, rel=1e-9)


def test_kde_equals_scikit_learn():
    rng = np.random.default_rng(0)
    generated_ND, held_out_MD = rng.normal(size=(500, 2)), rng.normal(size=(200, 2))
    theirs = KernelDensity(bandwidth=0.3).fit(generated_ND).score_samples(held_out_MD).mean()
    assert kde_log_likelihood(generated_ND, held_out_MD, 0.3) == pytest.approx(theirs, rel=1e-9)


def test_rows_far_from_all_generated_ones_keep_their_log_likelihood():
    rng = np.random.default_rng(0)
    generated_ND, far_MD = rng.normal(size=(2000, 2)), rng.normal(size=(50, 2)) + 20
    expected = brute_force(generated_ND, far_MD, 0.3)
    assert expected < -1000
    assert kde_log_likelihood(generated_ND, far_MD, 0.3) == pytest.approx(expected, rel=1e-9)


def test_chosen_bandwidth_is_the_best_for_the_held_out_half_even_when_rows_are_sorted():
    rng = np.random.default_rng(0)
    generated_ND = np.sort(rng.normal(size=(400, 1)), axis=0)
    bandwidths = [0.001, 0.01, 0.25, 5.0]
    best = max(bandwidths, key=lambda bandwidth: brute_force(generated_ND[::2], generated_ND[1::2], bandwidth))
    assert choose_bandwidth(generated_ND, bandwidths) == best == 0.25


def test_bad_input_is_refused():
    rows = np.zeros((4, 2))
    with pytest.raises(DataError, match="held-out rows: have 3 columns, the generated ones 2"):
        kde_log_likelihood(rows, np.zeros((4, 3)), 0.3)
    with pytest.raises(DataError, match="generated rows, row 1: holds a value that is not finite"):
        kde_log_likelihood(np.array([[0.0], [np.nan]]), rows[:, :1], 0.3)
    with pytest.raises(DataError, match="held-out rows: has 0 rows"):
        kde_log_likelihood(rows, rows[:0], 0.3)
    with pytest.raises(DataError, match="flat row per sample"):
        kde_log_likelihood(rows.reshape(2, 2, 2), rows, 0.3)
    with pytest.raises(ConfigError, match="bandwidth: must be positive, got 0"):
        kde_log_likelihood(rows, rows, 0)
    with pytest.raises(ConfigError, match="bandwidths: is empty"):
        choose_bandwidth(rows, [])
    with pytest.raises(DataError, match="give at least 2"):
        choose_bandwidth(rows[:1], [0.3])
