"""A disk that fills up: one typed error, the last commit stays, and with room again the run ends with the same bits."""

import pickle
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from killed_commits import ROUNDS, config

from raymix import cli, session
from raymix.config import Config
from raymix.errors import StorageFullError
from raymix.evaluation import report_files as reporting
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.runs.record import read_record
from raymix.runs.run import Status
from raymix.storage import Storage

PAGE = 4096  # what a small file takes
PAGES = 200


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={PAGES * PAGE}", "raymix-test", str(place)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command, so no small disk to fill")
    if answer.returncode:
        pytest.skip(f"a small disk cannot be mounted here ({answer.stderr.strip()})")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(reporting, "report_files", lambda *args: {"samples.png": b"drawn"})


@pytest.fixture(name="config")
def tiny_config(tmp_path: Path) -> Config:
    return config(tmp_path)


@pytest.fixture
def reference(config: Config, tmp_path: Path) -> str:
    session.start(*resolve(config), str(tmp_path / "undisturbed"), workers="local")
    return digest(RunDirectory(Storage.at(tmp_path / "undisturbed")))


def fill(disk: Path, pages_left: int) -> None:
    """Leave so many pages free."""
    pages = shutil.disk_usage(disk).free // PAGE - pages_left
    (disk / "filler").write_bytes(bytes(pages * PAGE))


def filled_after_round_1(config: Config, disk: Path, pages_left: int) -> StorageFullError | None:
    """Train on a disk that fills up meanwhile; the error it ended with, if it did not fit."""

    def watch(status: Status) -> None:
        if any(line.round == 1 for line in status.lines):
            fill(disk, pages_left)

    try:
        session.start(*resolve(config), str(disk / "run"), workers="local", watch=watch)
    except StorageFullError as error:
        return error
    return None


def check_and_go_on(disk: Path, error: StorageFullError, reference: str) -> int:
    """Returns the last round that was committed before the disk was full."""
    directory = RunDirectory(Storage.at(disk / "run"))
    assert error.path.startswith(str(disk / "run")) and error.needed_bytes > 0
    assert error.needed_bytes > error.free_bytes or error.free_bytes < 3 * PAGE
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert not list(disk.rglob("*.part-*"))
    last = directory.last()
    assert last is not None
    rounds = [g.state.round for g in directory.generations()]
    assert rounds == list(range(last.state.round + 1))
    (disk / "filler").unlink()
    assert session.resume(str(disk / "run"), workers="local")
    assert digest(RunDirectory(Storage.at(disk / "run"))) == reference
    assert [line.round for line in read_record(directory.storage)] == list(range(ROUNDS + 1))
    return last.state.round


def test_a_full_disk_ends_the_run_and_spares_the_last_commit(
    config: Config, disk: Path, reference: str, capsys: pytest.CaptureFixture
) -> None:
    error = filled_after_round_1(config, disk, pages_left=3)
    assert error is not None and "generations/000002-0001/" in error.path
    assert cli.main(["resume", str(disk / "run"), "--workers", "local"]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "the disk or quota is full" in line and "go on with `raymix resume`" in line
    assert check_and_go_on(disk, error, reference) == 1


@pytest.mark.faults
@pytest.mark.parametrize("pages_left", range(16))
def test_a_disk_that_fills_up_at_any_write(config: Config, disk: Path, reference: str, pages_left: int) -> None:
    error = filled_after_round_1(config, disk, pages_left)
    if error is None:
        assert digest(RunDirectory(Storage.at(disk / "run"))) == reference
    else:
        assert check_and_go_on(disk, error, reference) in (1, 2, 3)


def test_a_new_run_that_does_not_fit_says_so(config: Config, disk: Path) -> None:
    resolved = resolve(config)
    fill(disk, 0)
    with pytest.raises(StorageFullError, match=r"/run"):
        session.start(*resolved, str(disk / "run"), workers="local")
    (disk / "filler").unlink()
    session.start(*resolved, str(disk / "run"), workers="local")


def test_a_file_that_does_not_fit_leaves_the_old_one(disk: Path) -> None:
    storage = Storage.at(disk)
    storage.write("a", b"old")
    fill(disk, 4)
    with pytest.raises(StorageFullError) as caught:
        storage.write("a", bytes(9 * PAGE))
    assert (caught.value.path, caught.value.needed_bytes) == (f"{disk}/a", 9 * PAGE)
    assert 0 < caught.value.free_bytes <= 4 * PAGE
    assert storage.read("a") == b"old" and storage.names(".") == ["a", "filler"]
