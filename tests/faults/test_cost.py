"""What it costs that nothing is lost: commits, and a kill every five rounds."""

import os
import signal
import time
from pathlib import Path

import pytest
from harness import GENERATORS, pids_of

from raymix import session
from raymix.config_values import replaced
from raymix.recipes.catalogue import recipe
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.runs.record import read_record
from raymix.runs.run import Status
from raymix.runtime.identity import run_id_of
from raymix.storage import Storage

ROUNDS = 20
KILL_EVERY = 5


def digits(out: Path, kills: bool) -> float:
    """Seconds of a run of the digits recipe."""

    def watch(status: Status) -> None:
        if kills and status.lines and status.lines[-1].round % KILL_EVERY == 0 < status.lines[-1].round < ROUNDS:
            os.kill(pids_of(run_id_of(str(out)))[GENERATORS], signal.SIGKILL)

    start = time.monotonic()
    session.start(
        *resolve(replaced(recipe("digits"), {"schedule.rounds": ROUNDS, "resources.pack": 5, "resources.fused": True})),
        str(out),
        watch=watch,
    )
    return time.monotonic() - start


@pytest.mark.faults
def test_commits_and_a_kill_every_five_rounds_cost_little(tmp_path: Path, ray_cluster: None) -> None:
    calm_s, disturbed_s = digits(tmp_path / "calm", kills=False), digits(tmp_path / "disturbed", kills=True)
    first, second = (RunDirectory(Storage.at(tmp_path / name)) for name in ("calm", "disturbed"))
    assert digest(first) == digest(second)
    lines = read_record(second.storage)
    mended = sum(len(line.mendings) for line in lines)
    assert mended == ROUNDS // KILL_EVERY - 1
    seconds = [line.seconds for line in read_record(first.storage)]
    share = sum(phases["commit"] for phases in seconds) / calm_s
    print(f"{calm_s:.1f} s, with {mended} kills {disturbed_s:.1f} s ({disturbed_s / calm_s:.2f}x); commits {share:.1%}")
    assert disturbed_s <= 1.5 * calm_s
    assert share < 0.03
