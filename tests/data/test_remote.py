"""Data sets on S3, as a server in this process plays it, are those of the same files on a local disk."""

import gzip
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raymix.config import Config, DataConfig
from raymix.data.open import open_source
from raymix.errors import DataError
from raymix.recipes.resolve import resolve

ROWS = np.random.default_rng(0).integers(0, 255, (7, 4, 3), dtype=np.uint8)
LABELS = np.arange(7) % 3


def images(folder: Path) -> None:
    for i, rows in enumerate(ROWS):
        (folder / f"{LABELS[i]}").mkdir(exist_ok=True, parents=True)
        Image.fromarray(rows).save(folder / f"{LABELS[i]}" / f"{i}.png")


@pytest.fixture
def files(tmp_path: Path, idx_bytes) -> Path:
    """A folder with a data set of every form."""
    np.save(tmp_path / "a.npy", ROWS)
    np.savez_compressed(tmp_path / "a.npz", rows=ROWS, labels=LABELS)
    (tmp_path / "a.idx").write_bytes(idx_bytes(ROWS))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(ROWS)))
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").write_bytes(idx_bytes(LABELS.astype(np.uint8)))
    table = pa.table({"x": ROWS[:, 0, 0], "y1": ROWS[:, 0, 1].astype(np.float64), "label": LABELS})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    (tmp_path / "tables").mkdir()
    for name, part in (("b", table.slice(0, 4)), ("c", table.slice(4))):
        pq.write_table(part, tmp_path / "tables" / f"{name}.parquet")
    images(tmp_path / "images")
    images(tmp_path / "images" / ".hidden")
    images(tmp_path / "photos")
    for path in sorted((tmp_path / "photos").rglob("*.png"))[:3]:
        path.rename(path.with_suffix(""))
    images(tmp_path / "photos" / "runs" / "photos-001" / "more")
    for name in ("config.yaml", "run.json"):
        (tmp_path / "photos" / "runs" / "photos-001" / name).write_text("{}")
    for name in ("about.txt", "LICENSE", ".hidden.png"):
        (tmp_path / "photos" / name).write_text("about")
    (tmp_path / "labels.csv").write_text("label\n" + "\n".join(map(str, LABELS)))
    return tmp_path


@pytest.fixture
def there(files: Path, s3_options: str, request: pytest.FixtureRequest):
    """Name of a file -> its URI, once all are on S3."""
    place = re.sub(r"\W", "-", request.node.name)
    filesystem, _ = pafs.FileSystem.from_uri(f"s3://bucket?{s3_options}")
    pafs.copy_files(str(files), f"bucket/{place}", destination_filesystem=filesystem)
    return lambda name: f"s3://bucket/{place}/{name}?{s3_options}"


FORMS = ["a.npy", "a.npz", "a.idx", "mnist", "a.parquet", "tables", "images", "photos"]


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_read_as_on_a_local_disk(name, files, there):
    here = open_source(DataConfig(name="file", path=str(files / name)))
    found = open_source(DataConfig(name="file", path=there(name)))
    assert found.spec == here.spec and here.spec.num_rows == 7
    assert found.notes == here.notes and (name != "photos" or "2 files that are no images" in here.notes[0])
    for start, stop in ((0, 7), (2, 5), (6, 7), (1, 2)):
        one, other = here.read(start, stop), found.read(start, stop)
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.labels, other.labels)
    assert found.where(3).startswith(f"s3://bucket/test_every_form_is_read_as_on_a_local_disk-{name.replace('.', '-')}")
    assert "endpoint_override" not in found.where(3)


def test_a_zip_of_images_and_labels_of_their_own(files, there, tmp_path_factory):
    import shutil

    shutil.make_archive(str(files / "z"), "zip", files / "images")
    here = open_source(DataConfig(name="file", path=str(files / "z.zip"), labels=str(files / "labels.csv")))
    filesystem, place = pafs.FileSystem.from_uri(there("z.zip"))
    pafs.copy_files(str(files / "z.zip"), place, destination_filesystem=filesystem)
    found = open_source(DataConfig(name="file", path=there("z.zip"), labels=there("labels.csv")))
    assert found.spec == here.spec
    np.testing.assert_array_equal(found.read(0, 7).rows, here.read(0, 7).rows)
    np.testing.assert_array_equal(found.read(0, 7).labels, LABELS)


def test_a_resolved_config_keeps_the_uri(there):
    config, spec = resolve(Config(num_components=2, data=DataConfig(name="file", path=there("a.npy"))))
    assert config.data.path == there("a.npy") and spec.name == "file:a.npy"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, r"x\.npy: does not exist; check data\.path"),
        (lambda path: np.save(path, np.asfortranarray(np.ones((3, 2)))), r"x\.npy: is in Fortran order"),
        (lambda path: np.save(path, np.array([{}])), r"x\.npy: holds Python objects"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"), r"x\.npy: "),
        (lambda path: path.write_bytes(b"not an array"), r"x\.npy: cannot be read as a \.npy file"),
    ],
)
def test_what_is_refused_here_is_refused_there_and_keys_are_not_shown(make, message, tmp_path, there):
    make(tmp_path / "x.npy")
    uri = there("x.npy")
    if (tmp_path / "x.npy").exists():
        filesystem, place = pafs.FileSystem.from_uri(uri)
        pafs.copy_files(str(tmp_path / "x.npy"), place, destination_filesystem=filesystem)
    with pytest.raises(DataError, match=message) as caught:
        open_source(DataConfig(name="file", path=uri.replace("s3://", "s3://key:secret@")))
    assert "secret" not in str(caught.value) and "endpoint" not in str(caught.value)


def test_a_known_set_is_read_from_this_machine_only(s3_options):
    with pytest.raises(DataError, match=r"s3://bucket/mnist: is no local path"):
        open_source(DataConfig(name="mnist", dir=f"s3://bucket/mnist?{s3_options}"))


def test_a_scheme_that_nobody_knows_is_named():
    with pytest.raises(DataError, match=r"cannot be reached"):
        open_source(DataConfig(name="file", path="nowhere://a/b.npy"))
