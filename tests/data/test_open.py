"""The way in: names, paths, limits, and the one kind of error."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raymix.config import DataConfig
from raymix.data.open import known_data_sets, open_source, open_test_source
from raymix.errors import DataError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "mnits"}, "did you mean mnist"),
        ({"name": "qqq"}, "known are file, digits"),
        ({"name": "file"}, "set data.path"),
        ({"name": "digits", "path": "x.npy"}, "set data.name to file"),
        ({"name": "digits", "num_rows": 1798}, "1798 rows asked of 1797"),
        ({"name": "file", "path": "/nowhere/a.npy"}, "does not exist"),
        ({"name": "file", "path": "/dev/null"}, "is no file"),
        ({"name": "file", "path": "a\0b.npy"}, "cannot be read"),
        ({"name": "file", "path": "x" * 5000 + ".npy"}, "cannot be read"),
        ({"name": "file", "path": "~nobody-of-that-name/a.npy"}, "cannot be read"),
        ({"name": "mnist", "dir": "/dev/null"}, "not a folder"),
    ],
)
def test_unfit_settings_are_refused(settings, message):
    for open_ in (open_source, open_test_source):
        if open_ is open_test_source and settings["name"] in ("file", "digits") and "path" in settings:
            continue
        if open_ is open_test_source and "num_rows" in settings:
            continue
        with pytest.raises(DataError, match=message):
            open_(DataConfig(**settings))


def test_unknown_ending_says_what_is_read(tmp_path, open_file):
    for name in ("a.mat", "a", "a.gz", "a.csv"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(DataError, match=r"\.npy, \.npz, idx"):
            open_file(tmp_path / name)


def test_folder_of_two_forms_is_refused(tmp_path, open_file):
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "a.parquet")
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="several forms"):
        open_file(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_and_folder_are_refused(tmp_path, open_file):
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    (tmp_path / "a.npy").chmod(0)
    with pytest.raises(DataError, match="may not be read"):
        open_file(tmp_path / "a.npy")
    (tmp_path / "folder").mkdir(mode=0)
    with pytest.raises(DataError, match="may not be read"):
        open_file(tmp_path / "folder")
    with pytest.raises(DataError, match="may not be read"):
        open_source(DataConfig(name="mnist", dir=str(tmp_path / "folder")))


def test_files_have_no_test_rows(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    assert open_test_source(DataConfig(name="file", path=str(tmp_path / "a.npy"))) is None
    assert open_test_source(DataConfig(name="digits")) is None


def test_a_file_named_like_a_known_set_is_not_taken_for_it(tmp_path, open_file):
    np.save(tmp_path / "ring", np.ones((2, 2)))
    assert open_file(tmp_path / "ring.npy").spec.name not in known_data_sets()
