"""Log ratios and normalisers against densities and scipy in float64."""

import itertools

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from raymix.maths.assignment import normalised
from raymix.maths.log_ratio import log_ratio, log_sum_exp, normalisers


@pytest.mark.parametrize(("num_real", "num_fake"), [(1, 1), (300, 100), (7, 70)])
def test_log_ratio_of_the_optimal_logits_is_that_of_the_densities(num_real, num_fake):
    x = np.linspace(-4, 4, 41)
    log_data, log_k = norm.logpdf(x), norm.logpdf(x, loc=1, scale=0.5)
    real = num_real * np.exp(log_data)
    logits = np.log(real / (num_fake * np.exp(log_k)))  # of real / (real + fake), label 1 = real
    np.testing.assert_allclose(log_ratio(logits, num_real, num_fake), log_k - log_data, atol=1e-12)


def test_log_ratio_of_equal_weights_is_the_logit_with_its_sign_turned():
    logits = np.array([-1e4, -2.5, 0.0, 1e4], np.float32)
    ratios = log_ratio(logits)
    assert ratios.dtype == np.float32
    np.testing.assert_array_equal(ratios, -logits)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
@pytest.mark.parametrize("num", [1, 2, 5000])
def test_log_sum_exp_equals_scipys(num, scale):
    values = np.random.default_rng(0).normal(scale=scale, size=num).astype(np.float32)
    assert log_sum_exp(values) == pytest.approx(logsumexp(values.astype(np.float64)), rel=1e-13, abs=1e-13)


def test_log_sum_exp_of_small_terms_is_added_in_float64():
    values = np.concatenate([[0.0], np.full(100_000, -17.5)]).astype(np.float32)  # each is lost beside 1 in float32
    assert log_sum_exp(values) == pytest.approx(np.log1p(100_000 * np.exp(-17.5)), rel=1e-12)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], -np.inf), ([-np.inf, -np.inf], -np.inf), ([-np.inf, 3.0], 3.0), ([np.inf, 0.0], np.inf)],
)
def test_log_sum_exp_of_edges(values, expected):
    assert log_sum_exp(values) == expected


def test_log_sum_exp_of_nan_is_nan():
    assert np.isnan(log_sum_exp([0.0, np.nan]))


def test_normalisers_do_not_depend_on_the_cut_into_blocks():
    rng = np.random.default_rng(1)
    log_ratio_KN = rng.normal(scale=3000, size=(3, 100)).astype(np.float32)
    whole = normalisers(np.array([[log_sum_exp(values)] for values in log_ratio_KN]))
    cuts = [0, 1, 2, 40, 40, 100]  # single rows and an empty block
    parts = np.array([[log_sum_exp(values[a:b]) for a, b in itertools.pairwise(cuts)] for values in log_ratio_KN])
    np.testing.assert_allclose(normalisers(parts), whole, rtol=1e-14)
    np.testing.assert_allclose(whole, logsumexp(log_ratio_KN.astype(np.float64), axis=1), rtol=1e-14)


def test_normalised_log_ratios_sum_to_one_whatever_constant_was_added():
    log_ratio_N = np.random.default_rng(2).normal(size=200)
    for constant in (0.0, 1e4, -1e4):
        shifted = log_ratio_N + constant
        s = normalised(shifted, log_sum_exp(shifted))
        assert s.dtype == np.float64
        assert np.exp(s).sum() == pytest.approx(1, abs=1e-9)
        np.testing.assert_allclose(s, normalised(log_ratio_N, log_sum_exp(log_ratio_N)), atol=1e-9)
