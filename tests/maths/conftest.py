"""Rows in blocks, and who owns them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.local import map_blocks
from raymix.maths.blockwise import BlockMap
from raymix.maths.ownership import Ownership


@pytest.fixture(scope="session")
def own() -> Callable[..., Ownership]:
    """An ownership of blocks of some sizes, or of given rows; `values` are the config's fields."""

    def make(
        sizes: Sequence[int],
        rows_B: Sequence[Any] | None = None,
        classes_B: Sequence[Any] | None = None,
        num_classes: int = 0,
        block_map: BlockMap = map_blocks,
        **values: Any,
    ) -> Ownership:
        rows_B = rows_B or [np.zeros((size, 2), np.float32) for size in sizes]
        classes = tuple(str(c) for c in range(num_classes))
        spec = DataSpec("rows", sum(sizes), rows_B[0].shape[1:], str(rows_B[0].dtype), classes)
        classes_B = classes_B or [None for _ in sizes]
        return Ownership(Config(**values), spec, block_map, list(rows_B), list(classes_B), list(sizes))

    return make
