"""Lemma 2: with centroids for generators the whole loop is k-means."""

import functools
from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import KMeans

from raymix.config import AssignConfig, BalanceConfig, Config, DataConfig, DiscriminatorConfig, ScheduleConfig
from raymix.families.centroid import CentroidConfig
from raymix.mixture import Mixture

QUICK_CASES, NUM_CASES = 6, 20


def kmeans_config(centres: np.ndarray, rounds: int) -> Config:
    return Config(
        num_components=len(centres),
        data=DataConfig(name="file", path="set by fit", offset=(0.0,), scale=(1.0,), block_bytes=4096),
        model=CentroidConfig(centres=tuple(map(tuple, centres.tolist()))),
        discriminator=DiscriminatorConfig(body="none"),
        schedule=ScheduleConfig(rounds=rounds, pretrain_epochs=0, report=False),
        assign=AssignConfig(normalise=False),
        balance=BalanceConfig(min_share=0),
    )


@functools.cache
def cases() -> list[tuple[np.ndarray, np.ndarray, KMeans]]:
    """Random rows and centres whose k-means never empties a cluster (scikit-learn would move it elsewhere)."""
    found = []
    for seed in range(10 * NUM_CASES):
        rng = np.random.default_rng(seed)
        num_components, columns = int(rng.integers(2, 9)), int(rng.integers(1, 6))
        spread = rng.normal(size=(num_components, columns)) * 3
        rows = spread[rng.integers(0, num_components, 400)] + rng.normal(size=(400, columns))
        centres = rows[rng.choice(len(rows), num_components, replace=False)]
        if not empties(rows, centres):
            reference = KMeans(num_components, init=centres, n_init=1, tol=0, algorithm="lloyd").fit(rows)
            found.append((rows, centres, reference))
        if len(found) == NUM_CASES:
            return found
    raise AssertionError("too few cases without an empty cluster")


def empties(rows: np.ndarray, centres: np.ndarray) -> bool:
    """Whether plain Lloyd iterations leave some cluster without rows."""
    previous = None
    while True:
        labels = ((rows[:, None] - centres) ** 2).sum(-1).argmin(1)
        if len(np.unique(labels)) < len(centres):
            return True
        if previous is not None and (labels == previous).all():
            return False
        previous, centres = labels, np.array([rows[labels == k].mean(0) for k in range(len(centres))])


@pytest.mark.parametrize(
    "case",
    [*range(QUICK_CASES), *(pytest.param(case, marks=pytest.mark.slow) for case in range(QUICK_CASES, NUM_CASES))],
)
def test_centroids_give_the_assignments_of_kmeans(case: int, tmp_path: Path) -> None:
    rows, centres, reference = cases()[case]
    mixture = Mixture(kmeans_config(centres, reference.n_iter_ + 1), out=tmp_path / "run").fit(rows)
    np.testing.assert_array_equal(mixture.labels_, reference.labels_)
    np.testing.assert_array_equal(mixture.predict(rows), reference.labels_)
    centres_found = np.stack([mixture.sample(1, component=k)[0][0] for k in range(len(centres))])
    np.testing.assert_allclose(centres_found, reference.cluster_centers_, rtol=0, atol=1e-12)
    assert mixture.record_.rows_moved == 0
