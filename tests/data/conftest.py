"""Small real files of every form, and the folder of real data where there is one."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from raymix.config import DataConfig
from raymix.data.open import open_source
from raymix.data.source import Source

_IDX_CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def _idx_bytes(array: NDArray[np.generic]) -> bytes:
    header = bytes([0, 0, _IDX_CODES[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def idx_bytes():
    """array -> the bytes of its idx file."""
    return _idx_bytes


@pytest.fixture
def open_file():
    """(path, settings) -> source of a file or folder."""

    def open_(path: Path, **settings: object) -> Source:
        return open_source(DataConfig(name="file", path=str(path), **settings))

    return open_


@pytest.fixture
def grey() -> NDArray[np.uint8]:
    """Images (7, 5, 4)."""
    return np.random.default_rng(0).integers(0, 256, (7, 5, 4), dtype=np.uint8)


@pytest.fixture
def colour() -> NDArray[np.uint8]:
    """Images (6, 5, 4, 3), channels last."""
    return np.random.default_rng(1).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)


@pytest.fixture
def image_folder(tmp_path: Path, colour: NDArray[np.uint8]) -> Path:
    """Six PNGs in the folders cat and dog, and files that are to be passed over."""
    folder = tmp_path / "images"
    for row, image in enumerate(colour):
        place = folder / ("cat" if row < 4 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{row}.png")
    (folder / "README.txt").write_text("about")
    (folder / ".hidden.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def real_data() -> Path:
    """The folder of real data; skips the test where there is none."""
    folder = Path(os.environ.get("RAYMIX_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no real data: set RAYMIX_DATA")
    return folder
