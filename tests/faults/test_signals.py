"""SIGINT and SIGTERM at random times: the exit code, ten seconds at most, and a directory to go on from."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from harness import config, undisturbed_digest

from raymix.config import Config
from raymix.config_values import dump_config
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.session import resume
from raymix.storage import Storage

LIMIT_S = 10.0
TIMES = 20
ROUNDS = 20  # enough for most signals to meet a run that is still at work


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return undisturbed_digest(config(rounds=ROUNDS), tmp_path_factory.mktemp("undisturbed") / "run")


def interrupted(
    folder: Path, signum: int, after_s: float, workers: str, again: bool = False, settings: Config | None = None
) -> tuple[int, float]:
    """Start a run, on a Ray of its own if at all, send it a signal; its exit code and the seconds it took to end."""
    folder.mkdir(parents=True)
    file = folder / "settings.yaml"
    file.write_text(dump_config(settings or config(rounds=ROUNDS)))
    command = [sys.executable, "-m", "raymix.cli", "train", "--config", str(file), "--out", str(folder / "run")]
    with (folder / "log").open("wb") as log:
        run = subprocess.Popen([*command, "--workers", workers], stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while not (folder / "run" / "config.yaml").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(after_s)
    family = psutil.Process(run.pid).children(recursive=True) if run.poll() is None else []
    run.send_signal(signum)
    start = time.monotonic()
    if again:
        time.sleep(0.2)
        run.send_signal(signum)
    code = run.wait(60)
    took_s = time.monotonic() - start
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive, f"left over: {alive}"
    return code, took_s


def require_ended_in_order(folder: Path, signum: int, code: int, took_s: float, expected: str) -> None:
    assert took_s < LIMIT_S, (folder / "log").read_text()
    as_shells_say = 128 - code if code < 0 else code  # the second signal may meet an interpreter that is just ending
    assert as_shells_say in (128 + signum, 0), (folder / "log").read_text()
    assert "Traceback" not in (folder / "log").read_text()
    resume(str(folder / "run"), workers="local")
    assert digest(RunDirectory(Storage.at(folder / "run"))) == expected


@pytest.mark.slow
def test_a_signal_ends_a_run_in_order(tmp_path: Path) -> None:
    """Half a second after its beginning, of a run that takes longer."""
    settings = config(rounds=8, pretrain_epochs=1, epochs_per_round=2, evaluate_every=0, report=False)
    expected = undisturbed_digest(settings, tmp_path / "undisturbed")
    code, took_s = interrupted(tmp_path / "a", signal.SIGTERM, 0.5, "local", settings=settings)
    require_ended_in_order(tmp_path / "a", signal.SIGTERM, code, took_s, expected)


SWALLOWED = """
import os, signal, sys, time
from raymix.commands.signals import Interrupted, interruptible
try:
    with interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except Interrupted:
            raise KeyboardInterrupt from None
except Interrupted as interrupt:
    sys.exit(interrupt.exit_code)
"""


def test_a_signal_is_told_by_its_exit_code_where_ray_makes_it_a_plain_interrupt() -> None:
    assert subprocess.run([sys.executable, "-c", SWALLOWED], timeout=30).returncode == 143


@pytest.mark.faults
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signals_at_random_times_on_ray(tmp_path: Path, expected: str, signum: int) -> None:
    rng, took = random.Random(int(signum)), []
    for number in range(TIMES):
        folder = tmp_path / str(number)
        code, took_s = interrupted(folder, signum, rng.uniform(0, 25), "ray", again=number % 5 == 4)
        require_ended_in_order(folder, signum, code, took_s, expected)
        took.append(took_s)
        print(f"{signal.Signals(signum).name} {number}: code {code}, {took_s:.1f} s", flush=True)
    print(f"{signal.Signals(signum).name}: {TIMES} of {TIMES}, {max(took):.1f} s at most")
