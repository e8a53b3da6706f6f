"""Files of a run directory: whole or absent, on the disk when written, and one line when that fails."""

import errno
import io
import json
import os
from urllib.parse import quote

import pyarrow.fs as pafs
import pytest

from raymix import storage as module
from raymix.errors import CheckpointError, DamagedError, MissingError, StorageFullError
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
    with pytest.raises(MissingError, match=r"/none\.json: is missing$"):
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


# ---- addresses


@pytest.mark.parametrize("form", ["file://{}", "file:{}", "file://{}/", "{}/"])
def test_local_addresses_are_paths(tmp_path, form):
    folder = tmp_path / "two words %41"
    storage = Storage.at(form.format(quote(str(folder)) if form.startswith("file") else folder))
    assert storage.uri == storage.where() == str(folder) and storage.is_local
    storage.write("a", b"1")
    assert (folder / "a").read_bytes() == b"1"


def test_messages_name_a_file_without_keys_and_options():
    storage = Storage.at("s3://key:secret@bucket/runs/a/?endpoint_override=127.0.0.1:9&scheme=http")
    assert storage.where() == "s3://bucket/runs/a" and storage.where("b/c") == "s3://bucket/runs/a/b/c"


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("s3://bucket/runs/a/?endpoint_override=127.0.0.1:9&scheme=http", pafs.S3FileSystem),
        ("s3://bucket/runs/a?region=eu-west-1&allow_delayed_open=false", pafs.S3FileSystem),
        ("gs://anonymous@bucket/runs/a", pafs.GcsFileSystem),
        ("gs://bucket/runs/a?scheme=http&endpoint_override=127.0.0.1:9", pafs.GcsFileSystem),
    ],
)
def test_names_are_joined_to_the_path_of_an_address(monkeypatch, uri, kind):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    paths = []
    monkeypatch.setattr(module.Remote, "write", lambda self, path, content: paths.append((self.filesystem, path)))
    Storage.at(uri).write("b/c", b"")
    ((filesystem, path),) = paths
    assert isinstance(filesystem, kind) and path == "bucket/runs/a/b/c"


@pytest.mark.parametrize("uri", ["s9://bucket/run", "s3://bucket/run?unknown=1"])
def test_addresses_that_mean_nothing_are_refused(uri):
    with pytest.raises(CheckpointError, match=r"cannot be reached \(.*give a folder, s3:// or gs://$"):
        Storage.at(uri).exists("a")


def test_an_address_without_a_bucket_is_refused():
    with pytest.raises(CheckpointError, match=r"^s3:.*: names no bucket; give s3://BUCKET/FOLDER"):
        Storage.at("s3://?region=us-east-1").exists("a")


# ---- on the disk


def test_a_file_and_its_folders_are_on_the_disk_before_a_write_returns(tmp_path, monkeypatch):
    done = []
    real = {name: getattr(os, name) for name in ("fsync", "replace", "open")}
    opened = {}

    def fsync(descriptor):
        done.append(("sync", opened.get(descriptor, "a file")))
        real["fsync"](descriptor)

    def replace(source, target):
        done.append(("name", target))
        real["replace"](source, target)

    def open_(path, *rest, **settings):
        descriptor = real["open"](path, *rest, **settings)
        opened[descriptor] = path
        return descriptor

    for name, function in (("fsync", fsync), ("replace", replace), ("open", open_)):
        monkeypatch.setattr(os, name, function)
    Storage.at(tmp_path).write("new/folder/file", b"x")
    folder = f"{tmp_path}/new/folder"
    assert done[:2] == [("sync", "a file"), ("name", f"{folder}/file")]
    assert sorted(done[2:]) == sorted(("sync", place) for place in (folder, f"{tmp_path}/new", str(tmp_path)))


def test_a_folder_that_cannot_be_synced_is_let_pass_and_a_broken_one_is_not(tmp_path, monkeypatch):
    real = os.fsync

    def fail(code):
        def fsync(descriptor):
            if os.path.isdir(f"/proc/self/fd/{descriptor}"):
                raise OSError(code, os.strerror(code))
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)

    fail(errno.EINVAL)
    Storage.at(tmp_path).write("a", b"")
    fail(errno.EIO)
    with pytest.raises(CheckpointError, match=r"/a: cannot be written \(Input/output error\)$"):
        Storage.at(tmp_path).write("a", b"")


@pytest.mark.parametrize("call", ["mkdir", "write", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, call, code):
    storage = Storage.at(tmp_path)
    storage.write("kept/file", b"old")

    def fail(*args, **settings):
        raise OSError(code, os.strerror(code))

    class Failing(io.FileIO):
        write = fail

    with monkeypatch.context() as patch:
        if call == "write":
            patch.setattr(module, "open", Failing, raising=False)
        else:
            patch.setattr(os, call, fail)
        name = "new/file" if call == "mkdir" else "kept/file"
        with pytest.raises(CheckpointError) as caught:
            storage.write(name, b"123")
    if code in (errno.ENOSPC, errno.EDQUOT):
        assert isinstance(caught.value, StorageFullError)
        assert (caught.value.path, caught.value.needed_bytes) == (f"{tmp_path}/{name}", 3)
        assert caught.value.free_bytes > 0
    else:
        assert str(caught.value) == f"{tmp_path}/{name}: cannot be written ({os.strerror(code)})"
    assert storage.read("kept/file") == b"old" and storage.names("kept") == ["file"]


def test_a_write_that_is_interrupted_leaves_nothing_half(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Storage.at(tmp_path).write("a", b"1")
    assert os.listdir(tmp_path) == []


def test_a_part_that_was_taken_away_is_no_missing_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: [os.unlink(part) for part in tmp_path.iterdir()])
    with pytest.raises(CheckpointError, match=r"/a: cannot be written \(No such file or directory\)$") as caught:
        Storage.at(tmp_path).write("a", b"1")
    assert not isinstance(caught.value, DamagedError)


def test_parts_of_killed_writers_are_deleted_and_nothing_else(tmp_path):
    storage = Storage.at(tmp_path)
    for name in ("a/x.part-0123abcd", "a/x.part-1", "a/x", "a/partly", "b/y.part-0123abcd"):
        storage.write(name, b"")
    storage.delete_parts("a")
    storage.delete_parts("none")
    assert storage.names("a") == ["partly", "x", "x.part-1"] and storage.names("b") == ["y.part-0123abcd"]


def test_what_is_not_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    storage = Storage.at(tmp_path / "file")
    assert not storage.exists("a") and storage.names("a") == []
    with pytest.raises(CheckpointError, match=r"/file/a: cannot be read \(Not a directory\)$"):
        storage.read("a")
    with pytest.raises(CheckpointError, match=r"/file/a: cannot be written \(File exists\)$"):
        storage.write("a", b"")


# ---- content


def test_content_is_held_against_its_stamp(storage):
    stamp = storage.write("a", b"content")
    assert storage.read("a", stamp) == b"content"
    storage.write("a", b"Content")
    with pytest.raises(DamagedError, match=r"/a: is not what was written$"):
        storage.read("a", stamp)


VALUES = {"round": 3, "names": ["ä", "b"], "nested": {"x": 1.5, "none": None}}


def test_json_comes_back_and_is_json_for_everyone(storage, tmp_path):
    stamp = storage.write_json("a.json", VALUES)
    assert storage.read_json("a.json") == VALUES
    assert FileStamp.of((tmp_path / "a.json").read_bytes()) == stamp
    assert json.loads((tmp_path / "a.json").read_text()).keys() == {*VALUES, "sha256"}


def test_json_with_any_bit_another_or_cut_anywhere_is_damaged(tmp_path):
    storage = Storage.at(tmp_path)
    storage.write_json("a.json", VALUES)
    content = storage.read("a.json")
    flipped = [
        content[: i // 8] + bytes([content[i // 8] ^ 1 << i % 8]) + content[i // 8 + 1 :]
        for i in range(8 * len(content))
    ]
    for changed in (*flipped, *(content[:length] for length in range(len(content))), content + b" ", content + b"\n"):
        (tmp_path / "a.json").write_bytes(changed)
        with pytest.raises(DamagedError, match="is not what was written"):
            storage.read_json("a.json")
