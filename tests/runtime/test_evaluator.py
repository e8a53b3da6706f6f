"""The actor that measures and pictures: the same numbers as in process, whatever happens to it."""

import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from raymix import session
from raymix.config import Config, DataConfig, DiscriminatorConfig, EvaluationConfig, ResourcesConfig, ScheduleConfig
from raymix.errors import DataError
from raymix.families.vae import VAEConfig
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.record import read_record
from raymix.storage import Storage

pytestmark = pytest.mark.usefixtures("ray_cluster")


def config(features: str = "auto", report: bool = True) -> Config:
    return Config(
        num_components=2,
        data=DataConfig(name="digits", block_bytes=600 * 64),
        model=VAEConfig(encoder=(16,), decoder=(16,), latent=2),
        discriminator=DiscriminatorConfig(widths=(8,), trunk="shared"),
        schedule=ScheduleConfig(rounds=1, pretrain_epochs=1, epochs_per_round=1, evaluate_every=1, report=report),
        resources=ResourcesConfig(pack=2, fused=True),
        evaluation=EvaluationConfig(num_samples=300, features=features),
    )


@pytest.mark.slow
def test_an_evaluator_that_dies_is_replaced_and_the_round_measured_as_if_nothing_had_happened(tmp_path: Path) -> None:
    session.start(*resolve(config()), str(tmp_path / "local"), workers="local")
    killed = []

    def kill_once() -> None:
        while not killed:
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if "Evaluator" in "".join(process.cmdline()[:1]):  # as Ray calls it, whatever it does just now
                        process.kill()
                        killed.append(process.pid)
                        return
            time.sleep(0.2)

    killer = threading.Thread(target=kill_once, daemon=True)
    killer.start()
    session.start(*resolve(config()), str(tmp_path / "ray"), workers="ray")
    assert killed
    here, there = (read_record(Storage.at(tmp_path / workers)) for workers in ("local", "ray"))
    assert [line.measures for line in here] == [line.measures for line in there]
    assert any("evaluate" in failure for line in there for failure, _ in line.mendings)
    assert there[-1].measures["fd_classifier"] > 0
    for workers in ("local", "ray"):
        page = (tmp_path / workers / "report.html").read_text()
        assert page.startswith("<!doctype html>") and "All rounds are done (1 of 1)." in page
        assert (tmp_path / workers / "samples.png").read_bytes().startswith(b"\x89PNG")


def test_a_round_that_cannot_be_measured_counts_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DataError("is gone", "the test set")

    monkeypatch.setattr("raymix.evaluation.evaluate.evaluate", fail)
    session.start(*resolve(config(report=False)), str(tmp_path / "run"), workers="local")
    lines = read_record(Storage.at(tmp_path / "run"))
    assert [line.measures for line in lines] == [None, None]
    assert all("not measured: the test set: is gone" in line.warnings for line in lines)


def test_a_page_that_cannot_be_made_leaves_what_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise DataError("has changed", "the data set")

    monkeypatch.setattr("raymix.evaluation.report_files.report_files", fail)
    session.start(*resolve(config()), str(tmp_path / "run"), workers="local")
    assert RunDirectory(Storage.at(tmp_path / "run")).require_last().state.round == 1
    assert "try `raymix report`" in caplog.text


@pytest.mark.parametrize("workers", ["local", "ray"])
def test_what_cannot_be_measured_is_refused_before_anything_is_written(workers: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Inception"):
        session.start(*resolve(config("inception")), str(tmp_path / "run"), workers=workers)
    assert not (tmp_path / "run").exists()
