"""The cells that a partition begins with, against scikit-learn on all rows in one place."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from raymix.config import Config, DataConfig, ScheduleConfig
from raymix.maths import centroids
from raymix.maths.centroids import Centroids, Draw, Fit, Place, Scaling
from raymix.maths.modality import Frame

SIZES = [40, 1, 59]


@pytest.fixture
def blobs_ND():
    """Three clusters of 100 rows, (N, 5), in random order."""
    rng = np.random.default_rng(0)
    return (rng.integers(0, 3, 100)[:, None] * 10 + rng.normal(size=(100, 5))).astype(np.float32)


def cut(array_N, sizes=SIZES):
    return np.split(array_N, np.cumsum(sizes)[:-1])


@pytest.mark.parametrize(("sizes", "most"), [([5, 3, 2], 20), ([5, 3, 2], 10), ([50, 30, 20], 10), ([1] * 9, 4)])
def test_rows_are_drawn_evenly_from_all_blocks(sizes, most):
    shares = centroids.shares(sizes, most)
    assert sum(shares) == min(most, sum(sizes))
    for share, size in zip(shares, sizes, strict=True):
        assert 0 <= share <= size
        assert abs(share - size * min(1, most / sum(sizes))) < 1


def test_drawn_rows_are_scaled_rows_of_the_block():
    rows_n = np.arange(20_000, dtype=np.uint8).reshape(10_000, 2)
    scaling = Scaling((1.0,), (0.5,))
    drawn, _ = centroids.draw(Draw(5_000, 1, scaling), rows_n)
    assert drawn.shape == (5_000, 2)
    assert drawn.dtype == np.float32
    whole, _ = centroids.draw(Draw(10_000, 1, scaling), rows_n)
    np.testing.assert_array_equal(whole, (rows_n.astype(float) - 1) * 0.5)
    other, _ = centroids.draw(Draw(5_000, 2, scaling), rows_n)
    assert not np.array_equal(drawn, other)


def test_values_far_from_zero_keep_their_differences():
    rows_n = 1.7e9 + np.random.default_rng(0).normal(size=(50, 3))
    drawn, _ = centroids.draw(Draw(50, 0, Scaling((1.7e9,), (1.0,))), rows_n)
    np.testing.assert_allclose(drawn, rows_n - 1.7e9, rtol=1e-5, atol=1e-6)


def test_axes_are_the_principal_components_of_all_blocks(blobs_ND):
    _, frame = centroids.axes(Fit(3, 7), *cut(blobs_ND))
    exact = PCA(3, svd_solver="full").fit(blobs_ND)
    np.testing.assert_allclose(frame.mean_D, blobs_ND.mean(0), rtol=1e-5)
    np.testing.assert_allclose(np.abs(frame.axes_DP.T @ exact.components_.T), np.eye(3), atol=2e-2)


def test_rows_go_to_the_nearest_centre(blobs_ND):
    rng = np.random.default_rng(1)
    centres_KP, rows_nD = rng.normal(size=(7, 5)) + 1e4, rng.normal(size=(9_000, 5)) + 1e4
    distances = ((rows_nD[:, None] - centres_KP) ** 2).sum(2)
    cells_n, log_density_n = Place(Centroids(tuple(range(7)), centres_KP, None), Scaling()).of(rows_nD)
    np.testing.assert_array_equal(cells_n, distances.argmin(1))
    np.testing.assert_allclose(log_density_n, -distances.min(1) / 2, rtol=1e-6)
    frame = Frame(rows_nD.mean(0), np.linalg.qr(rng.normal(size=(5, 2)))[0])
    projected = frame.projected(rows_nD)
    cells_n, _ = Place(Centroids((0, 1, 2, 3), projected[:4], frame), Scaling()).of(rows_nD)
    np.testing.assert_array_equal(cells_n, ((projected[:, None] - projected[:4]) ** 2).sum(2).argmin(1))


def test_centres_of_who_is_gone_are_left_out():
    found = Centroids((2, 5, 9), np.array([[0.0], [1.0], [2.0]]), None).only((1, 2, 9))
    assert found.components == (2, 9)
    assert found.nearest(np.array([[1.1]]))[0].tolist() == [1]


def test_equally_near_centres_give_the_first():
    cells_n, _ = Centroids((0, 1), np.array([[1.0], [-1.0]]), None).nearest(np.array([[0.0], [-2.0], [2.0]]))
    assert cells_n.tolist() == [0, 1, 0]


@pytest.mark.parametrize("images", [False, True])
def test_rows_begin_in_the_clusters_that_there_are(own, images):
    """Images differ in more values than principal components are looked at."""
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 100)
    shape = (1, 16, 16) if images else (5,)
    rows_N = (rng.normal(size=(3, *shape))[truth] * 9 + rng.normal(size=(100, *shape))).astype(np.float32)
    data = DataConfig(offset=(0.0,), scale=(1.0,))
    owned = own(SIZES, cut(rows_N), data=data, num_components=3, mode="centroids")
    outcome = owned.begin((0, 1, 2))
    found = np.concatenate([assigned.winners for assigned in owned.assigned_B])
    assert outcome.won_K.tolist() == np.bincount(found).tolist()
    table = np.zeros((3, 3))
    np.add.at(table, (truth, found), 1)
    assert ((table > 0).sum(0) == 1).all()
    assert owned.centroids.centres_KP.shape == (3, 50 if images else 5)


def test_the_seed_decides_and_blocks_do_not_when_every_row_is_seen(own):
    rows_N = np.random.default_rng(3).normal(size=(100, 4)).astype(np.float32)
    begun = []
    for seed, sizes in ((0, SIZES), (0, SIZES), (0, [100]), (1, SIZES)):
        owned = own(
            sizes, cut(rows_N, sizes), data=DataConfig(offset=(0.0,), scale=(1.0,)), num_components=5, seed=seed
        )
        owned.begin(tuple(range(5)))
        begun.append(np.concatenate([assigned.winners for assigned in owned.assigned_B]).tolist())
    assert begun[0] == begun[1] == begun[2]
    assert begun[0] != begun[3]


def test_features_part_the_rows_whatever_these_are(own):
    features_N = np.repeat([[0.0], [5.0]], 50, 0)
    rows_B = [np.random.default_rng(4).normal(size=(size, 2)) for size in SIZES]
    by_features = {"data": DataConfig(features="f.npy"), "schedule": ScheduleConfig(begin="features")}
    owned = own(SIZES, rows_B, num_components=2, **by_features)
    owned.begin((3, 8), cut(features_N))
    found = np.concatenate([assigned.winners for assigned in owned.assigned_B])
    assert set(found[:50].tolist()) != set(found[50:].tolist())
    assert set(found.tolist()) == {3, 8}


def test_scaling_is_the_configs_but_for_features():
    known = {"offset": (1.0,), "scale": (2.0,)}
    assert Scaling.of(Config(data=DataConfig(**known))) == Scaling((1.0,), (2.0,))
    by_features = Config(data=DataConfig(**known, features="f.npy"), schedule=ScheduleConfig(begin="features"))
    assert Scaling.of(by_features) == Scaling()
