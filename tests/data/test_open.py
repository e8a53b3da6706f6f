"""The way in: names, paths, limits, and the one kind of error."""

import gzip
import os
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raymix.config import DataConfig
from raymix.data.open import known_data_sets, open_source, open_test_source
from raymix.data.scan import scan
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


def _forms(folder, idx_bytes, grey):
    """One good file of each form."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20, 3)).astype(np.float32)
    np.save(folder / "a.npy", vectors)
    np.savez(folder / "b.npz", x=vectors, y=np.arange(20) % 3)
    np.savez_compressed(folder / "c.npz", x=vectors, y=np.arange(20) % 3)
    (folder / "d.idx").write_bytes(idx_bytes(grey))
    (folder / "e.idx.gz").write_bytes(gzip.compress(idx_bytes(grey)))
    pq.write_table(pa.table({"x": vectors[:, 0], "label": [str(i % 2) for i in range(20)]}), folder / "f.parquet")
    for name, mode in (("p.png", "L"), ("j.jpg", "RGB"), ("t.tif", "L"), ("g.gif", "P"), ("m.bmp", "RGB")):
        Image.fromarray(grey[0]).convert(mode).resize((16, 16)).save(folder / name)
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            archive.write(folder / name, name)
        (folder / name).unlink()
    return sorted(folder.iterdir())


def _complaint(path, open_file):
    try:
        scan(open_file(path), 100)
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.filterwarnings("ignore")  # decoders warn about damage
def test_damage_anywhere_is_a_data_error_or_harmless(tmp_path, open_file, idx_bytes, grey):
    rng = np.random.default_rng(0)
    (tmp_path / "good").mkdir()
    for good in _forms(tmp_path / "good", idx_bytes, grey):
        scan(open_file(good), 100)
        content = good.read_bytes()
        refused = 0
        for trial in range(60):
            bad = bytearray(content)
            if trial % 3 == 0:
                bad = bad[: rng.integers(len(bad))]
            else:
                for place in rng.integers(len(bad), size=1 + trial % 7):
                    bad[place] = rng.integers(256)
            path = tmp_path / good.name
            path.write_bytes(bad)
            line = _complaint(path, open_file)
            assert "\n" not in line
            assert good.name in line or not line
            refused += bool(line)
        assert refused >= 20, good.name
