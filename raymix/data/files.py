"""What a path holds, told by its ending or, of a folder, by what lies in it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from raymix.config import DataConfig
from raymix.data.arrays import open_npy, open_npz
from raymix.data.faults import listing, printable, reading
from raymix.data.idx import is_idx, open_idx
from raymix.data.image_files import ZipImages, folder_images, open_images
from raymix.data.parquet import open_parquet
from raymix.data.paths import Place, inner_places, links_root, named_place, shown
from raymix.data.remote import RemotePath
from raymix.data.rows import RowSource
from raymix.data.written import NamedTree, is_marked
from raymix.errors import DataError

READABLE = ".npy, .npz, idx (also .gz), .parquet, .zip of images, or a folder of Parquet files, idx files or images"
_TABLES = (".parquet", ".pq")


def open_path(text: str, config: DataConfig) -> RowSource:
    """Rows of a file or folder, read as the config says. Raises `DataError` with what is read if it is none of that."""
    place = shown(text)
    with reading(place, "a path", "check data.path"):
        path = named_place(text, "data.path")
        is_file, is_folder, exists = path.is_file(), path.is_dir(), path.exists()
        name = f"file:{printable(path.name if isinstance(path, RemotePath) else path.resolve().name)}"
    if is_folder:
        return _open_folder(path, name, config)
    if not is_file:
        raise DataError("is no file" if exists else "does not exist", place, "check data.path")
    if is_idx(path):
        return open_idx(path, name)
    match path.suffix.lower():
        case ".npy":
            return open_npy(path, name)
        case ".npz":
            return open_npz(path, name)
        case ".parquet" | ".pq":
            return open_parquet([path], name, config.columns, config.ground)
        case ".zip":
            return open_images(ZipImages([path]), place, name, ground=config.ground)
    raise DataError("is no form of data that is read", place, f"give {READABLE}")


def _open_folder(path: Place, name: str, config: DataConfig) -> RowSource:
    place, within = printable(path), links_root(config.links_within)
    with reading(path, "a folder", "check the folder"):
        items = [item for item in path.iterdir() if not item.name.startswith(".")]
    if is_marked(NamedTree(item.name for item in items), ""):
        raise DataError("is the directory of a run or a search, no data", place, "name the folder of the data")
    idx = inner_places(path, [item for item in items if is_idx(item)], within)
    tables, keys = _tables_below(path, within)
    store = folder_images(path, within)
    if sum(map(bool, (idx, tables, store.names))) > 1:
        raise DataError("holds several forms of data", place, "keep Parquet files, idx files or images alone")
    if idx:
        return _open_idx_folder(place, idx, name)
    if tables:
        source = open_parquet(tables, name, config.columns, config.ground)
        note = f"keys of the folders are left out: {listing(keys)}"
        return replace(source, notes=(*source.notes, note)) if keys else source
    if store.names:
        return open_images(store, place, name, ground=config.ground)
    raise DataError("holds no data that is read", place, f"give {READABLE}")


def _tables_below(folder: Place, within: Path | None) -> tuple[list[Place], list[str]]:
    """Parquet files of a folder and of its partitions (folders `key=value`, one in another), in the order of their
    names, and the keys. As other readers do, it passes over what begins with a dot or a low line."""
    with reading(folder, "a folder", "check the folder"):
        items = sorted(item for item in folder.iterdir() if item.name[0] not in "._")
    tables = inner_places(folder, [item for item in items if item.suffix.lower() in _TABLES], within)
    keys: dict[str, None] = {}
    for item in items:
        key, equals, _ = item.name.partition("=")
        if equals and item.is_dir():
            below, more = _tables_below(item, within)
            if below:
                tables += below
                keys |= dict.fromkeys([key, *more])
    return tables, list(keys)


def _open_idx_folder(place: str, files: Sequence[Place], name: str) -> RowSource:
    """Images and labels, told by their names; of MNIST's four files the training ones."""
    train = [file for file in files if file.name.startswith("train")]
    files = train or files
    labels = [file for file in files if "label" in file.name]
    images = [file for file in files if "label" not in file.name]
    if len(images) != 1 or len(labels) > 1:
        found = listing(file.name for file in files)
        raise DataError(f"holds the idx files {found}", place, "keep one of images and one of labels")
    return open_idx(images[0], name, labels[0] if labels else None)
