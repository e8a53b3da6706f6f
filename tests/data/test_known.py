"""Data sets with a name: digits, drawn sets, and those that lie in a folder or are downloaded."""

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from raymix.config import DataConfig
from raymix.data import download, known
from raymix.data.open import known_data_sets, open_source, open_test_source
from raymix.data.synthetic import is_synthetic, modes
from raymix.errors import DataError

DRAWN = {"synthetic-3": 3, "synthetic-5": 5, "synthetic-9": 9, "ring": 8, "grid": 25}
STORED = ("mnist", "fashion-mnist", "kmnist", "omniglot", "cifar10", "celeba")


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    def refuse(*_):
        raise DataError("download was asked for")

    monkeypatch.setattr(known, "download", refuse)


def test_known_data_sets_have_a_line_each():
    lines = known_data_sets()
    assert set(lines) == {"digits", "mechanisms", *DRAWN, *STORED}
    assert all(line and "\n" not in line for line in lines.values())


def test_digits_are_scikit_learns():
    source = open_source(DataConfig(name="digits"))
    assert source.spec.row_shape == (1, 8, 8)
    assert source.spec.dtype == "uint8"
    assert source.spec.classes == tuple("0123456789")
    block = source.read(3, 1797)
    np.testing.assert_array_equal(block.rows[:, 0], load_digits().images[3:])
    np.testing.assert_array_equal(block.labels, load_digits().target[3:])
    assert open_source(DataConfig(name="digits", num_rows=100)).spec.num_rows == 100


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_rows_are_those_of_their_modes(name):
    N, M = 4000, DRAWN[name]
    source = open_source(DataConfig(name=name, num_rows=N, seed=3))
    rows, labels = source.read(0, N)
    truth = modes(name)
    assert is_synthetic(name)
    assert rows.dtype == np.float32
    assert truth.centres.shape == truth.sds.shape == (M, 2)
    assert np.ptp(np.bincount(labels, minlength=M)) <= 1
    z = (truth.unwarp(rows.astype(np.float64)) - truth.centres[labels]) / truth.sds[labels]
    assert np.abs(z.mean(axis=0)).max() < 5 / np.sqrt(N)
    assert np.abs(z.std(axis=0) - 1).max() < 5 / np.sqrt(2 * N)
    within = (np.square(z).sum(axis=1) <= 9).mean()  # chi square of 2 degrees: 0.98889
    assert abs(within - 0.98889) < 5 * np.sqrt(0.98889 * 0.01111 / N)


def test_warp_is_the_papers():
    rows = np.array([[10.0, 1.0], [-5.0, 0.0], [0.0, 2.0]])
    warped = modes("synthetic-3").warp(rows)
    np.testing.assert_allclose(warped, [[10, 1 + 4 - 4], [-5, 1 - 4], [0, 2 - 4]])
    np.testing.assert_allclose(modes("synthetic-3").unwarp(warped), rows)
    np.testing.assert_array_equal(modes("ring").unwarp(rows), rows)


def test_drawn_rows_depend_on_the_seed_alone():
    config = DataConfig(name="grid", num_rows=500, seed=1)
    rows = open_source(config).read(0, 500).rows
    np.testing.assert_array_equal(open_source(config).read(100, 200).rows, rows[100:200])
    other = open_source(DataConfig(name="grid", num_rows=500, seed=2)).read(0, 500).rows
    test = open_test_source(config).read(0, 500).rows
    assert not np.isin(rows, other).any()
    assert not np.isin(rows, test).any()
    assert open_source(DataConfig(name="grid")).spec.num_rows == 16_000


def test_modes_of_another_set_are_refused():
    with pytest.raises(DataError, match="no known modes"):
        modes("digits")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
@pytest.mark.parametrize("place", [".", "torchvision"])
def test_mnist_files_are_found_in_both_places(tmp_path, idx_bytes, grey, name, place):
    folders = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}
    folder = tmp_path if place == "." else tmp_path / folders[name] / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(grey))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.arange(7, dtype=np.uint8))))
    config = DataConfig(name=name, dir=str(tmp_path), num_rows=5)
    source = open_source(config)
    assert source.spec.name == name
    np.testing.assert_array_equal(source.read(0, 5).rows[:, 0], grey[:5])
    np.testing.assert_array_equal(source.read(0, 5).labels, np.arange(5))
    assert open_test_source(config) is None
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(grey[::-1].copy()))
    np.testing.assert_array_equal(open_test_source(config).read(0, 7).rows[:, 0], grey[::-1])


def _png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def test_cifar10_tables_get_their_class_names(tmp_path):
    images = [_png(np.full((32, 32, 3), shade, np.uint8)) for shade in range(10)]
    for split in ("train", "test"):
        table = pa.table({"image": images, "label": np.arange(10)[:: -1 if split == "test" else 1]})
        pq.write_table(table, tmp_path / f"{split}-0.parquet")
    config = DataConfig(name="cifar10", dir=str(tmp_path), num_rows=4)
    source, test = open_source(config), open_test_source(config)
    assert source.spec.classes[6] == "frog"
    assert source.spec.num_rows == 4
    assert test.spec.num_rows == 10
    np.testing.assert_array_equal(test.read(0, 2).labels, [9, 8])
    assert source.read(3, 4).rows[0].max() == 3


def test_cifar10_binary_version_is_read(tmp_path):
    rng = np.random.default_rng(0)
    rows, labels = rng.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8), np.array([3, 9, 0, 1, 1, 2], np.uint8)
    (tmp_path / "cifar-10-batches-bin").mkdir()
    for part in (0, 1, 2):
        data = b"".join(bytes([labels[i]]) + rows[i].tobytes() for i in (2 * part, 2 * part + 1))
        (tmp_path / "cifar-10-batches-bin" / f"data_batch_{part + 1}.bin").write_bytes(data)
    source = open_source(DataConfig(name="cifar10", dir=str(tmp_path)))
    for start, stop in [(0, 6), (1, 5), (3, 4), (2, 2)]:
        np.testing.assert_array_equal(source.read(start, stop).rows, rows[start:stop])
        np.testing.assert_array_equal(source.read(start, stop).labels, labels[start:stop])
    assert source.where(3).endswith("data_batch_2.bin, row 1")
    (tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin").write_bytes(data[:-1])
    with pytest.raises(DataError, match="6145 bytes"):
        open_source(DataConfig(name="cifar10", dir=str(tmp_path)))


def test_cifar10_pickles_are_not_read(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="download was asked for"):
        open_source(DataConfig(name="cifar10", dir=str(tmp_path)))


def _omniglot_zip(path, characters):
    with zipfile.ZipFile(path, "w") as archive:
        for shade, character in enumerate(characters):
            archive.writestr(f"{path.stem}/{character}/1.png", _png(np.full((3, 3), shade > 0)))


def test_omniglot_parts_share_images(tmp_path):
    _omniglot_zip(tmp_path / "images_background_small1.zip", ["Greek/a", "Latin/a"])
    _omniglot_zip(tmp_path / "images_background_small2.zip", ["Greek/a", "Greek/b"])
    config = DataConfig(name="omniglot", dir=str(tmp_path))
    source = open_source(config)
    assert source.spec.classes == ("Greek/a", "Greek/b", "Latin/a")
    assert source.spec.num_rows == 3
    assert set(np.unique(source.read(0, 3).rows)) == {0, 255}
    assert open_test_source(config) is None
    _omniglot_zip(tmp_path / "images_background.zip", ["Greek/c", "Greek/d"])
    assert open_source(config).spec.classes == ("c", "d")


def test_omniglot_unpacked_by_torchvision_is_found(tmp_path):
    for character in ("Greek/a", "Greek/b"):
        folder = tmp_path / "omniglot-py" / "images_background" / character
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(_png(np.zeros((3, 3), bool)))
    assert open_source(DataConfig(name="omniglot", dir=str(tmp_path))).spec.num_rows == 2


@pytest.mark.parametrize("place", ["img_align_celeba", "celeba/img_align_celeba", "faces", "zip"])
def test_celeba_faces_are_cropped_and_shrunk(tmp_path, place):
    image = np.zeros((218, 178, 3), np.uint8)
    image[39:179, 19:159] = 200  # exactly the middle 140 x 140
    if place == "zip":
        with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "w") as archive:
            archive.writestr("img_align_celeba/1.png", _png(image))
    else:
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "1.png").write_bytes(_png(image))
    source = open_source(DataConfig(name="celeba", dir=str(tmp_path)))
    assert source.spec.row_shape == (3, 64, 64)
    assert source.spec.classes == ()
    assert (source.read(0, 1).rows == 200).all()


def test_celeba_faces_are_turned_before_they_are_cropped(tmp_path):
    exif, face = Image.Exif(), np.zeros((218, 178), np.uint8)
    face[:109] = 200
    exif[0x0112] = 6
    Image.fromarray(np.rot90(face).copy()).save(tmp_path / "1.png", exif=exif)
    rows = open_source(DataConfig(name="celeba", dir=str(tmp_path))).read(0, 1).rows
    assert (rows[0, 0, :31] == 200).all() and (rows[0, 0, 33:] == 0).all()


def test_celeba_of_small_images_is_refused(tmp_path):
    (tmp_path / "1.png").write_bytes(_png(np.zeros((64, 64, 3), np.uint8)))
    with pytest.raises(DataError, match=r"1\.png.*at least 140 x 140"):
        open_source(DataConfig(name="celeba", dir=str(tmp_path)))


@pytest.mark.parametrize("name", STORED)
def test_failed_download_says_what_to_put_where(tmp_path, monkeypatch, name):
    def fail(*_):
        raise OSError("no route to host")

    monkeypatch.setattr(known, "download", download.download)
    monkeypatch.setattr(download, "_fetch", fail)
    monkeypatch.setattr(download, "_remotes", lambda _: ["somewhere"])
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DataError, match=rf"raymix/{name}.*no route to host.*put .* there.*data\.dir"):
        open_source(DataConfig(name=name))
    assert not list((tmp_path / ".cache" / "raymix" / name).iterdir())


def test_download_appears_whole_and_is_read(tmp_path, monkeypatch, idx_bytes, grey):
    def fetch(remote: str, folder: Path) -> None:
        array = grey if "images" in remote else np.arange(7, dtype=np.uint8)
        (folder / remote).write_bytes(idx_bytes(array))

    monkeypatch.setattr(known, "download", download.download)
    monkeypatch.setattr(download, "_fetch", fetch)
    monkeypatch.setattr(download, "_remotes", lambda _: ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
    source = open_source(DataConfig(name="mnist", dir=str(tmp_path / "new")))
    np.testing.assert_array_equal(source.read(0, 7).rows[:, 0], grey)
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_torchvision_lists_addresses_of_every_stored_set():
    pytest.importorskip("torchvision")
    for name in STORED:
        for remote in download._remotes(name):
            assert remote.urls
            assert all(url.startswith("http") for url in remote.urls)
            assert len(remote.md5) == 32
            assert remote.file


def test_fetch_tries_the_next_mirror(tmp_path, monkeypatch):
    utils = pytest.importorskip("torchvision.datasets.utils")
    tried = []

    def download_url(url, folder, file, md5):
        tried.append(url)
        if url == "first":
            raise OSError("down")
        (Path(folder) / file).write_text("x")

    monkeypatch.setattr(utils, "download_url", download_url)
    download._fetch(download._Remote(["first", "second", "third"], "a", "0" * 32), tmp_path)
    assert tried == ["first", "second"]
    with pytest.raises(OSError, match="down"):
        download._fetch(download._Remote(["first"], "a", "0" * 32), tmp_path)
