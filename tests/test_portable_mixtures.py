"""A fitted mixture outlives its process and its folder: pickles and copies."""

import copy
import gc
import os
import pickle
import pickletools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import ray
from sklearn.base import clone

from raymix.errors import CheckpointError, DataError, MissingError
from raymix.mixture import Mixture
from raymix.recipes.catalogue import recipe

ROWS = np.random.default_rng(0).normal(size=(120, 2)) + np.arange(120)[:, None] % 2 * 8
SETTINGS = {
    "schedule.rounds": 1,
    "schedule.pretrain_epochs": 2,
    "schedule.epochs_per_round": 2,
    "discriminator.epochs": 1,
    "schedule.report": False,
}


def fit(**arguments: Any) -> Mixture:
    return Mixture("synthetic-3", num_components=2, overrides=SETTINGS, **arguments).fit(ROWS)


@pytest.fixture(scope="module")
def fitted() -> Mixture:
    return fit()


def require_equal(one: Mixture, other: Mixture) -> None:
    """All that a fitted mixture gives without its training rows."""
    for left, right in zip(one.assign(ROWS), other.assign(ROWS), strict=True):
        np.testing.assert_array_equal(left, right)
    for left, right in zip(one.sample(20), other.sample(20), strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(one.labels_, other.labels_)
    np.testing.assert_array_equal(one.weights_, other.weights_)
    assert (one.record_, one.n_features_in_) == (other.record_, other.n_features_in_)
    assert one.get_params() == other.get_params()


ELSEWHERE = """
import pickle, sys
import joblib, numpy as np
from raymix.errors import DataError

rows, folder = np.load(sys.argv[1] + "/rows.npy"), sys.argv[1]
with open(folder + "/pickled", "rb") as file:
    mixtures = [pickle.load(file), joblib.load(folder + "/dumped")]
for mixture in mixtures:
    np.testing.assert_array_equal(mixture.score_samples(rows), np.load(folder + "/scores.npy"))
    np.testing.assert_array_equal(mixture.sample(20)[0], np.load(folder + "/samples.npy"))
    np.testing.assert_array_equal(mixture.labels_, np.load(folder + "/labels.npy"))
    mixture.save(folder + f"/saved-{mixtures.index(mixture)}")
    try:
        mixture.evaluate()
    except DataError as error:
        print(error)
    print(mixture.directory_)
"""


def test_a_pickle_works_in_another_process_when_the_first_one_and_its_folder_are_gone(tmp_path: Path) -> None:
    mixture = fit()
    rows = Path(mixture.directory_, "data", "rows.npy")
    np.save(tmp_path / "rows.npy", ROWS)
    np.save(tmp_path / "scores.npy", mixture.score_samples(ROWS))
    np.save(tmp_path / "samples.npy", mixture.sample(20)[0])
    np.save(tmp_path / "labels.npy", mixture.labels_)
    (tmp_path / "pickled").write_bytes(pickle.dumps(mixture))
    joblib.dump(mixture, tmp_path / "dumped")
    del mixture
    gc.collect()
    assert not rows.exists()
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", ELSEWHERE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    gone = f"{rows}: the training rows are gone, and measures need them; "
    gone += "give `out` a folder that stays, or train on a file"
    first, one, second, other = done.stdout.splitlines()
    assert first == second == gone
    assert one != other and not os.path.exists(one) and not os.path.exists(other)
    np.testing.assert_array_equal(Mixture.load(tmp_path / "saved-0").sample(20)[0], np.load(tmp_path / "samples.npy"))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda mixture: pickle.loads(pickle.dumps(mixture, 5))])
def test_a_copy_outlives_the_original(copied: Any) -> None:
    original = fit()
    folder, other = original.directory_, copied(original)
    require_equal(original, other)
    again = copied(original)  # whose networks are read after the original is gone
    samples = original.sample(20)[0]
    del original
    gc.collect()
    assert not os.path.exists(folder)
    np.testing.assert_array_equal(again.sample(20)[0], samples)
    np.testing.assert_array_equal(copied(again).sample(20)[0], samples)
    own = again.directory_
    del again
    gc.collect()
    assert not os.path.exists(own) and os.path.exists(other.directory_)


def test_a_copy_of_a_run_that_is_kept_does_not_need_it(fitted: Mixture, tmp_path: Path) -> None:
    original = fit(out=tmp_path / "run")
    pickled, other = pickle.dumps(Mixture.load(tmp_path / "run")), copy.deepcopy(original)
    shutil.rmtree(tmp_path / "run")
    for mixture in (pickle.loads(pickled), other):
        assert mixture.out == tmp_path / "run" != Path(mixture.directory_)
        np.testing.assert_array_equal(mixture.predict(ROWS), mixture.labels_)
        mixture.save(tmp_path / "saved")
        np.testing.assert_array_equal(Mixture.load(tmp_path / "saved").sample(9)[0], mixture.sample(9)[0])
        shutil.rmtree(tmp_path / "saved")
    with pytest.raises(MissingError, match=r"run/.*is missing"):
        pickle.dumps(original)


def test_a_saved_mixture_finds_its_training_rows_beside_it(tmp_path: Path) -> None:
    mixture = Mixture("synthetic-3", num_components=2, overrides=SETTINGS).fit(ROWS, np.arange(120) % 2)
    measures = mixture.evaluate(num_samples=40)
    mixture.save(tmp_path / "saved")
    del mixture
    gc.collect()
    loaded = Mixture.load(tmp_path / "saved")
    assert loaded.evaluate(num_samples=40) == measures
    assert loaded.config_.data.path == str(tmp_path / "saved" / "data" / "rows.npy")


def test_names_of_columns_go_along_and_not_into_another_fit() -> None:
    frame = pd.DataFrame(ROWS * [1, 30], columns=["height", "weight"])
    mixture = Mixture("synthetic-3", num_components=2, overrides=SETTINGS).fit(frame)
    for other in (copy.copy(mixture), pickle.loads(pickle.dumps(mixture))):
        assert list(other.feature_names_in_) == ["height", "weight"]
        np.testing.assert_array_equal(other.predict(frame[["weight", "height"]]), mixture.labels_)
    assert not hasattr(mixture.fit(ROWS), "feature_names_in_")


@pytest.mark.slow
def test_workers_of_joblib_and_ray_take_a_mixture(fitted: Mixture, ray_cluster: None) -> None:
    parts = joblib.Parallel(n_jobs=2)(joblib.delayed(fitted.predict)(rows) for rows in (ROWS[:60], ROWS[60:]))
    np.testing.assert_array_equal(np.concatenate(parts), fitted.labels_)
    on_ray = ray.get(ray.remote(lambda mixture: mixture.predict(ROWS)).remote(fitted))
    np.testing.assert_array_equal(on_ray, fitted.labels_)


def test_no_object_of_raymix_or_torch_is_in_a_pickle(fitted: Mixture) -> None:
    fitted.predict(ROWS)  # its networks are in memory
    mixture = copy.copy(fitted).set_params(recipe_or_config=recipe("synthetic-3"))
    strings = [str(argument) for _, argument, _ in pickletools.genops(pickle.dumps(mixture, 4)) if argument is not None]
    modules = {text for text in strings if text.split(".")[0] in ("raymix", "torch", "numpy", "pydantic")}
    assert modules == {"raymix.mixture"}


def test_arguments_come_back(fitted: Mixture, tmp_path: Path) -> None:
    config = recipe("synthetic-3")
    unfitted = Mixture(config, num_components=2, mode="bag", seed=4, workers="ray", out=tmp_path, overrides=SETTINGS)
    for copied in (copy.copy, copy.deepcopy, clone, lambda mixture: pickle.loads(pickle.dumps(mixture))):
        assert copied(unfitted).get_params() == unfitted.get_params()
        assert not hasattr(copied(unfitted), "weights_")
    assert clone(fitted).get_params() == fitted.get_params() and not hasattr(clone(fitted), "weights_")
    fitted.note = "the user's own"
    assert copy.copy(fitted).note == "the user's own"


@pytest.mark.parametrize("format", [2, 99, None])
def test_what_another_raymix_pickled_is_refused_in_one_line(format: int | None, fitted: Mixture) -> None:
    state = fitted.__getstate__() | {"format": format}
    if format is None:
        del state["format"]
    with pytest.raises(CheckpointError, match=rf"^Mixture: was pickled by another raymix \(format {format}, .*fit it"):
        Mixture().__setstate__(state)


def test_a_fit_that_fails_leaves_the_earlier_one(fitted: Mixture) -> None:
    mixture = copy.copy(fitted)
    with pytest.raises(DataError):
        mixture.fit(np.full((9, 2), np.nan))
    gc.collect()
    np.testing.assert_array_equal(mixture.sample(9)[0], fitted.sample(9)[0])


def test_networks_that_cannot_be_read_are_no_networks(tmp_path: Path) -> None:
    mixture = fit(out=tmp_path / "run")
    (tmp_path / "run" / "generations").rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(MissingError):
            mixture.sample(3)
    (tmp_path / "elsewhere").rename(tmp_path / "run" / "generations")
    assert len(mixture.sample(3)[0]) == 3
