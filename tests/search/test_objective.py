"""What a search makes best, and what data and machine do not allow."""

import numpy as np
import pytest

from raymix.config import Config
from raymix.config_values import replaced
from raymix.data.source import DataSpec
from raymix.errors import ConfigError, DataError
from raymix.recipes.catalogue import recipe
from raymix.recipes.resolve import resolve
from raymix.search.objective import measured_often, usual, with_objective

VECTORS = resolve(measured_often(replaced(recipe("synthetic-5"), {"data.num_rows": 500})))
DIGITS = resolve(measured_often(recipe("digits")))


def test_objectives_are_measured_on_rows_that_are_held_out() -> None:
    config, spec = VECTORS
    assert (config.schedule.evaluate_every, config.data.holdout, spec.num_rows) == (1, 0.1, 450)
    assert measured_often(replaced(config, {"data.holdout": 0.3})).data.holdout == 0.3


def test_the_usual_objective_follows_the_data() -> None:
    assert usual(*VECTORS) == "kde_log_likelihood"
    assert usual(*DIGITS) == "fd_classifier"
    config, spec = DIGITS
    unlabelled = DataSpec(spec.name, spec.num_rows, spec.row_shape, spec.dtype)
    assert usual(config, unlabelled) == "fd_pixels"


@pytest.mark.parametrize(
    ("metric", "changes"),
    [
        ("fd_pixels", {"features": "pixels"}),
        ("fd_classifier", {"features": "classifier"}),
        ("precision", {"features": "classifier"}),
        ("ivom", {"inversions": 100}),
        ("nmi", {"features": "auto"}),
    ],
)
def test_a_measure_brings_the_settings_that_take_it(metric: str, changes: dict[str, object]) -> None:
    name, config = with_objective(metric, *DIGITS)
    assert name == metric == config.schedule.best_metric
    assert {field: getattr(config.evaluation, field) for field in changes} == changes


@pytest.mark.parametrize(
    ("metric", "data", "said"),
    [
        ("fidd", VECTORS, "unknown measure 'fidd'; did you mean fid"),
        ("sharpness", VECTORS, "unknown measure 'sharpness'; "),
        ("fd_classifier", VECTORS, "needs images, and rows are vectors; choose another, such as kde_log_likelihood"),
        ("ivom", VECTORS, "needs images"),
        ("kde_log_likelihood", DIGITS, "needs vectors, and rows are images"),
        ("modes_captured", DIGITS, "needs modes that are known"),
    ],
)
def test_a_measure_the_data_does_not_allow_is_refused(metric: str, data: tuple[Config, DataSpec], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        with_objective(metric, *data)


@pytest.mark.parametrize("metric", ["nmi", "ari", "purity", "matched_accuracy", "fd_classifier"])
def test_a_measure_of_classes_needs_labels(metric: str, tmp_path: object) -> None:
    path = f"{tmp_path}/rows.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (300, 8, 8), dtype=np.uint8))
    base = replaced(recipe("digits"), {"data.name": "file", "data.path": path})
    with pytest.raises(ConfigError, match=f"{metric} needs labels, and the data has none"):
        with_objective(metric, *resolve(measured_often(base)))


def test_inception_needs_its_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    config, spec = DIGITS
    with pytest.raises(DataError):
        with_objective("fid", replaced(config, {"evaluation.inception_weights": f"{tmp_path}/none.pth"}), spec)
