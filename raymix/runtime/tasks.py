"""Work on single blocks and files, as retryable tasks that ask no processor and so never wait behind actors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from raymix.config import DataConfig
from raymix.data.blocks import read_blocks, read_features
from raymix.data.paths import sizes_here
from raymix.data.source import DataSpec
from raymix.runs import checkpoint
from raymix.runtime.fetching import spilled_here
from raymix.state import Assigned
from raymix.storage import FileStamp, Storage

RETRIES = 3
Tensors = dict[str, NDArray[np.generic]]


@ray.remote(num_cpus=0, max_retries=RETRIES, num_returns=2)
def read_block(config: DataConfig, spec: DataSpec, start: int, stop: int) -> tuple[Any, Any]:
    """A block's rows and labels. Lost ones are made again by reading the source again."""
    (block,) = read_blocks(config, spec, [(start, stop)])
    return block.rows, block.labels


@ray.remote(num_cpus=0, max_retries=RETRIES)
def read_block_features(config: DataConfig, spec: DataSpec, start: int, stop: int) -> Any:
    """The features of a block's rows."""
    (block,) = read_features(config, spec, [(start, stop)])
    return block.rows


@ray.remote(num_cpus=0, max_retries=RETRIES)
def file_sizes(paths: Sequence[str]) -> list[int | None]:
    """Bytes of each file on this node: 0 for a folder, None for what is not there."""
    return sizes_here(paths)


@ray.remote(num_cpus=0, max_retries=RETRIES)
def spilled_bytes() -> int:
    """Bytes of the object store that lie on this node's disk."""
    return spilled_here()


@ray.remote(num_cpus=0, max_retries=RETRIES, num_returns=2)
def block_step(function: Callable[..., tuple[Any, Any]], common: Any, *values: Any) -> tuple[Any, Any]:
    """One function of `raymix.maths.blockwise` on one block: what stays, and the summary."""
    return function(common, *values)


@ray.remote(num_cpus=0, max_retries=RETRIES)
def write_states(storage: Storage, folder: str, states: Mapping[str, Tensors]) -> dict[str, FileStamp]:
    """The tensors of one actor, a file each."""
    return checkpoint.write_states(storage, folder, states)


@ray.remote(num_cpus=0, max_retries=RETRIES)
def read_states(storage: Storage, folder: str, stamps: Mapping[str, FileStamp]) -> dict[str, Tensors]:
    """The tensors of one actor by file name."""
    return {name: checkpoint.read_tensors(storage, f"{folder}/{name}", stamp) for name, stamp in stamps.items()}


@ray.remote(num_cpus=0, max_retries=RETRIES)
def write_assigned(storage: Storage, folder: str, name: str, assigned: Assigned) -> dict[str, FileStamp]:
    return {name: checkpoint.write_assigned(storage, f"{folder}/{name}", assigned)}


@ray.remote(num_cpus=0, max_retries=RETRIES)
def read_assigned(storage: Storage, name: str, stamp: FileStamp) -> Assigned:
    """A block's assignment."""
    return checkpoint.read_assigned(storage, name, stamp)
