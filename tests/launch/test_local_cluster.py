"""Clusters of several nodes, each a `ray start` of its own: started and ended, with runs, searches and jobs on them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from launch.local_cluster import Arguments, LocalCluster, cpus_of, local_cluster
from raymix.cli import main
from raymix.errors import ConfigError
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.storage import Storage

ROOT = Path(__file__).parents[2]
LIMIT_S = 600
RUN = [
    "synthetic-3",
    "--num-components=3",
    "--data.num-rows=600",
    "--data.block-bytes=1600",
    "--rounds=4",
    "--schedule.pretrain-epochs=3",
    "--schedule.epochs-per-round=3",
    "--schedule.report=false",
    "--discriminator.trunk=shared",
    "--resources.pack=3",
    "--resources.fused=true",
    "--resources.cpus-per-component=0.25",
    "--resources.place-s=240",
]


def test_processors_of_the_nodes_are_given_one_by_one_or_together() -> None:
    assert cpus_of(Arguments(nodes=3)) == [1, 1, 1]
    assert cpus_of(Arguments(nodes=3, cpus="0,2,4")) == [0, 2, 4]
    for wrong in ("1,2", "x", "-1", ""):
        with pytest.raises(ConfigError, match="--cpus"):
            cpus_of(Arguments(nodes=3, cpus=wrong))


def command(cluster: LocalCluster, *words: str) -> subprocess.Popen[str]:
    """A process of its own that knows the token."""
    environment = {**os.environ, **cluster.environment, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, "-m", *words], env=environment, cwd=ROOT, **pipes)


def output(process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, text
    return text


def digest_of(out: Path) -> str:
    return digest(RunDirectory(Storage.at(out)))


def alone(out: Path, seed: int) -> str:
    """The digest of the run in one process."""
    assert main(["train", *RUN, f"--seed={seed}", "--workers=local", f"--out={out}"]) == 0
    return digest_of(out)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A head without processors and three nodes."""
    with local_cluster([0, 1, 1, 1]) as found:
        yield found


@pytest.mark.slow
def test_the_script_starts_nodes_and_ends_all_of_their_processes() -> None:
    words = [sys.executable, "-u", "-m", "launch.local_cluster", "--nodes=2", "--cpus=1,2", "--no-dashboard"]
    script = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert script.stdout is not None
    said = [script.stdout.readline() for _ in range(3)]
    assert said[0].startswith("address: 127.0.0.2:")
    below = psutil.Process(script.pid).children(recursive=True)
    assert sum(process.name() == "raylet" for process in below) == 2
    script.send_signal(signal.SIGINT)
    assert script.wait(90) == 0
    _, left = psutil.wait_procs(below, timeout=10)
    assert not left


@pytest.mark.slow
def test_a_detached_run_outlives_its_command_and_leaves_the_cluster_by_itself(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    out, words = tmp_path / "run", [*RUN, "--seed=7"]
    told = output(
        command(cluster, "raymix.cli", "train", *words, f"--address={cluster.address}", f"--out={out}", "--detach")
    )
    assert f"read along: raymix logs {out} --address {cluster.address} --follow" in told
    assert "ties the run, and the commands above, to this node" in told
    told = output(command(cluster, "raymix.cli", "logs", str(out), f"--address={cluster.address}", "--follow"))
    assert "round 4/4" in told and "coordinator: " in told
    assert digest_of(out) == alone(tmp_path / "alone", 7)
    told = output(command(cluster, "raymix.cli", "status", str(out), f"--address={cluster.address}"))
    assert "state: finished" in told
    time.sleep(10)
    left = "import ray; from ray.util import list_named_actors as l, placement_group_table as t; ray.init('auto'); "
    left += "print('left', l(all_namespaces=True), [g for g in t().values() if g['state'] != 'REMOVED'])"
    environment = {**os.environ, **cluster.environment, "RAY_ADDRESS": cluster.address}
    done = subprocess.run([sys.executable, "-c", left], env=environment, capture_output=True, text=True, timeout=60)
    assert "left [] []" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_two_runs_and_a_search_at_once_end_with_the_digests_they_have_alone(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    where = f"--address={cluster.address}"
    search = [
        "--num-components=2,3",
        "--scheduler=none",
        "--resources.cpus-per-component=auto",
        "--resources.pack=auto",
    ]
    quick = [word for word in RUN if word.split("=")[0] not in [each.split("=")[0] for each in search]]
    started = [
        command(cluster, "raymix.cli", "train", *RUN, f"--seed={seed}", where, f"--out={tmp_path / str(seed)}")
        for seed in (1, 2)
    ]
    started.append(command(cluster, "raymix.cli", "tune", *quick, *search, where, f"--out={tmp_path / 'search'}"))
    for process in started:
        output(process)
    for seed in (1, 2):
        assert digest_of(tmp_path / str(seed)) == alone(tmp_path / f"alone-{seed}", seed)
    output(command(cluster, "raymix.cli", "tune", *quick, *search, where, f"--out={tmp_path / 'search-alone'}"))
    found = [
        sorted(digest_of(run) for run in (tmp_path / name / "trials").iterdir()) for name in ("search", "search-alone")
    ]
    assert found[0] == found[1] and len(found[0]) == 2
