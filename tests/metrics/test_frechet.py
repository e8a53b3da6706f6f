import warnings

import numpy as np
import pytest
from pytorch_fid.fid_score import calculate_frechet_distance
from scipy import linalg

from raymix.errors import DataError
from raymix.metrics import frechet
from raymix.metrics.frechet import frechet_distance, statistics


def by_eigenvalues(mean1, cov1, mean2, cov2):
    """tr (cov1 cov2)^(1/2) as the nuclear norm of cov1^(1/2) cov2^(1/2): no complex numbers on the way."""

    def root(cov):
        values, vectors = np.linalg.eigh(cov)
        return (vectors * np.sqrt(values.clip(0))) @ vectors.T

    trace = np.linalg.svd(root(cov1) @ root(cov2), compute_uv=False).sum()
    return ((mean1 - mean2) ** 2).sum() + np.trace(cov1 + cov2) - 2 * trace


def features(seed: int, num_rows: int = 400, num_features: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_rows, num_features)) @ rng.normal(size=(num_features, num_features)) + rng.normal(
        size=num_features
    )


def test_distance_equals_an_independent_formula_and_is_symmetric():
    a, b = statistics(features(0)), statistics(features(1))
    result = frechet_distance(*a, *b)
    assert result.ridge == 0
    assert result.distance == pytest.approx(by_eigenvalues(*a, *b), rel=1e-10)
    assert frechet_distance(*b, *a).distance == pytest.approx(result.distance, rel=1e-10)


def by_symmetric_product(mean1, cov1, mean2, cov2):
    """tr (cov1 cov2)^(1/2) from the eigenvalues of root1 cov2 root1, in float64."""
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    trace = np.sqrt(np.linalg.eigvalsh(root @ cov2 @ root).clip(0)).sum()
    return ((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * trace


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("num_features", [2, 17, 64])
def test_distance_equals_float64_and_pytorch_fid_on_random_statistics(seed, num_features):
    a, b = (statistics(features(2 * seed + side, 3 * num_features, num_features)) for side in (0, 1))
    result = frechet_distance(*a, *b)
    assert result.ridge == 0
    assert result.distance == pytest.approx(by_symmetric_product(*a, *b), rel=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of an argument it gives to sqrtm
        assert result.distance == pytest.approx(calculate_frechet_distance(*a, *b), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rank", [1, 16, 32, 63])
def test_covariances_of_fewer_dimensions_give_the_right_number(seed, rank):
    """Dead features make them singular; the largest relative error was 4e-8."""
    rng = np.random.default_rng(seed)
    spread_F = np.exp(-np.arange(64) / 10)
    a, b = (statistics(rng.normal(size=(500, rank)) @ rng.normal(size=(rank, 64)) * spread_F) for _ in range(2))
    result = frechet_distance(*a, *b)
    assert result.ridge == 0
    assert result.distance == pytest.approx(by_eigenvalues(*a, *b), rel=1e-6)


def test_distance_between_gaussians_along_the_axes_has_a_closed_form():
    sd1, sd2, shift = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 0.5]), np.array([0.0, 1.0, 2.0])
    result = frechet_distance(np.zeros(3), np.diag(sd1**2), shift, np.diag(sd2**2))
    assert result.distance == pytest.approx((shift**2).sum() + ((sd1 - sd2) ** 2).sum())


def test_distance_of_equal_features_is_zero():
    same = statistics(features(3))
    assert frechet_distance(*same, *same).distance == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("rank", [0, 1, 6])
def test_features_that_never_vary_or_depend_on_each_other_are_harmless(rank):
    rng = np.random.default_rng(0)
    a, b = (
        statistics(rng.normal(size=(300, rank)) @ rng.normal(size=(rank, 12)) + rng.normal(size=12)) for _ in range(2)
    )
    result = frechet_distance(*a, *b)
    scale = np.trace(a[1] + b[1])
    assert result.distance == pytest.approx(by_eigenvalues(*a, *b), abs=1e-5 * scale + 1e-12)


def test_a_root_that_is_not_finite_gets_a_ridge_that_is_reported():
    cov1 = np.diag([1.0, 0.0])
    cov2 = np.array([[0.0, 1e-170], [1e-170, 1.0]])  # the product is nilpotent in float64: it has no root
    result = frechet_distance(np.zeros(2), cov1, np.zeros(2), cov2)
    assert result.ridge == pytest.approx(1e-6 * 0.5)
    assert result.distance == pytest.approx(2, abs=5e-3)


def test_a_complex_root_gets_a_ridge_that_is_reported():
    cov = np.diag([1.0, -1e-8])  # a covariance whose smallest eigenvalue rounding has made negative
    result = frechet_distance(np.zeros(2), cov, np.zeros(2), np.eye(2))
    assert result.ridge > 0
    assert result.distance == pytest.approx(1, abs=5e-3)


def test_a_matrix_that_is_no_covariance_is_refused():
    with pytest.raises(DataError, match="no real root, even with a ridge"):
        frechet_distance(np.zeros(2), np.diag([1.0, -1.0]), np.zeros(2), np.eye(2))


def test_scipy_is_asked_once_when_the_plain_root_is_sound(monkeypatch):
    calls = []
    monkeypatch.setattr(frechet, "sqrtm", lambda product: calls.append(1) or linalg.sqrtm(product))
    frechet_distance(*statistics(features(0)), *statistics(features(1)))
    assert len(calls) == 1


def test_statistics_are_those_of_float64():
    wide = features(5).astype(np.float32) + 1000
    mean_D, cov_DD = statistics(wide)
    assert mean_D.dtype == cov_DD.dtype == np.float64
    np.testing.assert_allclose(cov_DD, np.cov(wide.astype(np.float64).T), rtol=1e-12)
    assert statistics(features(5, num_features=1))[1].shape == (1, 1)


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="features: 11 rows are fewer than 12 dimensions"):
        statistics(features(0, num_rows=11))
    with pytest.raises(DataError, match="not finite"):
        statistics(np.array([[0.0], [np.nan]]))
    a, b = statistics(features(0)), statistics(features(1, num_features=8))
    with pytest.raises(DataError, match="do not match"):
        frechet_distance(*a, *b)
    with pytest.raises(DataError, match="not finite"):
        frechet_distance(a[0], a[1] * np.nan, *a)
