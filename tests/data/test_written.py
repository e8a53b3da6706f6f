"""Runs, searches and folders of runs among the images are no data; what would make data pass for a run is refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from raymix.config import Config, DataConfig
from raymix.data.source import DataSpec
from raymix.data.written import require_apart
from raymix.errors import ConfigError, DataError
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.record import SEARCH
from raymix.storage import Storage

HERE = DataConfig(name="file", path=".")


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)


def run(folder):
    """As a run leaves it, with a picture of its own."""
    RunDirectory(Storage.at(folder)).create(Config(), DataSpec("digits", 1, (1, 8, 8), "uint8"), {})
    picture(folder / "samples.png")
    return folder


@pytest.fixture
def photos(tmp_path) -> Path:
    for name in ("0", "1", "2"):
        picture(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def own(photos, kind):
    """Something that raymix writes into the folder."""
    match kind:
        case "run":
            run(photos / "mine")
        case "run, deep":
            run(photos / "a" / "b" / "mine")
        case "runs":
            run(photos / "runs" / "photos-001")
            picture(photos / "runs" / "samples.png")
        case "runs of a table":
            run(photos / "runs" / "tables" / "case-0")
            picture(photos / "runs" / "tables" / "figure.png")
        case "search":
            run(photos / "searched" / "trials" / "a1")
            (photos / "searched" / SEARCH).write_text("{}")
            picture(photos / "searched" / "figure.png")


KINDS = ["run", "run, deep", "runs", "runs of a table", "search"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_raymix_wrote_is_passed_over(photos, open_file, kind):
    before = open_file(photos)
    own(photos, kind)
    after = open_file(photos)
    assert after.spec == before.spec
    assert [after.where(row) for row in range(3)] == [before.where(row) for row in range(3)]
    assert after.notes == ("passed over: 1 folder of a run",)


@pytest.mark.parametrize("kind", KINDS)
def test_what_raymix_wrote_is_passed_over_in_a_zip(photos, open_file, kind, tmp_path):
    own(photos, kind)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in sorted(photos.rglob("*")):
            archive.write(file, f"photos/{file.relative_to(photos)}")
    source = open_file(tmp_path / "a.zip")
    assert source.spec.num_rows == 3 and source.spec.classes == ()
    assert source.notes == ("passed over: 1 folder of a run",)


def test_several_are_counted_together(photos, open_file):
    run(photos / "one")
    run(photos / "two")
    (photos / "notes.txt").write_text("about")
    assert open_file(photos).notes == ("passed over: 1 file that is no image (.txt), 2 folders of runs",)


def test_a_run_that_has_just_begun_changes_nothing(photos, open_file):
    (photos / "runs" / "photos-001").mkdir(parents=True)
    source = open_file(photos)
    assert source.spec.num_rows == 3 and source.notes == ()


def test_a_folder_of_images_named_runs_is_data(photos, open_file):
    picture(photos / "runs" / "marathon.png")
    (photos / "config.yaml").write_text("about: nothing")
    source = open_file(photos)
    assert source.spec.num_rows == 4 and source.spec.classes == (".", "runs")


def test_a_run_is_no_data_itself(photos, open_file):
    with pytest.raises(DataError, match="is the directory of a run or a search, no data; name the folder of the data"):
        open_file(run(photos / "mine"))
    run(photos / "runs" / "a")
    with pytest.raises(DataError, match="holds no data"):
        open_file(photos / "runs")


def test_a_table_keeps_its_form_beside_runs(tmp_path, open_file):
    np.save(tmp_path / "rows.npy", np.ones((2, 2)))
    (tmp_path / "a.idx").write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 1, 5, 6]))
    run(tmp_path / "runs" / "a")
    assert open_file(tmp_path).spec.num_rows == 2


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (".", "is the folder of the data"),
        ("../photos", "is the folder of the data"),
        ("cats", "would make the images in .*cats pass for a run's"),
        ("dogs", "would make the images in .*dogs pass for a run's"),
        ("cats/runs/x", None),
        ("runs/photos-001", "would make the images in .*runs pass for a run's"),
        ("new", None),
        ("../elsewhere", None),
        ("..", None),
    ],
)
def test_data_do_not_come_to_pass_for_a_run(photos, monkeypatch, out, message):
    picture(photos / "cats" / "c.png")
    picture(photos / "dogs" / "d.png")
    (photos / "dogs" / "d.png").rename(photos / "dogs" / "d")
    picture(photos / "runs" / "marathon.png")
    monkeypatch.chdir(photos)
    if message is None:
        require_apart(out, HERE)
        return
    with pytest.raises(ConfigError, match=message):
        require_apart(out, HERE)


def test_a_folder_of_runs_takes_another_run(photos, monkeypatch):
    monkeypatch.chdir(photos)
    run(photos / "runs" / "photos-001")
    require_apart("runs/photos-002", HERE)


@pytest.mark.parametrize("out", ["s3://bucket/photos", "s3://bucket/photos/?region=x", "s3://key:word@bucket/photos"])
def test_a_folder_elsewhere_is_told_from_its_options(out):
    there = DataConfig(name="file", path="s3://bucket/photos")
    with pytest.raises(ConfigError, match="s3://bucket/photos: is the folder of the data"):
        require_apart(out, there)
    require_apart(f"{out.partition('?')[0].rstrip('/')}-2", there)


def test_the_folder_of_a_known_set_is_one_of_data(tmp_path):
    with pytest.raises(ConfigError, match="is the folder of the data"):
        require_apart(str(tmp_path), DataConfig(name="celeba", dir=str(tmp_path)))
    require_apart(str(tmp_path), DataConfig(name="digits"))
