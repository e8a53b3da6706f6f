"""The actor that measures and pictures: the same numbers as in process, whatever happens to it."""

import os
import signal
from pathlib import Path

import pytest
import ray

from raymix.checkpoint import RunDirectory
from raymix.config import Config, DataConfig, DiscriminatorConfig, EvaluationConfig, ResourcesConfig, ScheduleConfig
from raymix.errors import DataError
from raymix.models.vae import VAEConfig
from raymix.record import read_record
from raymix.resolve import resolve
from raymix.runtime.evaluator import start_evaluator
from raymix.session import train
from raymix.storage import Storage

pytestmark = pytest.mark.usefixtures("ray_cluster")


def config(features: str = "auto") -> Config:
    return Config(
        num_components=2,
        data=DataConfig(name="digits", block_bytes=600 * 64),
        model=VAEConfig(encoder=(16,), decoder=(16,), latent=2),
        discriminator=DiscriminatorConfig(widths=(8,), trunk="shared"),
        schedule=ScheduleConfig(rounds=1, pretrain_epochs=1, epochs_per_round=1, evaluate_every=1),
        resources=ResourcesConfig(pack=2, fused=True),
        evaluation=EvaluationConfig(num_samples=300, features=features),
    )


def test_a_run_on_ray_measures_as_one_in_process_and_leaves_a_page(tmp_path: Path) -> None:
    for workers in ("local", "ray"):
        train(*resolve(config()), str(tmp_path / workers), workers=workers)
    here, there = (read_record(Storage.at(tmp_path / workers)) for workers in ("local", "ray"))
    assert [line["measures"] for line in here] == [line["measures"] for line in there]
    assert there[-1]["measures"]["fd_classifier"] > 0
    for workers in ("local", "ray"):
        page = (tmp_path / workers / "report.html").read_text()
        assert page.startswith("<!doctype html>") and "All rounds are done (1 of 1)." in page
        assert (tmp_path / workers / "samples.png").read_bytes().startswith(b"\x89PNG")


def test_an_evaluator_that_dies_is_started_again_and_repeats_its_work(tmp_path: Path) -> None:
    train(*resolve(config()), str(tmp_path / "run"), workers="local")
    directory = RunDirectory(Storage.at(tmp_path / "run"))
    generation = directory.require_last()
    evaluator = start_evaluator(directory.storage)
    try:
        measures = ray.get(evaluator.evaluate.remote(generation), timeout=120)
        assert measures == generation.record["measures"]
        again = evaluator.evaluate.remote(generation)
        os.kill(ray.get(evaluator.pid.remote(), timeout=60), signal.SIGKILL)
        assert ray.get(again, timeout=120) == measures
    finally:
        ray.kill(evaluator)


@pytest.mark.parametrize("workers", ["local", "ray"])
def test_what_cannot_be_measured_is_refused_before_anything_is_written(workers: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Inception"):
        train(*resolve(config("inception")), str(tmp_path / "run"), workers=workers)
    assert not (tmp_path / "run").exists()
