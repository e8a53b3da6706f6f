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
from raymix.cli import main
from raymix.errors import ConfigError
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.storage import Storage

ROOT = Path(__file__).parents[2]
SETTINGS = ["--num-components=8", "--rounds=3", "--resources.pack=4", "--resources.fused=true"]
SETTINGS += ["--resources.cpus-per-component=0.25", "--resources.place-s=240", "--schedule.report=false"]
LIMIT_S = 600


def test_the_command_stands_after_two_dashes() -> None:
    assert split(["--name", "a", "--", "train", "--", "x"]) == (["--name", "a"], ["train", "--", "x"])
    assert split(["--attach", "a"]) == (["--attach", "a"], [])


def test_a_job_takes_the_address_of_its_own_cluster() -> None:
    assert entrypoint_of(["train", "digits", "--out", "s3://b/my run"]) == (
        "python -m raymix.cli train digits --out 's3://b/my run' --address auto"
    )
    assert entrypoint_of(["train", "--workers=local", "--out=/runs/a"]).endswith("--out=/runs/a")
    assert entrypoint_of(["report", "/runs/a"]) == "python -m raymix.cli report /runs/a"
    assert entrypoint_of(["tune", "--resume", "/runs/s"]).endswith("tune --resume /runs/s --address auto")


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


@pytest.fixture
def command() -> list[str]:
    """K = 8 on some thousand images of MNIST, or where it is absent on scikit-learn's digits."""
    place = Path(os.environ.get("RAYMIX_DATA", ROOT.parent / "shared" / "data"), "mnist")
    data = ["mnist-small", f"--data-dir={place}", "--data.num-rows=2000", "--data.block-bytes=524288"]
    return ["train", *(data if place.is_dir() else ["digits", "--data.block-bytes=32768"]), *SETTINGS]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["loopback", "namespaces"])
def test_a_job_survives_its_client_and_has_the_digest_of_one_machine(
    network: str, command: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp", reason="needs raymix[cluster]")
    out, here = tmp_path / "job", tmp_path / "here"
    more: dict[str, Any] = {}
    began = time.monotonic()
    with ExitStack() as stack:
        if network == "namespaces":
            if os.geteuid() != 0 or shutil.which("ip") is None:
                pytest.skip("only root makes network namespaces")
            # sockets of Ray have long names, so its folders need short ones
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rx")))
            more = {"place_of": stack.enter_context(namespaces(4, folder))}
        cluster = stack.enter_context(local_cluster([0, 1, 1, 1], dashboard=True, **more))
        print(f"\n{network}: four nodes after {time.monotonic() - began:.1f} s")
        where = ["--address", str(cluster.dashboard)]
        first = [*where, "--name", "first", "--", *command, "--out", str(out)]
        client = submit(*first, **cluster.environment)
        deadline = time.monotonic() + LIMIT_S
        while not (out / "record.jsonl").exists():
            assert time.monotonic() < deadline and client.poll() is None, client.communicate()
            time.sleep(0.2)
        client.send_signal(signal.SIGKILL)
        client.communicate()
        back = submit(*where, "--attach", "first", **cluster.environment)
        again, nobody = submit(*first, **cluster.environment), submit(*where, "--attach", "x", **cluster.environment)
        assert "is known to the cluster" in again.communicate(timeout=LIMIT_S)[1] and again.returncode == 2
        assert "knows no such job" in nobody.communicate(timeout=LIMIT_S)[1] and nobody.returncode == 2
        shown, told = back.communicate(timeout=LIMIT_S)
        assert back.returncode == 0 and "job first: succeeded" in told, shown + told
        assert [shown.count(f"round {t}/3:") for t in range(4)] == [1] * 4
        print(f"{network}: job done after {time.monotonic() - began:.1f} s")
        if more:
            sent = bytes_sent(4)
            print(f"bytes sent by each node: {sent}")
            assert min(sent) > 1_000_000
    assert main([*command, "--workers=local", f"--out={here}"]) == 0
    digests = [digest(RunDirectory(Storage.at(each))) for each in (out, here)]
    print(*digests)
    assert digests[0] == digests[1]
