import numpy as np
import pytest

from raymix.errors import DataError
from raymix.metrics.precision_recall import precision_recall, radii


def distances(a_ND, b_MD):
    return np.sqrt(((a_ND[:, None] - b_MD[None]) ** 2).sum(-1))


def share_on_manifold(points_ND, of_MD, k):
    """Directly from the definition: within the k-th smallest distance of some point to the others of its set."""
    radius_M = np.sort(distances(of_MD, of_MD) + np.diag(np.full(len(of_MD), np.inf)), axis=1)[:, k - 1]
    return np.mean([(np.sqrt(((point - of_MD) ** 2).sum(1)) <= radius_M).any() for point in points_ND])


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("columns", [1, 7])
def test_both_equal_brute_force(k, columns):
    rng = np.random.default_rng(k)
    data_ND = rng.normal(size=(150, columns)) + 1000
    samples_MD = rng.normal(size=(90, columns)) * 0.7 + 1000.4
    found = precision_recall(data_ND, samples_MD, k)
    assert found.precision == share_on_manifold(samples_MD, data_ND, k)
    assert found.recall == share_on_manifold(data_ND, samples_MD, k)
    assert found.k == k
    assert 0 < found.recall < 1
    assert precision_recall(samples_MD, data_ND, k) == (found.recall, found.precision, k)


def test_chunks_give_what_one_piece_gives(monkeypatch):
    import sklearn

    rng = np.random.default_rng(0)
    data_ND, samples_MD = rng.normal(size=(2000, 3)), rng.normal(size=(1500, 3)) + 1
    whole = precision_recall(data_ND, samples_MD)
    with sklearn.config_context(working_memory=0.1):  # MiB: 6 samples at a time
        assert precision_recall(data_ND, samples_MD) == whole


def test_a_collapsed_generator_is_precise_and_covers_nothing():
    rng = np.random.default_rng(0)
    data_ND = rng.normal(size=(300, 4))
    collapsed_MD = np.repeat(data_ND[:1], 100, axis=0)
    assert precision_recall(data_ND, collapsed_MD) == (1.0, 1 / 300, 3)
    far_MD = rng.normal(size=(100, 4)) + 50
    assert precision_recall(data_ND, far_MD) == (0.0, 0.0, 3)


def test_rows_that_repeat_are_on_their_own_manifold():
    """Their balls have no width; rounding must not move a copy out of it."""
    rng = np.random.default_rng(1)
    few_ND = rng.normal(size=(20, 64)).astype(np.float32) * 30
    data_ND = np.repeat(few_ND, 5, axis=0)
    assert precision_recall(data_ND, few_ND[:7]).precision == 1.0


def test_radius_is_the_distance_to_the_kth_other_row():
    np.testing.assert_allclose(radii(np.array([[0.0], [1.0], [3.0], [7.0]]), 2), [3, 2, 3, 6])


def test_bad_input_is_refused():
    rows = np.random.default_rng(0).normal(size=(9, 2))
    with pytest.raises(DataError, match="features of the data: has 3 rows; give at least 4"):
        precision_recall(rows[:3], rows)
    with pytest.raises(DataError, match="samples: have 1 columns, those of the data 2"):
        precision_recall(rows, rows[:, :1])
    with pytest.raises(DataError, match="features of the samples, row 2: holds a value that is not finite"):
        precision_recall(rows, np.where(np.arange(9)[:, None] == 2, np.nan, rows))
