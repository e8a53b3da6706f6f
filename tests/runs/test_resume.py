"""A run whose driver was killed ends as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raymix import session
from raymix.config import Config, DataConfig, DiscriminatorConfig, ResourcesConfig, ScheduleConfig
from raymix.config_values import dump_config
from raymix.errors import CheckpointError
from raymix.families.vae import VAEConfig
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.runs.record import read_record
from raymix.storage import Storage

ROUNDS = 8
DEADLINE_S = 600  # a driver starts a Ray of its own first, which takes minutes on a machine with much else to do


def config(rounds: int = ROUNDS, report: bool = False) -> Config:
    return Config(
        num_components=3,
        data=DataConfig(name="synthetic-3", num_rows=900, block_bytes=300 * 8),
        model=VAEConfig(encoder=(16,), decoder=(16,), latent=2),
        discriminator=DiscriminatorConfig(widths=(16,), batch_size=32, trunk="shared"),
        schedule=ScheduleConfig(rounds=rounds, pretrain_epochs=1, epochs_per_round=4, batch_size=8, report=report),
        resources=ResourcesConfig(pack=3, fused=True),
    )


def run_digest(out: Path) -> str:
    return digest(RunDirectory(Storage.at(out)))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    session.start(*resolve(config()), str(out), workers="local")
    return run_digest(out)


def committed_rounds(out: Path) -> int:
    return len(list(out.glob("generations/*/manifest.json")))


@pytest.mark.parametrize("workers", [pytest.param("ray", marks=pytest.mark.slow), "local"])
def test_a_run_whose_driver_was_killed_ends_with_the_same_digest(
    workers: str, tmp_path: Path, reference: str, ray_cluster: None
) -> None:
    out, settings = tmp_path / "run", tmp_path / "settings.yaml"
    report = workers == "local"  # on Ray it takes another process, which faults/test_matrix.py has
    settings.write_text(dump_config(config(report=report)))
    command = [sys.executable, "-m", "raymix.cli", "train", "--config", str(settings), "--out", str(out)]
    with (tmp_path / "log").open("w") as log:  # no pipe, which a driver that says much would fill
        driver = subprocess.Popen([*command, "--workers", workers], stdout=log, stderr=log)
    deadline = time.monotonic() + DEADLINE_S
    while committed_rounds(out) < 2:
        assert driver.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert committed_rounds(out) <= ROUNDS, "the run was over before it was killed"

    assert session.resume(str(out), workers=workers)
    assert run_digest(out) == reference
    assert [line.round for line in read_record(Storage.at(out))] == list(range(ROUNDS + 1))
    assert (out / "samples.png").exists() is report


@pytest.mark.parametrize("report", [True, False])
def test_resuming_a_finished_run_does_nothing(report: bool, tmp_path: Path) -> None:
    out = tmp_path / "run"
    session.start(*resolve(config(rounds=1, report=report)), str(out), workers="local")
    assert (out / "report.html").exists() is (out / "samples.png").exists() is report
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert not session.resume(str(out), workers="local")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_resuming_a_run_without_a_commit_starts_it(tmp_path: Path, reference: str) -> None:
    out = tmp_path / "run"
    resolved, spec = resolve(config())
    RunDirectory(Storage.at(out)).create(resolved, spec, {})
    assert session.resume(str(out), workers="local")
    assert run_digest(out) == reference


def test_training_into_a_directory_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    session.start(*resolve(config(rounds=0)), str(out), workers="local")
    before = run_digest(out)
    with pytest.raises(CheckpointError, match="already holds a run"):
        session.start(*resolve(config(rounds=1)), str(out), workers="local")
    assert run_digest(out) == before
