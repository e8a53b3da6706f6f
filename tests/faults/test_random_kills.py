"""Fifty kills at random times of random processes, several in one run."""

import random
import time
from pathlib import Path

import pytest
from arena import arena
from harness import DISCRIMINATORS, GENERATORS, Disturbed, config, undisturbed_digest

KILLS, KILLS_PER_RUN = 50, 5
VICTIMS = (GENERATORS, DISCRIMINATORS, "coordinator", "raylet", "driver")
COMMITS_APART = (0, 1, 2, 4)
SECONDS_APART = (0.0, 4.0)


@pytest.mark.faults
def test_fifty_random_kills_leave_no_trace(tmp_path: Path) -> None:
    settings, rng = config(rounds=30), random.Random(0)
    expected = undisturbed_digest(settings, tmp_path / "undisturbed")
    kills = runs = 0
    with arena() as nodes:
        while kills < KILLS:
            run = Disturbed(nodes.address, tmp_path / f"run-{runs}", settings)
            run.start()
            for _ in range(KILLS_PER_RUN):
                run.wait_for_commits(min(run.rounds_committed() + rng.choice(COMMITS_APART), settings.schedule.rounds))
                time.sleep(rng.uniform(*SECONDS_APART))
                victim = rng.choice(VICTIMS)
                if run.ended() or run.rounds_committed() > settings.schedule.rounds:
                    break
                nodes.strike(run, victim)
                kills += 1
                print(f"kill {kills}, run {runs}: {victim} after {run.rounds_committed()} commits", flush=True)
                if victim == "driver":
                    run.driver.wait()
                    run.start("resume")
            run.finish()
            run.require(expected)
            runs += 1
    print(f"{kills} kills in {runs} runs, each ended with the digest of an undisturbed one")
