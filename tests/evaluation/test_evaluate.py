"""Every measure against the same number computed by hand from the same samples."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import KernelDensity

from raymix.data.open import open_source, open_test_source
from raymix.errors import ConfigError, DataError
from raymix.evaluation.images import own_distance
from raymix.evaluation.samples import drawn, mixed_counts, sample_mixture
from raymix.features.classifier import classifier
from raymix.metrics.catalogue import MEASURES
from raymix.metrics.frechet import frechet_distance, statistics
from raymix.mixture import Mixture
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.runs.record import read_record
from raymix.storage import Storage

BESIDE = {"num_parameters", "num_samples", "seed", "about", "real", "components"}
OF_VECTORS = {"kde_log_likelihood", "modes_captured", "high_quality_share"}
OF_IMAGES = {"fd_classifier", "precision", "recall"}
OF_CLASSES = {"nmi", "ari", "purity", "matched_accuracy", "effective_components"}


def known(measures: dict) -> set[str]:
    return {name for name in MEASURES if measures[name] is not None}


def test_vectors_have_likelihood_and_modes_and_images_distances(plane: Path, digits: Path) -> None:
    of_plane, of_digits = (Mixture.load(run).evaluate() for run in (plane, digits))
    assert of_plane.keys() == of_digits.keys() == MEASURES.keys() | BESIDE
    assert known(of_plane) == OF_VECTORS | OF_CLASSES
    assert known(of_digits) == OF_IMAGES | OF_CLASSES


def test_likelihood_is_that_of_a_kernel_density_over_the_samples(plane: Path) -> None:
    mixture = Mixture.load(plane)
    samples = np.concatenate(
        [rows for _, rows in drawn(mixture._packs().generators, mixed_counts(mixture.state_, 400, 3), 3)]
    )
    test = open_test_source(mixture.config_.data).read(0, 900).rows
    expected = KernelDensity(bandwidth=0.5, leaf_size=400).fit(samples).score_samples(test).mean()
    found = mixture.evaluate(num_samples=400, seed=3, bandwidth=0.5)
    assert found["kde_log_likelihood"] == pytest.approx(expected, rel=1e-9)
    assert found["about"]["num_held_out"] == 900


def test_true_rows_reach_what_the_modes_allow(plane: Path) -> None:
    real = Mixture.load(plane).evaluate()["real"]
    assert real["modes_captured"] == 3
    assert real["high_quality_share"] == pytest.approx(0.989, abs=4 * np.sqrt(0.989 * 0.011 / 500))


def test_distance_is_that_of_the_features(digits: Path) -> None:
    mixture = Mixture.load(digits)
    features = classifier(mixture.config_.data).features
    pieces = drawn(mixture._packs().generators, mixed_counts(mixture.state_, 700, 1), 1)
    samples = statistics(np.concatenate([features(rows) for _, rows in pieces]))
    real = statistics(features(open_source(mixture.config_.data).read(0, 1797).rows))
    found = mixture.evaluate(num_samples=2000, seed=1)
    assert found["about"]["num_real"] == 1797 and found["about"]["real"] == "training rows of digits"
    del samples
    pieces = drawn(mixture._packs().generators, mixed_counts(mixture.state_, 2000, 1), 1)
    samples = statistics(np.concatenate([features(rows) for _, rows in pieces]))
    assert found["fd_classifier"] == pytest.approx(frechet_distance(*samples, *real).distance, rel=1e-6)


def test_agreement_with_classes_is_that_of_all_winners(digits: Path) -> None:
    mixture = Mixture.load(digits)
    classes = open_source(mixture.config_.data).read(0, 1797).labels
    expected = normalized_mutual_info_score(classes, mixture.labels_)
    assert mixture.evaluate()["nmi"] == pytest.approx(expected, abs=1e-9)


def test_components_are_measured_alone(plane: Path, digits: Path) -> None:
    for run, name in ((plane, "high_quality_share"), (digits, "fd_classifier_to_own_rows")):
        mixture = Mixture.load(run)
        measures = mixture.evaluate(num_samples=1000)
        assert [each["component"] for each in measures["components"]] == list(mixture.state_.components)
        assert sum(each["num_samples"] for each in measures["components"]) == 1000
        assert all(name in each for each in measures["components"])


def test_too_few_rows_for_a_covariance_give_no_distance() -> None:
    few, many = np.zeros((5, 5), np.float32), np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    assert own_distance([few], many, "fid") == own_distance([many], few, "fid") == {}
    assert own_distance([many], many, "fid")["fid_to_own_rows"] == pytest.approx(0, abs=1e-9)


def test_measures_repeat_with_their_seed_and_change_nothing(digits: Path) -> None:
    directory = RunDirectory(Storage.at(digits))
    before, mixture = digest(directory), Mixture.load(digits)
    assert mixture.evaluate() == mixture.evaluate()
    assert mixture.evaluate(seed=1)["fd_classifier"] != mixture.evaluate()["fd_classifier"]
    assert digest(directory) == before


def test_a_run_records_what_evaluate_finds(plane: Path) -> None:
    lines = read_record(Storage.at(plane))
    assert [bool(line.measures) for line in lines] == [True, False, True]
    assert lines[-1].measures == Mixture.load(plane).evaluate()
    assert lines[-1].seconds["evaluate"] > 0


def test_inversion_finds_near_rows(plane: Path, digits: Path) -> None:
    with pytest.raises(DataError, match=r"digits: has no rows beside those trained on; set evaluation\.inversions"):
        Mixture.load(digits).evaluate(inversions=5)
    del plane


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_samples": 0}, r"evaluation\.num_samples: Input should be greater than or equal to 1, got 0"),
        ({"features": "resnet"}, r"evaluation\.features: .*got 'resnet'"),
        ({"feature": "pixels"}, r"unknown field evaluation\.feature; did you mean evaluation\.features\?"),
    ],
)
def test_unfit_settings_are_refused(digits: Path, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Mixture.load(digits).evaluate(**settings)


def test_images_without_labels_say_why_they_have_no_distance(digits: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.npy"
    np.save(rows, open_source(Mixture.load(digits).config_.data).read(0, 1797).rows)
    run = tmp_path / "run"
    mixture = Mixture("digits", num_components=2, out=run, overrides={"schedule.rounds": 0, "resources.fused": True})
    measures = mixture.fit(np.load(rows)).evaluate(num_samples=100)
    assert known(measures) == {"effective_components"}
    assert measures["about"]["features"].startswith("none: the data has no labels")
    with pytest.raises(DataError, match="has no labels to train a classifier on"):
        mixture.evaluate(features="classifier")
    assert mixture.evaluate(num_samples=300, features="pixels")["fd_pixels"] > 0
    shutil.rmtree(run)


def test_a_mixture_gives_rows_by_its_weights_in_random_order(plane: Path) -> None:
    mixture = Mixture.load(plane)
    generators = mixture._packs().generators
    state = replace(mixture.state_, won_K=(0, 300, 600))
    rows, components = sample_mixture(generators, state, 3000, seed=0)
    assert rows.shape == (3000, 2) and set(components) == {1, 2}
    share = (components == 1).mean()
    assert share == pytest.approx(1 / 3, abs=4 * np.sqrt(2 / 9 / 3000))
    assert 0 < np.count_nonzero(np.diff(components)) > 500  # not component after component
