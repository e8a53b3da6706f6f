"""Runs that begin with cells: by k-means on rows, and by features that somebody else computed."""

import pickle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from raymix import Mixture
from raymix.cli import main
from raymix.config import Config
from raymix.errors import ConfigError, DataError
from raymix.recipes.resolve import resolve

SHORT = {
    "schedule.rounds": 1,
    "schedule.pretrain_epochs": 1,
    "schedule.epochs_per_round": 1,
    "schedule.report": False,
    "num_components": 3,
    "model.encoder": (8,),
    "model.decoder": (8,),
    "discriminator.widths": (8,),
}


@pytest.fixture
def embedded(tmp_path: Path):
    """Rows without structure, and features of three clusters in one file."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 90)
    features = np.eye(3)[truth] * 9 + rng.normal(size=(90, 3))
    path = tmp_path / "features.npy"
    np.save(path, features.astype(np.float32))
    return rng.normal(size=(90, 4)).astype(np.float32), features.astype(np.float32), truth, str(path)


def same_partition(left, right):
    return len(set(zip(left, right, strict=True))) == len(set(left)) == len(set(right))


def test_the_control_centroids_keeps_the_cells_of_features(embedded):
    rows, features, truth, path = embedded
    begin = {"schedule.begin": "features", "data.features": path}
    mixture = Mixture(mode="centroids", overrides=SHORT | begin).fit(rows)
    assert same_partition(mixture.labels_, truth)
    found, log_density = mixture.assign(rows[:40], features[:40])
    assert found.tolist() == mixture.labels_[:40].tolist()
    centres = np.stack([features[mixture.labels_ == k].mean(0) for k in range(3)])
    nearest = ((features[:40, None] - centres) ** 2).sum(2).min(1)
    np.testing.assert_allclose(log_density, -nearest / 2, rtol=1e-3)
    with pytest.raises(ConfigError, match="features: are missing"):
        mixture.predict(rows)
    with pytest.raises(DataError, match="the features: have shape"):
        mixture.predict(rows, features[:, :2])
    with pytest.raises(DataError, match="row 3 of the features: holds a value that is not finite"):
        mixture.predict(rows, np.where(np.arange(90)[:, None] == 3, np.nan, features))
    np.testing.assert_array_equal(mixture.score_samples(rows[:40], features[:40]), log_density)
    copied = pickle.loads(pickle.dumps(mixture))
    assert copied.predict(rows, features).tolist() == mixture.labels_.tolist()


def test_the_control_centroids_gives_new_rows_to_the_nearest_centre(tmp_path: Path):
    rng = np.random.default_rng(1)
    rows = (rng.normal(size=(3, 4))[rng.integers(0, 3, 90)] * 9 + rng.normal(size=(90, 4))).astype(np.float32)
    mixture = Mixture(mode="centroids", overrides=SHORT, out=tmp_path / "run").fit(rows)
    assert mixture.predict(rows).tolist() == mixture.labels_.tolist()
    with pytest.raises(ConfigError, match="features: are given"):
        mixture.predict(rows, rows)
    np.save(tmp_path / "new.npy", rows)
    assert main(["assign", str(tmp_path / "run"), str(tmp_path / "new.npy"), "--out", str(tmp_path / "a.parquet")]) == 0
    assert pq.read_table(tmp_path / "a.parquet")["component"].to_pylist() == mixture.labels_.tolist()


def test_features_of_new_rows_come_from_a_file(embedded, tmp_path: Path):
    rows, _, _, path = embedded
    begin = {"schedule.begin": "features", "data.features": path}
    mixture = Mixture(mode="centroids", overrides=SHORT | begin, out=tmp_path / "run").fit(rows)
    np.save(tmp_path / "new.npy", rows)
    words = ["assign", str(tmp_path / "run"), str(tmp_path / "new.npy"), "--out", str(tmp_path / "a.parquet")]
    assert main(words) == 2
    assert main([*words, "--features", path]) == 0
    assert pq.read_table(tmp_path / "a.parquet")["component"].to_pylist() == mixture.labels_.tolist()


def test_competition_goes_on_from_cells_and_predicts_without_features(embedded):
    rows, features, _, path = embedded
    begin = {"schedule.begin": "features", "data.features": path}
    mixture = Mixture(overrides=SHORT | begin).fit(rows)
    assert mixture.record_.rows_moved < len(rows)
    assert len(mixture.predict(rows)) == len(rows)
    with pytest.raises(ConfigError, match="features"):
        mixture.predict(rows, features)


def test_a_missing_file_of_features_is_named(embedded, tmp_path: Path, capsys):
    np.save(tmp_path / "rows.npy", embedded[0])
    words = ["train", "--data", str(tmp_path / "rows.npy"), "--schedule.begin", "features", "--workers", "local"]
    assert main([*words, "--data.features", str(tmp_path / "none.npy"), "--out", str(tmp_path / "run")]) == 2
    assert "none.npy: does not exist; check the file of features" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "schedule.begin features needs data.features" in told and "'compete'" not in told


@pytest.mark.parametrize("num", [89, 91])
def test_features_of_other_rows_are_refused(embedded, tmp_path: Path, num: int):
    rows, _, _, path = embedded
    np.save(tmp_path / "rows.npy", rows)
    np.save(path, np.zeros((num, 2), np.float32))
    data = {"name": "file", "path": str(tmp_path / "rows.npy"), "features": path}
    with pytest.raises(DataError, match=f"has {num} rows of features for the 90 rows"):
        resolve(Config(data=data, schedule={"begin": "features"}, num_components=3))


def test_features_that_are_not_finite_are_refused(embedded, tmp_path: Path):
    rows, features, _, path = embedded
    np.save(tmp_path / "rows.npy", rows)
    features[7, 1] = np.nan
    np.save(path, features)
    data = {"name": "file", "path": str(tmp_path / "rows.npy"), "features": path}
    with pytest.raises(DataError, match="row 7"):
        resolve(Config(data=data, schedule={"begin": "features"}, num_components=3))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"schedule": {"begin": "features"}}, "schedule.begin features needs data.features"),
        ({"schedule": {"adapt": True}, "assign": {"margin": 1.0}}, "schedule.adapt needs assign.margin 0"),
        ({"schedule": {"pretrain_on": "one"}}, "needs schedule.begin centroids or features"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        Config(**settings)


def test_generators_that_judge_by_their_bounds_predict_what_they_own():
    rng = np.random.default_rng(5)
    rows = (rng.normal(size=(3, 4))[rng.integers(0, 3, 300)] * 9 + rng.normal(size=(300, 4))).astype(np.float32)
    bounds = {"discriminator.body": "none", "assign.normalise": False, "balance.min_share": 0.0}
    longer = SHORT | {"schedule.pretrain_epochs": 20, "schedule.epochs_per_round": 20, "schedule.begin": "centroids"}
    mixture = Mixture(overrides=longer | bounds).fit(rows)
    assert mixture.predict(rows).tolist() == mixture.labels_.tolist()
    assert np.isfinite(mixture.score_samples(rows)).all()
