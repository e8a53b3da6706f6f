"""Assigning millions of rows to 32 components: the coordinator stays small, and time grows with the rows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

NUM_COMPONENTS = 32
COORDINATOR_BYTES = 300e6

SCRIPT = """
import json, sys
from pathlib import Path
from raymix.config import AssignConfig, Config, DataConfig, DiscriminatorConfig, ScheduleConfig
from raymix.families.centroid import CentroidConfig
from raymix.runs.record import read_record
from raymix.recipes.resolve import resolve
from raymix.runtime.living import living_coordinator, look
from raymix import session
from raymix.storage import Storage

path, out, num_components = sys.argv[1:]
config, spec = resolve(Config(
    num_components=int(num_components),
    data=DataConfig(name="file", path=path, block_bytes=2**21),
    model=CentroidConfig(),
    discriminator=DiscriminatorConfig(body="none"),
    schedule=ScheduleConfig(rounds=2, pretrain_epochs=0),
    assign=AssignConfig(normalise=False),
))
peak = 0

def watch(status):
    global peak
    coordinator = living_coordinator(out)
    if coordinator is not None:
        pid = look(coordinator).processes[0].pid
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        peak = max(peak, *(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")))

session.start(config, spec, out, watch=watch)
seconds = [line.seconds["assign"] for line in read_record(Storage.at(out))]
print(json.dumps({"peak_bytes": peak, "assign_s": sorted(seconds)[1]}))
"""


def assigned(folder: Path, num_rows: int) -> dict[str, float]:
    """Peak memory of the coordinator and seconds of one assignment, in a run of its own."""
    path = folder / f"{num_rows}.npy"
    np.save(path, np.random.default_rng(0).normal(size=(num_rows, 1)).astype(np.float32))
    command = [sys.executable, "-c", SCRIPT, str(path), str(folder / str(num_rows)), str(NUM_COMPONENTS)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=1200)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{num_rows:,} rows: {found['assign_s']:.2f} s, coordinator {found['peak_bytes'] / 1e6:.0f} MB at most")
    return found


@pytest.mark.slow
def test_ten_million_rows_pass_the_coordinator_by(tmp_path: Path) -> None:
    small, large = assigned(tmp_path, 1_000_000), assigned(tmp_path, 10_000_000)
    assert 0 < large["peak_bytes"] < COORDINATOR_BYTES
    assert large["assign_s"] < 1.5 * 10 * small["assign_s"]
