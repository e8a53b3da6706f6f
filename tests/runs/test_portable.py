import errno
import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from raymix.errors import CheckpointError
from raymix.runs.portable import TemporaryFolder, unpacked

OWNER = """
import gc, os, sys
from raymix.errors import CheckpointError
from raymix.runs.portable import TemporaryFolder

folder = TemporaryFolder()
open(os.path.join(folder, "file"), "w").close()
print(os.fspath(folder), flush=True)
if os.fork() == 0:
    del folder
    gc.collect()
    sys.exit()
os.wait()
print(os.path.exists(os.path.join(folder, "file")))
"""


def test_a_temporary_folder_goes_with_its_object() -> None:
    folder = TemporaryFolder()
    path = Path(folder)
    (path / "inner").mkdir()
    (path / "inner" / "file").touch()
    del folder
    assert not path.exists()


def test_a_temporary_folder_goes_with_its_process_and_not_with_a_forked_one() -> None:
    command = [sys.executable, "-W", "error", "-c", OWNER]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    path, there = done.stdout.splitlines()
    assert there == "True" and not os.path.exists(path) and done.stderr == ""


def test_contents_lie_where_their_names_say() -> None:
    folder = unpacked({"a": b"1", "deep/er/b": b"2"})
    assert [Path(folder, name).read_bytes() for name in ("a", "deep/er/b")] == [b"1", b"2"]


def test_where_no_temporary_folder_can_be_made_an_error_names_tmpdir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/none")
    with pytest.raises(CheckpointError, match=r"a temporary folder: cannot be made \(No such file.*set TMPDIR"):
        TemporaryFolder()


def test_contents_without_room_leave_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*set TMPDIR"):
        unpacked({"a": b"1"})
    gc.collect()
    assert not list(tmp_path.iterdir())
