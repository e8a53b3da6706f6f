"""Three hundred rounds: nothing grows."""

import statistics
from pathlib import Path

import psutil
import pytest
from arena import STORE_BYTES, arena
from harness import Disturbed, config

ROUNDS = 300
SLACK_BYTES = 8 * 2**20  # by which a process's resident memory may differ between thirds
RUN_S = 1200


@pytest.mark.faults
def test_memory_files_and_shared_memory_stay_flat(tmp_path: Path) -> None:
    settings = config(rounds=ROUNDS, epochs_per_round=1, evaluate_every=0)
    seen: dict[tuple[str, str], list[tuple[int, float]]] = {}

    def look(run: Disturbed) -> bool:
        done = run.rounds_committed()
        for name, pid in run.pids().items():
            try:
                process = psutil.Process(pid)
                maps = process.memory_full_info()
                values = {"resident": maps.uss, "files": process.num_fds()}
            except psutil.NoSuchProcess:  # the run ended while it was looked at
                continue
            for what, value in values.items():
                seen.setdefault((name, what), []).append((done, value))
        shared = psutil.virtual_memory().shared
        seen.setdefault(("machine", "shared"), []).append((done, shared))
        return run.ended() or done > ROUNDS

    with arena() as nodes:
        run = Disturbed(nodes.address, tmp_path / "run", settings)
        run.start()
        run.wait_for(lambda: look(run), "300 rounds", RUN_S)
        run.finish()
    for (name, what), values in seen.items():
        first = statistics.median(value for done, value in values if 10 < done <= ROUNDS / 3)
        last = statistics.median(value for done, value in values if done > ROUNDS * 2 / 3)
        print(f"{name:30} {what:10} first third {first:14,.0f}, last third {last:14,.0f}")
        slack = {"files": 3, "resident": SLACK_BYTES, "shared": STORE_BYTES / 10}[what]
        assert last <= first + slack, (name, what)
