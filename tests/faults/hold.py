"""Lets a test stop a run's coordinator at a named place, so that a process can be killed just there.

`install` runs in every Ray process of a run (Ray's worker_process_setup_hook). A place is held once: the coordinator
writes the file `reached` and goes on when `go` is there.
"""

import functools
import importlib.util
import json
import os
import sys
import time
from importlib.abc import MetaPathFinder
from pathlib import Path

HOLD_S = 60
FOLDER = "RAYMIX_HOLD"  # environment variable with the folder of the files below
PHASES = ("pretrain", "train_generators", "train_discriminators", "score", "commit")
"""By whose arguments the present round is known."""


def install() -> None:
    """Patch the coordinator's process once it knows what it is; all others stay as quick as they are."""
    sys.meta_path.insert(0, AfterImport())


class AfterImport(MetaPathFinder):
    """Patches when the coordinator's module is imported."""

    def find_spec(self, name, path, target=None):
        if name != "raymix.runtime.coordinator":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_patch(module):
            execute(module)
            patch()

        spec.loader.exec_module = execute_and_patch
        return spec


def patch() -> None:
    from raymix.runs.checkpoint import RunDirectory
    from raymix.runtime.lookout import Lookout
    from raymix.runtime.workers import RayWorkers

    present = {"round": 0}

    def remember_round(method):
        @functools.wraps(method)
        def phase(self, *args):
            numbers = [value for value in args[:2] if isinstance(value, int)]
            present["round"] = numbers[0] if numbers else 0
            return method(self, *args)

        return phase

    for name in PHASES:
        setattr(RayWorkers, name, remember_round(getattr(RayWorkers, name)))

    gather = Lookout.gather

    def held_gather(self, refs, doing, *args, **kwargs):  # the calls are under way
        hold(doing, present["round"])
        return gather(self, refs, doing, *args, **kwargs)

    Lookout.gather = held_gather
    publish = RunDirectory.publish

    def held_publish(self, generation):
        hold("before publish", generation.state.round)
        publish(self, generation)
        hold("after publish", generation.state.round)

    RunDirectory.publish = held_publish


def hold(place: str, round: int) -> None:
    folder = Path(os.environ[FOLDER])
    plan = folder / "plan.json"
    if not plan.exists() or (folder / "reached").exists():
        return
    wanted = json.loads(plan.read_text())
    if wanted["place"] != place or (wanted["round"] is not None and wanted["round"] != round):
        return
    (folder / "reached").write_text(f"{place} {round}")
    deadline = time.monotonic() + HOLD_S
    while not (folder / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
