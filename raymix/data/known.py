"""The data sets that raymix knows by name, and where their files are looked for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from raymix.config import DataConfig
from raymix.data.arrays import ArrayRows, ChainRows
from raymix.data.download import download
from raymix.data.faults import printable, reading
from raymix.data.idx import open_idx
from raymix.data.image_files import FolderImages, ZipImages, open_images
from raymix.data.parquet import open_parquet
from raymix.data.paths import inner_files, links_root, named_path, require_inside
from raymix.data.rows import Labels, RowSource
from raymix.errors import DataError

_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}
_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR10_RECORD = np.dtype([("label", "u1"), ("image", "u1", (3, 32, 32))])
_WANTED = {
    "mnist": "train-images-idx3-ubyte and train-labels-idx1-ubyte (t10k-* for tests; also as .gz)",
    "fashion-mnist": "train-images-idx3-ubyte and train-labels-idx1-ubyte (t10k-* for tests; also as .gz)",
    "kmnist": "train-images-idx3-ubyte and train-labels-idx1-ubyte (t10k-* for tests; also as .gz)",
    "cifar10": "train-*.parquet (test-*.parquet) or data_batch_1.bin ... data_batch_5.bin (test_batch.bin)",
    "omniglot": "images_background*.zip or the folder images_background",
    "celeba": "the folder img_align_celeba or img_align_celeba.zip",
}

Find = Callable[["_Files", str], RowSource | None]


def open_known(name: str, config: DataConfig) -> RowSource:
    """A known data set from its files in `config.dir`, which are downloaded first if none are there.

    Raises `DataError` if they cannot be.
    """
    folder = _folder(name, config)
    source = _find(name, folder, "train", config)
    if source is None:
        download(name, folder, _WANTED[name])
        source = _find(name, folder, "train", config)
    if source is None:
        raise DataError(f"holds no files of {name}", printable(folder), f"put {_WANTED[name]} there")
    return source


def open_known_test(name: str, config: DataConfig) -> RowSource | None:
    """The test split, or None where `config.dir` holds none."""
    return _find(name, _folder(name, config), "test", config)


def _find(name: str, folder: Path, split: str, config: DataConfig) -> RowSource | None:
    files = _Files(folder, links_root(config.links_within), config.ground)
    with reading(folder, f"a folder with {name}", f"put {_WANTED[name]} there"):
        return _FINDERS[name](files, split)


def folder_of(name: str, config: DataConfig) -> str:
    """Where the files of a known data set lie."""
    return config.dir or f"~/.cache/raymix/{name}"


def _folder(name: str, config: DataConfig) -> Path:
    text = folder_of(name, config)
    with reading(text, "a folder", "check data.dir"):
        folder = named_path(text, "data.dir")
        if folder.exists() and not folder.is_dir():
            raise DataError("is not a folder", printable(text), "check data.dir")
    return folder


@dataclass(frozen=True)
class _Files:
    """Files of a data set, and how they are read."""

    folder: Path
    links_within: Path | None
    ground: str | None

    def first(self, places: list[str], names: list[str]) -> Path | None:
        paths = [self.folder / place / name for place in places for name in names]
        found = next((path for path in paths if path.is_file()), None)
        if found is not None:
            require_inside(found, self.folder, self.links_within)
        return found

    def all(self, pattern: str) -> list[Path]:
        return inner_files(self.folder, list(self.folder.glob(pattern)), self.links_within)

    def images(self, name: str) -> FolderImages | None:
        """Those of a folder inside."""
        folder = self.folder / name
        if not folder.is_dir():
            return None
        require_inside(folder, self.folder, self.links_within)
        return FolderImages(folder, self.links_within)


def _find_idx(files: _Files, split: str, name: str) -> RowSource | None:
    """MNIST and its kin: images and labels in the folder itself or where torchvision puts them."""
    start = "train" if split == "train" else "t10k"
    places = [".", f"{_TORCHVISION[name]}/raw"]
    images = files.first(places, [f"{start}-images-idx3-ubyte", f"{start}-images-idx3-ubyte.gz"])
    labels = files.first(places, [f"{start}-labels-idx1-ubyte", f"{start}-labels-idx1-ubyte.gz"])
    return None if images is None else open_idx(images, name, labels)


def _find_cifar10(files: _Files, split: str) -> RowSource | None:
    """Parquet files, or the binary version. The version of pickles is never read."""
    tables = files.all(f"{split}-*.parquet")
    if tables:
        source = open_parquet(tables, "cifar10", ground=files.ground)
        if source.labels is None or source.labels.classes != tuple("0123456789"):
            return replace(source, notes=())
        return replace(source, labels=Labels(source.labels.codes, _CIFAR10_CLASSES), notes=())
    pattern = "data_batch_*.bin" if split == "train" else "test_batch.bin"
    paths = files.all(pattern) or files.all(f"cifar-10-batches-bin/{pattern}")
    if not paths:
        return None
    batches = [_read_cifar10_batch(path) for path in paths]
    rows = ChainRows([ArrayRows(batch["image"], printable(path)) for batch, path in zip(batches, paths, strict=True)])
    codes = np.concatenate([np.array(batch["label"]) for batch in batches])
    if codes.max() > 9:
        raise DataError(f"holds the label {codes.max()}", printable(paths[0].parent), "get the files again")
    return RowSource("cifar10", rows, Labels(codes, _CIFAR10_CLASSES))


def _read_cifar10_batch(path: Path) -> np.ndarray:
    with reading(path, "a CIFAR-10 batch", "get the file again"):
        size = path.stat().st_size
        if not size or size % _CIFAR10_RECORD.itemsize:
            what = f"has {size} bytes, no multiple of {_CIFAR10_RECORD.itemsize}"
            raise DataError(what, printable(path), "get it again")
        return np.memmap(path, _CIFAR10_RECORD, mode="r")


def _find_omniglot(files: _Files, split: str) -> RowSource | None:
    """The background set, whole or in its small parts (which share alphabets: an image in both is one row)."""
    if split == "test":
        return None
    store: FolderImages | ZipImages | None
    for place in ("", "omniglot-py/"):
        whole, parts = f"{place}images_background.zip", f"{place}images_background*.zip"
        archives = files.all(whole) or files.all(parts)
        store = ZipImages(archives) if archives else files.images(f"{place}images_background")
        if store is not None:
            return open_images(store, printable(files.folder / place), "omniglot", ground=files.ground)
    return None


def _find_celeba(files: _Files, split: str) -> RowSource | None:
    """Faces of 178 x 218, cut to the middle 140 x 140 and made 64 x 64."""
    if split == "test" or not files.folder.is_dir():
        return None
    store: FolderImages | ZipImages | None = None
    for place in ("", "celeba/"):
        store = files.images(f"{place}img_align_celeba")
        if store is None and (archives := files.all(f"{place}*.zip")):
            store = ZipImages(archives)
        if store is not None:
            break
    store = store or FolderImages(files.folder, files.links_within)
    if not store.names:
        return None
    return replace(open_images(store, printable(files.folder), "celeba", _crop_face, files.ground), labels=None)


def _crop_face(image: Image.Image) -> Image.Image:
    if min(image.size) < 140:
        raise ValueError(f"{image.width} x {image.height} pixels, at least 140 x 140 are needed")
    left, top = round((image.width - 140) / 2), round((image.height - 140) / 2)
    return image.crop((left, top, left + 140, top + 140)).resize((64, 64), Image.Resampling.BILINEAR)


_FINDERS: dict[str, Find] = {
    "mnist": lambda files, split: _find_idx(files, split, "mnist"),
    "fashion-mnist": lambda files, split: _find_idx(files, split, "fashion-mnist"),
    "kmnist": lambda files, split: _find_idx(files, split, "kmnist"),
    "cifar10": _find_cifar10,
    "omniglot": _find_omniglot,
    "celeba": _find_celeba,
}


@lru_cache(maxsize=1)
def open_digits() -> RowSource:
    """scikit-learn's 1,797 digits, (1, 8, 8) uint8 from 0 to 16."""
    from sklearn.datasets import load_digits  # takes a second to import, and few runs need it

    digits = load_digits()
    codes = digits.target.astype(np.uint8)
    rows = ArrayRows(digits.images.astype(np.uint8), "digits")
    return RowSource("digits", rows, Labels(codes, tuple(str(digit) for digit in range(10))))
