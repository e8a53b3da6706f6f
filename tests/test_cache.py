import errno
import json
import multiprocessing
import os
import pwd
from pathlib import Path

import numpy as np
import pytest

from raymix.cache import cache_file, cache_folder, keep, kept, tensors_hash, write_whole

TENSORS = {"weight": np.arange(12, dtype=np.float32).reshape(3, 4), "scale": np.array([2.0]), "none": np.empty((0, 2))}
ABOUT = {"definition": "three", "accuracy": 0.5}


def test_tensors_come_back_as_they_were(tmp_path):
    path = tmp_path / "deep" / "a.safetensors"
    keep(path, TENSORS, ABOUT)
    found = kept(path)
    assert found.about == ABOUT
    assert found.tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        np.testing.assert_array_equal(found.tensors[name], value, strict=True)
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]


def test_a_file_that_is_not_there_is_none_without_a_word(tmp_path, caplog):
    assert kept(tmp_path / "a.safetensors") is None
    assert not caplog.records


def test_any_damaged_byte_is_found(tmp_path, caplog):
    path = tmp_path / "a.safetensors"
    keep(path, TENSORS, ABOUT)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        found = kept(path)
        if found is not None:  # a byte of the header that means nothing, such as a space
            assert found.about == ABOUT and tensors_hash(found.tensors) == tensors_hash(TENSORS)
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        assert kept(path) is None
    assert "a.safetensors: is damaged" in caplog.records[-1].message


def test_a_folder_in_the_place_of_a_file_is_a_warning(tmp_path, caplog):
    path = tmp_path / "a.safetensors"
    path.mkdir()
    assert kept(path) is None
    keep(path, TENSORS, ABOUT)
    assert "cannot be kept" in caplog.records[-1].message
    assert list(tmp_path.iterdir()) == [path]


def _write_often(path, number):
    for _ in range(50):
        keep(path, {"a": np.full(5000, number)}, {"number": number})


def test_writers_at_the_same_time_leave_a_whole_file(tmp_path, caplog):
    path = tmp_path / "a.safetensors"
    _write_often(path, 0)
    writers = [multiprocessing.get_context("spawn").Process(target=_write_often, args=(path, n)) for n in (1, 2)]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers) or reads == 0:
        found = kept(path)
        assert (found.tensors["a"] == found.about["number"]).all()
        reads += 1
    for writer in writers:
        writer.join()
    assert not caplog.records
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_hash_follows_names_types_shapes_bits_and_what_is_told():
    base = {"a": np.zeros((2, 3), np.float32)}
    others = [
        {"b": base["a"]},
        {"a": base["a"].astype(np.int32)},
        {"a": base["a"].reshape(3, 2)},
        {"a": base["a"] + np.eye(2, 3, dtype=np.float32)},
        {**base, "c": np.empty(0)},
    ]
    hashes = [tensors_hash(each) for each in (base, *others)] + [tensors_hash(base, "told")]
    assert len(set(hashes)) == len(hashes)
    assert tensors_hash({"a": np.asfortranarray(base["a"])}) == hashes[0]


def test_folder_is_the_one_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "raymix"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "raymix"


def test_a_file_that_cannot_be_written_whole_leaves_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError):  # noqa: PT011 (the kind differs between systems)
        write_whole(tmp_path / "a", json.dumps(1).encode())
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_user_without_a_home_keeps_nothing(monkeypatch, tmp_path, caplog):
    def nobody(uid):
        raise KeyError(uid)

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert cache_folder() is None and cache_file("a") is None
    keep(None, TENSORS, ABOUT)
    assert kept(None) is None
    assert cache_file("deep/a", tmp_path) == tmp_path / "deep" / "a"


def test_a_full_disk_is_a_warning_and_leaves_nothing(monkeypatch, tmp_path, caplog):
    def full(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    keep(tmp_path / "a.safetensors", TENSORS, ABOUT)
    assert "a.safetensors: cannot be kept (No space left on device)" in caplog.text
    assert list(tmp_path.iterdir()) == []
