"""Small sets of images, as files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from raymix.config import DataConfig


@pytest.fixture
def save_images(tmp_path: Path) -> Callable[..., DataConfig]:
    """A data set of given rows, with labels or without."""

    def save(rows: np.ndarray, labels: np.ndarray | None = None, **settings: object) -> DataConfig:
        np.save(tmp_path / "rows.npy", rows)
        if labels is not None:
            np.save(tmp_path / "labels.npy", labels)
            settings["labels"] = str(tmp_path / "labels.npy")
        return DataConfig(name="file", path=str(tmp_path / "rows.npy"), **settings)

    return save
