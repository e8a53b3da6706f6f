"""The public object, as a scikit-learn user would use it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

import raymix
from raymix.errors import CheckpointError, ConfigError, DataError

QUICK = {
    "schedule.rounds": 2,
    "schedule.pretrain_epochs": 10,
    "schedule.epochs_per_round": 10,
    "discriminator.epochs": 1,
    "schedule.report": False,
}
PACKED = {"resources.pack": 3, "resources.fused": True}
"""Where two mixtures are compared (rounding depends on what trains together), or nothing depends on it."""


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return load_digits().images.astype(np.float32)


@pytest.fixture(scope="module")
def fitted(images: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> raymix.Mixture:
    out = tmp_path_factory.mktemp("mixture") / "run"
    return raymix.Mixture("digits", num_components=3, out=out, overrides=QUICK).fit(images)


def test_fit_gives_weights_and_labels(fitted: raymix.Mixture, images: np.ndarray) -> None:
    assert fitted.weights_.shape == (3,)
    assert fitted.weights_.sum() == pytest.approx(1)
    np.testing.assert_allclose(np.bincount(fitted.labels_, minlength=3) / len(images), fitted.weights_)
    assert fitted.n_features_in_ == 64


def test_predict_on_the_training_rows_gives_their_labels(fitted: raymix.Mixture, images: np.ndarray) -> None:
    np.testing.assert_array_equal(fitted.predict(images), fitted.labels_)
    np.testing.assert_array_equal(fitted.predict(images.reshape(-1, 64)), fitted.labels_)


def test_score_samples_prefers_digits_to_noise(fitted: raymix.Mixture, images: np.ndarray) -> None:
    noise = np.random.default_rng(0).uniform(0, 16, (200, 8, 8)).astype(np.float32)
    assert fitted.score_samples(images).shape == (len(images),)
    assert np.isfinite(fitted.score_samples(noise)).all()
    assert fitted.score_samples(images).mean() > fitted.score_samples(noise).mean()


def test_sample_gives_rows_in_data_units_and_their_components(fitted: raymix.Mixture) -> None:
    rows, components = fitted.sample(500, seed=1)
    assert rows.shape == (500, 1, 8, 8)
    assert rows.min() >= 0
    assert 8 < rows.max() <= 16
    share = np.bincount(components, minlength=3) / 500
    np.testing.assert_allclose(share, fitted.weights_, atol=4 * np.sqrt(0.25 / 500))
    again, _ = fitted.sample(500, seed=1)
    np.testing.assert_array_equal(rows, again)
    assert not np.array_equal(rows, fitted.sample(500, seed=2)[0])
    assert set(fitted.sample(5, component=2)[1]) == {2}


def test_a_saved_mixture_loads_as_it_was(fitted: raymix.Mixture, images: np.ndarray, tmp_path: Path) -> None:
    fitted.save(tmp_path / "kept")
    loaded = raymix.Mixture.load(tmp_path / "kept")
    np.testing.assert_array_equal(loaded.predict(images[:50]), fitted.labels_[:50])
    np.testing.assert_array_equal(loaded.sample(9)[0], fitted.sample(9)[0])
    with pytest.raises(CheckpointError, match="not empty"):
        fitted.save(tmp_path / "kept")


def test_a_mixture_is_a_scikit_learn_estimator(images: np.ndarray, tmp_path: Path) -> None:
    mixture = raymix.Mixture("synthetic-3", seed=3, overrides=QUICK | PACKED | {"data.num_rows": 300})
    assert clone(mixture).get_params()["seed"] == 3
    vectors = np.random.default_rng(0).normal(size=(300, 4))
    labels = mixture.set_params(num_components=2, out=tmp_path / "run").fit_predict(vectors)
    assert set(labels) <= {0, 1}


def test_labels_are_for_evaluation_only(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 3))
    settings = {"overrides": QUICK | PACKED, "num_components": 2}
    plain = raymix.Mixture("synthetic-3", out=tmp_path / "a", **settings).fit(rows)
    labelled = raymix.Mixture("synthetic-3", out=tmp_path / "b", **settings).fit(rows, np.arange(300) % 2)
    np.testing.assert_array_equal(plain.labels_, labelled.labels_)
    assert plain.evaluate(num_samples=100)["nmi"] is None
    assert labelled.evaluate(num_samples=100)["nmi"] is not None


@pytest.mark.slow
def test_ray_workers_fit_the_same_mixture(tmp_path: Path, ray_cluster: None) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 3))
    settings = {"overrides": QUICK | PACKED, "num_components": 2}
    local = raymix.Mixture("synthetic-3", out=tmp_path / "a", **settings).fit(rows)
    on_ray = raymix.Mixture("synthetic-3", out=tmp_path / "b", workers="ray", **settings).fit(rows)
    np.testing.assert_array_equal(local.sample(20)[0], on_ray.sample(20)[0])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "nan"),
        (np.array([["a"], ["b"]]), "numbers"),
        (np.array([[1], [None]], dtype=object), "row 1: has no value"),
        (pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), r"row 1: holds nan \(column a\)"),
        (np.zeros((2, 3)), "components for 2 rows"),
    ],
)
def test_unfit_rows_are_refused(rows: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises((DataError, ConfigError), match=message):
        raymix.Mixture("synthetic-3", out=tmp_path / "run").fit(rows)


def test_predict_refuses_rows_of_another_shape(fitted: raymix.Mixture) -> None:
    with pytest.raises(DataError, match="shape"):
        fitted.predict(np.zeros((3, 10)))
    with pytest.raises(DataError, match="row 1"):
        fitted.predict(np.stack([np.zeros(64), np.full(64, np.inf)]))


def test_an_unfitted_mixture_says_so() -> None:
    with pytest.raises(ConfigError, match="not fitted"):
        raymix.Mixture("digits").sample(1)


def test_a_control_without_discriminators_cannot_assign(tmp_path: Path) -> None:
    settings = QUICK | PACKED | {"data.num_rows": 300}
    mixture = raymix.Mixture("synthetic-3", mode="random", out=tmp_path / "run", overrides=settings)
    with pytest.raises(ConfigError, match="random"):
        mixture.fit().predict(np.zeros((1, 2)))


def test_channels_last_images_are_predicted_as_they_were_fitted(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    mixture = raymix.Mixture("digits", num_components=2, out=tmp_path / "run", overrides=QUICK | PACKED).fit(images)
    np.testing.assert_array_equal(mixture.predict(images), mixture.labels_)
    np.testing.assert_array_equal(mixture.predict(np.moveaxis(images, -1, 1)), mixture.labels_)


def test_unfit_rows_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        raymix.Mixture("synthetic-3", out=tmp_path / "run").fit(np.full((9, 2), np.nan))
    assert not list((tmp_path / "run").iterdir())


# ---- columns with names, and the units of the data

TINY = QUICK | PACKED | {"schedule.rounds": 1}


@pytest.fixture(scope="module")
def far() -> pd.DataFrame:
    """Three clusters far from 0 (seconds of a clock, metres of a map), and two columns that hardly change."""
    rng = np.random.default_rng(0)
    rows = np.array([[0, 0], [8, 0], [0, 8.0]])[np.arange(240) % 3] + rng.normal(size=(240, 2))
    time, north = 1.7e9 + 10 * rows[:, 0], 5_572_094 + 0.05 * rows[:, 1]
    return pd.DataFrame({"time": time, "north": north, "fixed": 0.1, "steady": 1e3 + 1e-9 * (np.arange(240) % 7)})


@pytest.fixture(scope="module")
def named(far: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> raymix.Mixture:
    out = tmp_path_factory.mktemp("named") / "run"
    labels = np.array(list("abc") * 80, dtype=object)
    return raymix.Mixture("synthetic-3", out=out, overrides=TINY).fit(far, labels)


def test_columns_are_matched_by_name(named: raymix.Mixture, far: pd.DataFrame) -> None:
    assert named.feature_names_in_.tolist() == list(far.columns)
    assert named.spec_.classes == ("a", "b", "c")
    other = far[far.columns[::-1]].assign(note="x")
    np.testing.assert_array_equal(named.predict(other), named.labels_)
    np.testing.assert_array_equal(named.predict(pa.Table.from_pandas(other)), named.labels_)
    np.testing.assert_array_equal(named.predict(far.to_numpy()), named.labels_)
    with pytest.raises(DataError, match="the rows: has no column north"):
        named.predict(far.drop(columns="north"))
    loaded = raymix.Mixture.load(named.directory_)
    np.testing.assert_array_equal(loaded.predict(other), named.labels_)


def test_samples_have_the_precision_of_the_data(named: raymix.Mixture, far: pd.DataFrame) -> None:
    rows, _ = named.sample(500)
    assert rows.dtype == np.float64
    assert len(np.unique(rows[:, 0])) == len(np.unique(rows[:, 1])) == 500
    np.testing.assert_allclose(rows[:, :2].mean(0), far.iloc[:, :2].mean(), atol=2 * far.iloc[:, :2].std().max())
    assert set(rows[:, 2]) == {0.1}
    steady = far["steady"]
    assert abs(rows[:, 3] - steady.mean()).max() < 20 * steady.std()
    assert rows[:, 3].std() > 0


def test_likelihoods_do_not_depend_on_where_the_data_lies(far: pd.DataFrame, tmp_path: Path) -> None:
    plane = far[["time", "north"]]
    near, settings = plane - [1.7e9, 5_572_094], TINY | {"data.holdout": 0.2}
    found = [
        raymix.Mixture("synthetic-3", out=tmp_path / name, overrides=settings).fit(rows).evaluate(num_samples=200)
        for name, rows in (("near", near), ("far", plane))
    ]
    assert found[1]["kde_log_likelihood"] == pytest.approx(found[0]["kde_log_likelihood"], abs=0.05)
