"""What holds on a GPU: replayed steps are eager ones, runs repeat their bits, memory stays."""

import os
import signal
from pathlib import Path

import pytest
import torch
from harness import DISCRIMINATORS, GENERATORS, pids_of

from launch.gpu_check import Arguments, equal, memory
from raymix import session
from raymix.config_values import replaced
from raymix.recipes.catalogue import recipe
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.runs.record import read_record
from raymix.runs.run import Status
from raymix.runtime.identity import run_id_of
from raymix.storage import Storage

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
DIFFERENCE = 0.02  # of an array's norm, after 40 steps whose sums the GPU may take in any order
DIGITS = {
    "discriminator.body": "auto",  # so that both kinds of actors work
    "schedule.rounds": 6,
    "schedule.report": False,
    "resources.deterministic": True,
}


def test_replayed_steps_are_eager_ones(tmp_path: Path) -> None:
    found = equal(Arguments(tmp_path))
    assert found["captured"] and not found["said"]
    known = {name: value for name, value in found["equal"].items() if value is not None}
    assert all(value == 0 for name, value in known.items() if name.endswith("deterministic"))
    assert all(value < DIFFERENCE for value in known.values())


def test_memory_stays_over_300_rounds(tmp_path: Path) -> None:
    early, late = memory(Arguments(tmp_path))["held_by_round"].values()
    assert late["gpu_reserved_mib"] <= early["gpu_reserved_mib"] * 1.02 + 2
    assert late["process_mib"] <= early["process_mib"] * 1.02 + 20


def run(out: Path, victim: str | None = None, **changes: object) -> str:
    """The digest of a run on Ray; one of its actors is killed after the second round."""

    def watch(status: Status) -> None:
        if victim and status.lines and status.lines[-1].round == 2:
            os.kill(pids_of(run_id_of(str(out)))[victim], signal.SIGKILL)

    session.start(*resolve(replaced(recipe("digits"), DIGITS | changes)), str(out), watch=watch)
    assert any(line.mendings for line in read_record(Storage.at(out))) == bool(victim)
    return digest(RunDirectory(Storage.at(out)))


def test_runs_repeat_their_bits_whoever_dies_and_with_eager_steps(tmp_path: Path, ray_cluster: None) -> None:
    first = run(tmp_path / "first")
    assert run(tmp_path / "second") == first
    assert run(tmp_path / "eager", **{"resources.graphs": False}) == first
    assert run(tmp_path / "generators", GENERATORS) == first
    assert run(tmp_path / "discriminators", DISCRIMINATORS) == first
