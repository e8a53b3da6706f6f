"""Ray is a guest in the process of a driver."""

import os
import signal
import subprocess
import sys

import pytest

from raymix.runtime.guest import quietly, staying

STARTS = """
import logging, os, random, signal
import ray
from raymix.runtime.driver import cluster

signal.signal(signal.SIGTERM, lambda *_: None)
random.seed(3)

def state():
    return dict(os.environ), random.getstate(), signal.getsignal(signal.SIGTERM), logging.getLogger("ray").level

before = state()
for _ in range(2):
    with cluster(None, num_cpus=1):
        print(ray.get(ray.remote(num_cpus=0)(lambda: 1).remote()), signal.getsignal(signal.SIGTERM) is before[2])
    print(state() == before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("home", ["", "/proc/none"])
def test_a_process_is_as_it_was_after_a_local_ray(home: str, tmp_path: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-c", STARTS]
    with_home = environment | {"HOME": home or str(tmp_path)}
    done = subprocess.run(command, env=with_home, capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout.splitlines() == ["1 True", "True"] * 2, done.stderr


def test_what_the_caller_had_set_for_ray_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("PYTHONBREAKPOINT", raising=False)
    with staying():
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        os.environ["PYTHONBREAKPOINT"] = os.environ["RAY_OTHER"] = "ray's"
        monkeypatch.setenv("OF_THE_USER", "1")
    assert os.environ["RAY_AUTH_MODE"] == "token" and os.environ["OF_THE_USER"] == "1"
    assert not {"PYTHONBREAKPOINT", "RAY_OTHER"} & os.environ.keys()


def test_a_handler_that_is_not_pythons_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda signum: None)
    with quietly():
        pass
