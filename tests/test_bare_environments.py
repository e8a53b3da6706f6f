"""Where a user has next to nothing: no home, no name, a cache that cannot be written; or a long TMPDIR."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from raymix.cli import main

# The command line for a user without a home and without an entry among the users, as in many a container.
HOMELESS = """
import os, pwd, sys

def nobody(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = nobody
from raymix.cli import main
sys.exit(main())
"""
PERSONAL = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "MPLCONFIGDIR")
TRAIN = ["train", "synthetic-3", "--rounds", "1", "--data.num-rows", "200", "--schedule.pretrain-epochs", "2"]


def homeless(argv: list[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in PERSONAL and not name.startswith(("XDG_", "RAY_"))
    }
    command = [sys.executable, "-c", HOMELESS, *argv]
    return subprocess.run(
        command, env=environment | more, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_a_user_without_a_home_trains_and_is_told_once_that_nothing_is_kept(tmp_path: Path) -> None:
    done = homeless([*TRAIN, "--workers", "local", "--out", "run"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no home folder; set XDG_CACHE_HOME") == 1
    assert "Traceback" not in done.stderr and (tmp_path / "run" / "report.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_user_without_a_home_is_asked_where_a_data_set_lies(tmp_path: Path) -> None:
    done = homeless(["data", "inspect", "mnist"], tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "data.dir" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_user_without_a_home_trains_on_ray(tmp_path: Path) -> None:
    done = homeless([*TRAIN, "--schedule.report", "false", "--out", "run"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no other process can reach this local Ray" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_cache_that_cannot_be_written_is_a_warning(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Path, "write_bytes", refuse)
    argv = [*TRAIN, "--workers", "local", "--schedule.report", "false", "--out", str(tmp_path / "run")]
    assert main(argv) == 0
    said = capsys.readouterr().err
    assert said.count(f"paces.json: cannot be kept ({os.strerror(code)}); it will be made again the next time") == 1


def test_a_long_folder_for_temporary_files_is_told_with_the_limit(tmp_path: Path) -> None:
    long = tmp_path / "long" / ("x" * 100)
    long.mkdir(parents=True)
    command = [sys.executable, "-m", "raymix.cli", *TRAIN, "--out", "run"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_TMPDIR"} | {"TMPDIR": str(long)}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if "error" in line]
    assert "cannot exceed 107 bytes" in line and line.endswith(
        "set RAY_TMPDIR to a folder with a short path, such as /tmp"
    )
