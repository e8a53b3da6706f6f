"""After any end of a local run nothing is left: no process, nothing in shared memory."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SHARED = Path("/dev/shm")
LEFT_S = 30  # what a killed driver may leave behind, it leaves for less than this
DRIVER = """
import sys, time
import numpy as np
import ray
from raymix.runtime.driver import cluster

with cluster(None, num_cpus=2):
    class Actor:
        def hold(self):
            self.held = ray.put(np.zeros(30_000_000, np.uint8))

        def work(self):
            time.sleep(1000)

    class Coordinator:
        def __init__(self):
            self.actor = ray.remote(num_cpus=0.5)(Actor).remote()
            ray.get(self.actor.hold.remote())
            self.ref = self.actor.work.remote()

        def ready(self):
            pass

    coordinator = ray.remote(num_cpus=0, max_restarts=-1)(Coordinator).remote()
    ray.get(coordinator.ready.remote())
    print("ready", flush=True)
    if sys.argv[1] == "error":
        raise SystemExit(3)
    if sys.argv[1] == "wait":
        time.sleep(1000)
"""
TRAIN = ["-m", "raymix.cli", "train", "synthetic-3", "--rounds=200", "--data.num-rows=2000", "--num-components=2"]


def started(command: list[str], folder: Path, ready: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A driver in a process group of its own, once it wrote what it writes when it is at work, and its descendants."""
    log = folder / "log"
    with log.open("w") as file:
        options = {"stdout": file, "stderr": file, "cwd": folder, "start_new_session": True, "text": True}
        driver: subprocess.Popen[str] = subprocess.Popen([sys.executable, *command], **options)
    deadline = time.monotonic() + 120
    while ready not in log.read_text():
        assert time.monotonic() < deadline and (driver.poll() is None or ready in log.read_text()), log.read_text()
        time.sleep(0.05)
    return driver, psutil.Process(driver.pid).children(recursive=True)


def alive(processes: list[psutil.Process]) -> list[str]:
    return [process.name() for process in processes if process.is_running() and process.status() != "zombie"]


def in_shared_memory() -> set[str]:
    return set(os.listdir(SHARED)) if SHARED.is_dir() else set()


def abandoned(before: set[str]) -> set[str]:
    """What is new in shared memory and no living process uses, whoever's it is."""
    used = ""
    for path in Path("/proc").glob("[0-9]*/maps"):
        try:
            used += path.read_text()
        except OSError:
            continue
    return {name for name in in_shared_memory() - before if f"{SHARED}/{name}" not in used}


def seconds_until_all_is_gone(processes: list[psutil.Process], before: set[str]) -> float:
    begin = time.monotonic()
    while time.monotonic() < begin + LEFT_S and (alive(processes) or abandoned(before)):
        time.sleep(0.1)
    left = alive(processes), abandoned(before)
    for process in processes:
        if process.is_running():
            process.kill()  # leave nothing to the next test
    assert left == ([], set())
    return time.monotonic() - begin


@pytest.mark.slow
def test_a_local_ray_ends_with_an_error_in_the_driver(tmp_path):
    before = in_shared_memory()
    driver, descendants = started(["-c", DRIVER, "error"], tmp_path, "ready")
    assert driver.wait(30) == 3
    assert len(descendants) >= 7
    assert seconds_until_all_is_gone(descendants, before) < 5


@pytest.mark.faults
@pytest.mark.parametrize("mode", ["success", "error"])
def test_a_local_ray_ends_with_the_driver(tmp_path, mode):
    before = in_shared_memory()
    driver, descendants = started(["-c", DRIVER, mode], tmp_path, "ready")
    assert driver.wait(30) == {"success": 0, "error": 3}[mode]
    assert seconds_until_all_is_gone(descendants, before) < 5


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_local_ray_ends_when_the_driver_gets_a_signal(tmp_path, number):
    before = in_shared_memory()
    driver, descendants = started(["-c", DRIVER, "wait"], tmp_path, "ready")
    driver.send_signal(number)
    assert driver.wait(30) != 0
    assert seconds_until_all_is_gone(descendants, before) < LEFT_S


@pytest.mark.faults
def test_a_local_ray_ends_when_its_process_group_is_killed(tmp_path):
    before = in_shared_memory()
    driver, descendants = started(["-c", DRIVER, "wait"], tmp_path, "ready")
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait(30)
    assert seconds_until_all_is_gone(descendants, before) < LEFT_S


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_in_the_middle_leaves_nothing(tmp_path, number):
    before = in_shared_memory()
    driver, descendants = started([*TRAIN, "--out", str(tmp_path / "run")], tmp_path, "round 1/200")
    assert any("GeneratorActor" in process.name() for process in descendants)
    driver.send_signal(number)
    assert driver.wait(60) != 0
    assert seconds_until_all_is_gone(descendants, before) < LEFT_S


@pytest.mark.faults
def test_a_run_that_ends_leaves_nothing(tmp_path):
    before = in_shared_memory()
    quick = [*TRAIN[:3], "synthetic-3", "--rounds=2", "--data.num-rows=300", "--out", str(tmp_path / "run")]
    driver, descendants = started(quick, tmp_path, "round 1/2")
    assert driver.wait(120) == 0
    assert len(descendants) >= 7
    assert seconds_until_all_is_gone(descendants, before) < 5
