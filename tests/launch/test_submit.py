"""Jobs: what is refused before anything is sent, and a real one whose client is killed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from launch.local_cluster import Place, local_cluster
from launch.submit import Lines, default_name, entrypoint_of, split
from raymix.checkpoint import RunDirectory, digest
from raymix.errors import ConfigError
from raymix.storage import Storage

ROOT = Path(__file__).parents[2]
QUICK = [
    "synthetic-3",
    "--num-components=2",
    "--data.num-rows=600",
    "--schedule.report=false",
    "--resources.pack=2",
    "--resources.fused=true",
]


def test_the_command_stands_after_two_dashes() -> None:
    assert split(["--name", "a", "--", "train", "--", "x"]) == (["--name", "a"], ["train", "--", "x"])
    assert split(["--attach", "a"]) == (["--attach", "a"], [])


def test_a_job_takes_the_address_of_its_own_cluster() -> None:
    assert entrypoint_of(["train", "digits", "--out", "s3://b/my run"]) == (
        "python -m raymix.cli train digits --out 's3://b/my run' --address auto"
    )
    assert entrypoint_of(["train", "--workers=local", "--out=/runs/a"]).endswith("--out=/runs/a")
    assert entrypoint_of(["report", "/runs/a"]) == "python -m raymix.cli report /runs/a"


@pytest.mark.parametrize("out", [[], ["--out", "runs/a"], ["--out=a"]])
def test_a_result_that_would_go_with_the_job_is_refused(out: list[str]) -> None:
    with pytest.raises(ConfigError, match="deleted after it"):
        entrypoint_of(["train", "digits", *out])


def test_jobs_are_named_by_recipe_and_time() -> None:
    assert default_name(["train", "digits", "--rounds", "3"]).startswith("raymix-digits-")
    assert default_name(["train", "--out", "x"]).startswith("raymix-train-")


def test_each_character_is_shown_once_over_connections(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(None, "job")
    for text in ("a\n", "a\nb", "a\n", "a\nb\nc\n"):
        lines.show(text)
    assert capsys.readouterr().out == "a\nb\nc\n"


def test_misuse_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    done = submit("--attach", "a", "--", "train")
    _, err = done.communicate(timeout=60)
    assert done.returncode == 2 and err.count("\n") == 1


def submit(*words: str, **environment: str) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "launch.submit", *words], cwd=ROOT, env=environment, **pipes)


@pytest.mark.slow
def test_a_job_survives_its_client_which_can_come_back(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="needs raymix[cluster]")
    out = tmp_path / "job"
    with local_cluster([0, 1, 1], dashboard=True) as cluster:
        where = ["--address", str(cluster.dashboard)]
        command = ["train", *QUICK, "--rounds=30", "--out", str(out)]
        client = submit(*where, "--name", "first", "--", *command, **cluster.environment)
        assert client.stderr is not None
        deadline = time.monotonic() + 120
        while not (out / "record.jsonl").exists():
            assert time.monotonic() < deadline and client.poll() is None, client.stderr.read()
            time.sleep(0.2)
        client.send_signal(signal.SIGKILL)
        client.communicate()
        again = submit(*where, "--name", "first", "--", *command, **cluster.environment)
        assert again.wait(60) == 2 and "known to the cluster" in again.communicate()[1]
        back = submit(*where, "--attach", "first", **cluster.environment)
        shown, told = back.communicate(timeout=240)
        assert back.returncode == 0, told
        assert [shown.count(f"round {t}/30:") for t in range(31)] == [1] * 31
        assert "job first: succeeded" in told
        nobody = submit(*where, "--attach", "nobody", **cluster.environment)
        assert "knows no such job" in nobody.communicate(timeout=60)[1] and nobody.returncode == 2
    here = tmp_path / "here"
    words = [sys.executable, "-m", "raymix.cli", "train", *QUICK, "--rounds=30", "--workers=local", f"--out={here}"]
    subprocess.run(words, check=True, cwd=ROOT, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert digest(RunDirectory(Storage.at(out))) == digest(RunDirectory(Storage.at(here)))


MNIST = ["mnist-small", "--num-components=8", "--data.num-rows=2000", "--rounds=3", "--data.block-bytes=524288"]
MNIST += ["--resources.pack=4", "--resources.fused=true", "--resources.cpus-per-component=0.25"]


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def bridge() -> str:
    """Its name, and what those of its namespaces and devices begin with."""
    return f"rx{os.getpid() % 10_000}"


@contextmanager
def namespaces(num: int, folder: Path) -> Iterator[Callable[[int], Place]]:
    """Network namespaces on a bridge, each with a folder of its own for Ray, as if they were machines."""
    name = bridge()
    run("ip", "link", "add", name, "type", "bridge")
    try:
        run("ip", "addr", "add", "10.231.7.1/24", "dev", name)
        run("ip", "link", "set", name, "up")
        for i in range(num):
            run("ip", "netns", "add", f"{name}-{i}")
            run("ip", "link", "add", f"{name}v{i}", "type", "veth", "peer", "name", "eth0", "netns", f"{name}-{i}")
            run("ip", "link", "set", f"{name}v{i}", "master", name, "up")
            inside = ("ip", "-n", f"{name}-{i}")
            run(*inside, "addr", "add", f"10.231.7.{i + 2}/24", "dev", "eth0")
            run(*inside, "link", "set", "eth0", "up")
            run(*inside, "link", "set", "lo", "up")
            run(*inside, "route", "add", "default", "via", "10.231.7.1")
            (folder / str(i)).mkdir()
        Path("/tmp/ray").mkdir(exist_ok=True)
        own = 'mount --bind "$0" /tmp/ray && exec "$@"'  # seen by this node alone

        def place_of(i: int) -> Place:
            prefix = ("ip", "netns", "exec", f"{name}-{i}", "sh", "-c", own, str(folder / str(i)))
            return Place(f"10.231.7.{i + 2}", prefix)

        yield place_of
    finally:
        for i in range(num):
            subprocess.run(["ip", "netns", "del", f"{name}-{i}"], capture_output=True)
        subprocess.run(["ip", "link", "del", name], capture_output=True)


def bytes_sent(num: int) -> list[int]:
    """By each node so far, over the bridge."""
    return [int(Path(f"/sys/class/net/{bridge()}v{i}/statistics/rx_bytes").read_text()) for i in range(num)]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["loopback", "namespaces"])
def test_a_job_on_four_nodes_has_the_digest_of_one_machine(network: str, tmp_path: Path, real_data: Path) -> None:
    pytest.importorskip("aiohttp", reason="needs raymix[cluster]")
    out, here = tmp_path / "job", tmp_path / "here"
    more: dict[str, Any] = {}
    command = ["train", *MNIST, f"--data-dir={real_data / 'mnist'}"]
    began = time.monotonic()
    with ExitStack() as stack:
        if network == "namespaces":
            if os.geteuid() != 0 or shutil.which("ip") is None:
                pytest.skip("only root makes network namespaces")
            # sockets of Ray have long names, so its folders need short ones
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rx")))
            more = {"place_of": stack.enter_context(namespaces(4, folder))}
        cluster = stack.enter_context(local_cluster([0, 1, 1, 1], dashboard=True, **more))
        print(f"{network}: cluster after {time.monotonic() - began:.1f} s")
        where = ["--address", str(cluster.dashboard)]
        client = submit(*where, "--name", "show", "--", *command, "--out", str(out), **cluster.environment)
        deadline = time.monotonic() + 200
        while not (out / "record.jsonl").exists():
            assert time.monotonic() < deadline and client.poll() is None
            time.sleep(0.2)
        client.send_signal(signal.SIGKILL)
        client.communicate()
        shown, told = submit(*where, "--attach", "show", **cluster.environment).communicate(timeout=250)
        assert "job show: succeeded" in told and "round 3/3:" in shown, shown + told
        print(f"{network}: job done after {time.monotonic() - began:.1f} s")
        if more:
            sent = bytes_sent(4)
            print(f"bytes sent by each node: {sent}")
            assert min(sent) > 1_000_000
    words = [sys.executable, "-m", "raymix.cli", *command, "--workers=local", f"--out={here}"]
    subprocess.run(words, check=True, cwd=ROOT, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    digests = [digest(RunDirectory(Storage.at(each))) for each in (out, here)]
    print(*digests)
    assert digests[0] == digests[1]
