"""Modes of rows: noise is never parted, clear modes always, and nothing depends on more than the rows."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from raymix.maths.modality import (
    FLAT,
    UNIMODAL,
    between,
    look,
    modes,
    principal_axes,
    two_means,
    valley,
    valley_along,
)


def gaussian(seed, num, columns=2, sds=1.0):
    return np.random.default_rng(seed).standard_normal((num, columns)) * sds


def pair_of_modes(seed, num, distance, columns=2):
    rows = gaussian(seed, num, columns)
    rows[: num // 2, 0] += distance
    return np.random.default_rng(seed).permutation(rows)


def look_at_one(rows, least_share=0.1, is_image=False):
    return look(rows, np.zeros(len(rows), int), least_share, is_image)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("columns", "sds"), [(2, 1.0), (2, (10.0, 1.0)), (50, 1.0)])
@pytest.mark.parametrize("num", [300, 3000])
def test_one_gaussian_is_never_parted(num, columns, sds, seed):
    rows = gaussian(seed, num, columns, sds)
    found = look_at_one(rows)
    assert valley(rows) >= UNIMODAL and found.valley >= UNIMODAL
    assert found.cells is None and found.shares_C == (1.0,)
    assert len(list(modes(rows, least=1))) == 1


def test_noise_that_is_not_cross_validated_would_look_parted():
    rows = gaussian(0, 300, 50)
    assert valley_along(between(rows, two_means(rows))) < UNIMODAL < valley(rows)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("num", "columns"), [(300, 2), (3000, 2), (3000, 50)])
def test_two_clear_modes_are_found(num, columns, seed):
    rows = pair_of_modes(seed, num, 8.0, columns)
    found = look_at_one(rows)
    assert found.valley < 0.1
    assert found.shares_C == pytest.approx((0.5, 0.5), abs=0.01)
    first = found.cells.places(rows) == 0
    assert (first == (rows[:, 0] > 4)).mean() in (pytest.approx(1, abs=0.01), pytest.approx(0, abs=0.01))


def test_the_valley_between_two_gaussians_is_that_of_their_density():
    """By the windows' definition, from the distribution function, centres a little apart from the means."""
    distance, rows = 4.0, pair_of_modes(0, 400_000, 4.0)
    low, high = sorted(two_means(rows)[:, 0])

    def share(middle):
        ends = low + (high - low) * np.array([middle - 0.1, middle + 0.1])
        return np.diff(norm.cdf(ends) + norm.cdf(ends - distance))[0]

    expected = min(map(share, (0.3, 0.4, 0.5, 0.6, 0.7))) / max(map(share, (-0.2, -0.1, 0.0, 0.1, 0.2)))
    assert valley(rows) == pytest.approx(expected, abs=0.01)


def test_valleys_of_rows_at_two_or_no_places():
    assert valley(np.repeat([[0.0, 1.0], [5.0, 1.0]], 50, axis=0)) == 0.0
    assert valley(np.ones((100, 3))) == FLAT
    assert look_at_one(np.ones((100, 3))).cells is None
    assert look(np.ones((100, 3)), np.arange(100) % 2, 0.1, False).cells is None
    assert valley_along(np.array([0.5] * 10)) == FLAT  # no peaks


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("columns", [2, 5, 300])
def test_two_means_ends_where_lloyds_algorithm_does(columns, seed):
    rows = pair_of_modes(seed, 200, 5.0, columns)
    centres = two_means(rows)
    theirs = KMeans(2, init=centres, n_init=1, tol=0).fit(rows)
    np.testing.assert_allclose(centres, theirs.cluster_centers_, rtol=1e-10, atol=1e-10)
    best = KMeans(2, n_init=10, random_state=0).fit(rows)
    assert theirs.inertia_ <= best.inertia_ * 1.001


def test_two_means_ties_and_repeats():
    rows = pair_of_modes(0, 200, 5.0)
    np.testing.assert_array_equal(two_means(rows), two_means(rows.copy()))
    assert two_means(np.zeros((5, 2))) is None


@pytest.mark.parametrize(("num", "columns"), [(500, 20), (30, 100)])
def test_principal_axes_are_those_of_scikit_learn(num, columns):
    rows = gaussian(0, num, columns, np.linspace(1, 4, columns))
    axes = principal_axes(rows, 8)
    theirs = PCA(8, svd_solver="full").fit(rows).components_.T
    np.testing.assert_allclose(np.abs((axes * theirs).sum(0)), 1, rtol=1e-9)
    np.testing.assert_allclose(axes.T @ axes, np.eye(8), atol=1e-9)
    assert (axes[np.abs(axes).argmax(0), range(8)] > 0).all()


def test_many_modes_are_found_inside_each_other_the_largest_first():
    centres, sizes = np.array([[0, 0], [0, 30], [30, 0], [30, 30]]), [400, 1000, 700, 900]
    rows = np.repeat(centres, sizes, axis=0) + gaussian(0, 3000)
    found = look_at_one(np.random.default_rng(0).permutation(rows), least_share=0.05)
    assert found.shares_C == pytest.approx((1000 / 3000, 900 / 3000, 700 / 3000, 400 / 3000))
    np.testing.assert_allclose(found.cells.centres_CP, centres[[1, 3, 2, 0]], atol=0.3)


def test_a_mode_with_too_few_rows_is_none():
    rows = np.concatenate([gaussian(0, 950), gaussian(1, 50) + 20])
    rows = np.random.default_rng(0).permutation(rows)
    assert look_at_one(rows, least_share=0.06).cells is None
    assert look_at_one(rows, least_share=0.04).shares_C == (0.95, 0.05)


def test_images_are_looked_at_along_principal_axes():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 50, (600, 144)).astype(np.uint8)
    rows[::2, :72] += 100
    found = look_at_one(rows, is_image=True)
    assert found.valley < 0.1 and found.shares_C == (0.5, 0.5)
    assert found.cells.frame.axes_DP.shape == (144, 8) and found.cells.centres_CP.shape == (2, 8)
    places = found.cells.places(rows.astype(float))
    assert len(set(places[::2])) == len(set(places[1::2])) == 1 and places[0] != places[1]


def test_a_pair_gets_the_cell_of_which_each_has_most():
    rows = pair_of_modes(0, 1000, 10.0)
    right = (rows[:, 0] > 5).astype(int)
    for flip in (0, 1):
        owners = np.where(right, 7, 3) if not flip else np.where(right, 3, 7)
        wrong = np.flatnonzero(right)[:100]
        owners[wrong] = 3 + 7 - owners[wrong]
        found = look(rows, owners, 0.0, False)
        assert found.moved == pytest.approx(0.1) and found.valley < 0.1
        places = found.cells.places(rows)
        assert (np.array([3, 7])[places] != owners).sum() == 100


def test_cells_of_many_rows_are_those_of_each():
    found = look_at_one(pair_of_modes(0, 1000, 10.0))
    rows = gaussian(1, 10_000) * 20
    expected = ((rows[:, None] - found.cells.centres_CP) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(found.cells.places(rows), expected)
