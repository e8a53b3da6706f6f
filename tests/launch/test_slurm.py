"""launch/slurm.sh with a Slurm of three nodes that all are this machine: `srun` starts real processes here."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from launch.local_cluster import free_ports
from raymix.runs.checkpoint import RunDirectory
from raymix.storage import Storage

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "slurm.sh"
LIMIT_S, END_S = 480.0, 120.0
TOOLS = {
    "scontrol": '#!/bin/bash\n[ "$1 $2" = "show hostnames" ] && printf "%s\\n" ${3//,/ }\n',
    # drops its options, runs the command once per task, and hands on signals as the real one does; nodes that share a
    # machine take the names of their sockets in turn
    "srun": """#!/bin/bash
tasks=1
while [[ $1 == --* ]]; do [[ $1 == --ntasks=* ]] && tasks=${1#*=}; shift; done
echo "$tasks $*" >> "$SRUN_LOG"
pids=()
for _ in $(seq "$tasks"); do "$@" & pids+=($!); [ "$tasks" = 1 ] || sleep 10; done
trap 'kill -TERM "${pids[@]}" 2>/dev/null' TERM
code=0
for pid in "${pids[@]}"; do while kill -0 "$pid" 2>/dev/null; do wait "$pid"; code=$?; done; done
exit $code
""",
    "python": f'#!/bin/bash\nexec {sys.executable} "$@"\n',
    "ray": f'#!/bin/bash\nexec {sys.executable} -m ray.scripts.scripts "$@"\n',
    "raymix": f'#!/bin/bash\nexec {sys.executable} -m raymix.cli "$@"\n',
}
RUN = ["train", "synthetic-3", "--num-components=2", "--data.num-rows=600", "--schedule.report=false"]
RUN += ["--resources.pack=2", "--resources.fused=true"]


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a job."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in TOOLS.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "one,two,three", "SLURM_CPUS_PER_TASK": "1"}
    ports = {"RAYMIX_PORT": str(free_ports(1)[0]), "RAYMIX_OBJECT_STORE_BYTES": str(2**28)}
    paths = {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "SRUN_LOG": str(tmp_path / "srun.log")}
    return {**os.environ, **job, **ports, **paths}


@contextmanager
def started(words: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A job, which is over with the block."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    job = subprocess.Popen(["bash", str(SCRIPT), *words], env=environment, start_new_session=True, **pipes)
    try:
        yield job
    finally:
        job.terminate()
        job.communicate(timeout=END_S)


def left_of(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run after a while: Ray's agents look for their raylet every few seconds."""
    _, found = psutil.wait_procs(processes, timeout=60)
    left = [each for each in found if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    for each in left:
        each.kill()
    return left


def test_bash_can_parse_it_and_says_how_it_is_used() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    done = subprocess.run(["bash", str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("usage: sbatch launch/slurm.sh COMMAND")


def test_what_it_asks_slurm_for() -> None:
    asked = [line.removeprefix("#SBATCH ") for line in SCRIPT.read_text().splitlines() if line.startswith("#SBATCH")]
    assert "--ntasks-per-node=1" in asked
    assert "--signal=B:TERM@120" in asked


@pytest.mark.slow
def test_head_and_workers_run_a_command_and_end_with_it(slurm: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started([*RUN, "--rounds=3", "--out", str(out)], slurm) as job:
        text, _ = job.communicate(timeout=LIMIT_S)
    assert job.returncode == 0, text
    assert "raymix: 3 nodes at " in text and "round 3/3" in text
    steps = Path(slurm["SRUN_LOG"]).read_text().splitlines()
    assert [step.split()[0] for step in steps] == ["1", "1", "2", "1"]
    assert "--head" in steps[1] and "--address" in steps[2]
    assert not any("RAY_AUTH_TOKEN" in step for step in steps)
    directory = RunDirectory(Storage.at(out))
    assert directory.require_last().state.round == 3


@pytest.mark.slow
def test_a_job_whose_time_is_over_ends_in_order_and_leaves_nothing(slurm: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    with started([*RUN, "--rounds=2000", "--out", str(out)], slurm) as job:
        deadline = time.monotonic() + LIMIT_S
        while not (out / "record.jsonl").exists():
            assert time.monotonic() < deadline and job.poll() is None
            time.sleep(0.2)
        below = psutil.Process(job.pid).children(recursive=True)
        assert sum(process.name() == "raylet" for process in below) == 3
        job.send_signal(signal.SIGTERM)
        text, _ = job.communicate(timeout=END_S)
    assert job.returncode == 143
    assert f"go on with `raymix resume {out}`" in text
    assert not left_of(below)
