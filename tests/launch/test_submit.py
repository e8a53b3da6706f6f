"""Jobs: what is refused before anything is sent, and a real one whose client is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.local_cluster import local_cluster
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
