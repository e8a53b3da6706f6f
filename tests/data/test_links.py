"""Links in a folder of data lead where a setting allows, and nowhere else."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raymix.config import Config, DataConfig
from raymix.data.open import open_source
from raymix.data.scan import scan
from raymix.errors import DataError
from raymix.recipes.resolve import resolve


def picture(path, level=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), level).save(path, "PNG")


@pytest.fixture
def cache(tmp_path) -> Path:
    """As a hub lays out what it has fetched: names that lead to files named after their content."""
    for row in range(4):
        picture(tmp_path / "hub" / "blobs" / f"{row:064x}", level=row)
        name = tmp_path / "hub" / "snapshots" / "rev" / ("cat" if row < 2 else "dog") / f"{row}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        name.symlink_to(f"../../../blobs/{row:064x}")
    picture(tmp_path / "elsewhere" / "x.png", level=9)
    return tmp_path / "hub"


@pytest.fixture
def snapshot(cache) -> Path:
    return cache / "snapshots" / "rev"


def test_links_within_a_folder_are_followed(cache, snapshot, open_file):
    source = open_file(snapshot, links_within=str(cache))
    assert source.spec.classes == ("cat", "dog")
    np.testing.assert_array_equal(source.read(0, 4).rows[:, 0, 0, 0], [0, 1, 2, 3])
    assert source.where(0) == str(snapshot / "cat" / "0.png")


def test_links_out_of_the_data_name_the_setting(snapshot, open_file):
    with pytest.raises(DataError, match=r"0\.png: is a link out of the folder; .*set data\.links_within to a folder"):
        open_file(snapshot)


def test_links_to_folders_are_followed(cache, snapshot, open_file):
    picture(cache / "more" / "deep" / "4.png", level=4)
    (snapshot / "eel").symlink_to(cache / "more")
    (snapshot / "cat" / "again").symlink_to("../dog")
    source = open_file(snapshot, links_within=str(cache))
    assert source.spec.classes == ("cat", "cat/again", "dog", "eel/deep")
    assert sorted(source.read(0, 7).rows[:, 0, 0, 0]) == [0, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("x.png", "elsewhere/x.png", r"x\.png: is a link out of the folder and of .*hub"),
        ("x", "elsewhere/x.png", r"x: is a link out of the folder and of .*hub"),
        ("x", "elsewhere", r"x: is a link out of the folder and of .*hub"),
        ("x.png", "hub/gone", r"x\.png: is no plain file: a link to nothing"),
        ("x", "hub/gone", r"x: is no plain file: a link to nothing"),
        ("x", "hub/snapshots/rev/x", r"x: is no plain file: a link to nothing"),
        ("x", "hub/snapshots/rev", r"x: is a link that leads in a circle; remove it"),
        ("x", "hub/snapshots", r"x: is a link that leads in a circle"),
        ("cat/x", "hub/snapshots/rev/cat", r"cat/x: is a link that leads in a circle"),
    ],
)
def test_other_links_are_named(tmp_path, cache, snapshot, open_file, name, target, message):
    (snapshot / name).symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=message):
        open_file(snapshot, links_within=str(cache))


def test_a_circle_of_two_links_is_named(cache, snapshot, open_file):
    (snapshot / "cat" / "x").symlink_to("../dog")
    (snapshot / "dog" / "y").symlink_to("../cat")
    with pytest.raises(DataError, match=r"(cat/x/y|dog/y/x): is a link that leads in a circle"):
        open_file(snapshot, links_within=str(cache))


def test_a_link_to_a_run_is_passed_over(cache, snapshot, open_file):
    for name in ("config.yaml", "run.json"):
        (cache / "run").mkdir(exist_ok=True)
        (cache / "run" / name).write_text("{}")
    picture(cache / "run" / "samples.png")
    (snapshot / "latest").symlink_to(cache / "run")
    source = open_file(snapshot, links_within=str(cache))
    assert source.spec.num_rows == 4 and source.notes == ("passed over: 1 folder of a run",)


def test_tables_and_idx_files_may_be_links_too(tmp_path, open_file, idx_bytes):
    blobs, tables, digits = tmp_path / "blobs", tmp_path / "tables", tmp_path / "digits"
    for folder in (blobs, tables, digits):
        folder.mkdir()
    pq.write_table(pa.table({"a": [1.0, 2.0]}), blobs / "1")
    (blobs / "2").write_bytes(gzip.compress(idx_bytes(np.ones((3, 2, 2), np.uint8))))
    (tables / "train-0.parquet").symlink_to("../blobs/1")
    (digits / "train-images-idx3-ubyte.gz").symlink_to("../blobs/2")
    for folder, rows in ((tables, 2), (digits, 3)):
        with pytest.raises(DataError, match="link out of the folder"):
            open_file(folder)
        assert scan(open_file(folder, links_within=str(tmp_path)), 2**20).spec.num_rows == rows
    known = DataConfig(name="mnist", dir=str(digits), links_within=str(tmp_path))
    assert open_source(known).spec.num_rows == 3


@pytest.mark.parametrize("place", ["gone", "hub/blobs/" + "0" * 64])
def test_where_links_may_lead_is_a_folder(tmp_path, snapshot, cache, open_file, place):
    with pytest.raises(DataError, match=r"is no folder; check data\.links_within"):
        open_file(snapshot, links_within=str(tmp_path / place))


def test_a_resolved_config_keeps_where_links_may_lead(cache, snapshot, monkeypatch):
    monkeypatch.chdir(cache)
    data = DataConfig(name="file", path="snapshots/rev", links_within=".")
    config, spec = resolve(Config(num_components=2, data=data))
    assert config.data.links_within == str(cache) and spec.num_rows == 4
