"""Files of a run directory."""

import pytest

from raymix.errors import CheckpointError
from raymix.storage import FileStamp, Storage


@pytest.fixture(params=["path", "uri"])
def storage(request, tmp_path):
    return Storage.at(tmp_path if request.param == "path" else tmp_path.as_uri())


def test_files_come_back_and_folders_are_made(storage, tmp_path):
    stamp = storage.write("a/b/c.bin", b"\x00\xff")
    assert (tmp_path / "a/b/c.bin").read_bytes() == storage.read("a/b/c.bin") == b"\x00\xff"
    assert stamp == FileStamp.of(b"\x00\xff") and stamp.num_bytes == 2
    assert storage.names("a/b") == ["c.bin"]  # nothing temporary is left
    storage.write("a/b/c.bin", b"new")
    assert storage.read("a/b/c.bin") == b"new"


def test_what_is_not_there_is_named(storage):
    with pytest.raises(CheckpointError, match=r"/none\.json: cannot be read \(FileNotFoundError\)"):
        storage.read("none.json")
    assert not storage.exists("none.json")
    assert storage.names("none") == []
    storage.delete("none.json")


def test_files_and_folders_are_deleted(storage):
    for name in ("a/one", "a/two", "b"):
        storage.write(name, b"")
    storage.delete("a/one")
    assert storage.names("a") == ["two"]
    storage.delete("a")
    assert not storage.exists("a") and storage.exists("b")


def test_relative_paths_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Storage.at("run").uri == str(tmp_path / "run")
    assert Storage.at("run").is_local and Storage.at(tmp_path.as_uri()).is_local
    assert not Storage.at("s3://bucket/run").is_local
    assert Storage.at("s3://bucket/run").uri == "s3://bucket/run"
