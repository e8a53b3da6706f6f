"""How an actor gets at arrays in the object store: all at once where its node has room for them, else one at a time.

What an actor refers to cannot leave the store. Of a data set that outgrows it a block is therefore fetched (from
another node, or from the disk where it was spilled to), looked at, and let go.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray

from raymix.budgets import num_fakes
from raymix.config import Config
from raymix.data.source import DataSpec, block_bounds
from raymix.training.paging import Blocks, PagedBlocks

Refs = Sequence[Any]
"""References to arrays, fetched without a copy where they are on the same node."""

HELD = 0.5  # of a store that rows and samples may take together
AHEAD = 1 / 16  # of a store: rows that one actor may gather in a pass over all blocks, in its own memory
LEAST_AHEAD_BYTES = 2**26


class Pieces(NamedTuple):
    """Samples of one component."""

    sizes: tuple[int, ...]
    """Rows of each piece."""
    refs: tuple[Any, ...]


class Fetcher:
    """Fetches for one actor."""

    def __init__(
        self, config: Config, spec: DataSpec, store_bytes: float, count: Callable[[int], None] = lambda blocks: None
    ) -> None:
        """`count` is told of each block that is fetched by itself."""
        self.spec, self.count = spec, count
        self.holds_all = bytes_in_a_round(config, spec) <= HELD * store_bytes
        self.sizes = [stop - start for start, stop in block_bounds(spec, config.data.block_bytes)]
        self.ahead_bytes = max(LEAST_AHEAD_BYTES, int(AHEAD * store_bytes))

    def blocks(self, rows_B: Refs) -> Blocks:
        """The rows of the data set."""
        if self.holds_all:
            rows: list[Any] = ray.get(list(rows_B))
            return rows
        return self._paged(rows_B, self.sizes, np.dtype(self.spec.dtype))

    def samples(self, pieces: Pieces) -> Any:
        """Samples of a component, whole or in pieces."""
        first = ray.get(pieces.refs[0])
        if self.holds_all and len(pieces.refs) == 1:
            return first
        return self._paged(pieces.refs, pieces.sizes, first.dtype)

    def each(self, refs: Refs) -> Iterator[Any]:
        """The values, one after the other."""
        yield from ray.get(list(refs)) if self.holds_all else map(self._fetch, refs)

    def _fetch(self, ref: Any) -> Any:
        value = ray.get(ref)
        self.count(1)
        return value

    def _paged(self, refs: Refs, sizes: Sequence[int], dtype: np.dtype) -> PagedBlocks:
        if self.holds_all:
            held: list[Any] = ray.get(list(refs))
            return PagedBlocks(sizes, self.spec.row_shape, dtype, held.__getitem__, ahead_bytes=0)
        return PagedBlocks(sizes, self.spec.row_shape, dtype, lambda b: self._fetch(refs[b]), self.ahead_bytes)


def bytes_in_a_round(config: Config, spec: DataSpec) -> int:
    """Size of the data set and of the samples that discriminators see in a round."""
    num = config.most_components
    has_discriminators = config.competes and not config.own_density
    samples = num_fakes(config, spec.num_rows, num) * num if has_discriminators else 0
    return spec.num_rows * spec.row_bytes + samples * sample_bytes(spec)


def sample_bytes(spec: DataSpec) -> int:
    """Size of one sample, in float32."""
    return 4 * math.prod(spec.row_shape)


def piece_bounds(spec: DataSpec, num: int, block_bytes: int) -> list[tuple[int, int]]:
    """The pieces in which `num` samples of a component travel, each about as large as a block."""
    rows = max(1, block_bytes // sample_bytes(spec))
    return [(start, min(start + rows, num)) for start in range(0, num, rows)]


def store_bytes() -> float:
    """What the object store of this node holds."""
    return _stores()[ray.get_runtime_context().get_node_id()]


def may_spill(config: Config, spec: DataSpec) -> bool:
    """Whether what a round needs could outgrow the object store of a node."""
    return bytes_in_a_round(config, spec) > HELD * min(_stores().values())


def _stores() -> dict[str, float]:
    """What the object store of each living node holds."""
    return {node["NodeID"]: node["Resources"].get("object_store_memory", 0.0) for node in ray.nodes() if node["Alive"]}


def spilled_here() -> int:
    """Bytes that this node's object store has put on its disk, where Ray puts them by default."""
    session: Any = ray._private.worker._global_node
    folder = Path(session.get_session_dir_path()) / f"ray_spilled_objects_{ray.get_runtime_context().get_node_id()}"
    total = 0
    for file in folder.glob("*"):
        with suppress(FileNotFoundError):  # Ray has just deleted it
            total += file.stat().st_size
    return total
