"""Work on single blocks and files, as retryable tasks that ask no processor and so never wait behind actors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from raymix import checkpoint
from raymix.config import DataConfig
from raymix.data.open import open_source
from raymix.seeds import numpy_rng
from raymix.state import Assigned
from raymix.storage import FileStamp, Storage

RETRIES = 3


@ray.remote(num_cpus=0, max_retries=RETRIES, num_returns=2)
def read_block(config: DataConfig, start: int, stop: int) -> tuple[Any, Any]:
    """A block's rows and labels. Lost ones are made again by reading the source again."""
    block = open_source(config).read(start, stop)
    return block.rows, block.labels


@ray.remote(num_cpus=0, max_retries=RETRIES, num_returns=2)
def block_step(function: Callable[..., tuple[Any, Any]], common: Any, *values: Any) -> tuple[Any, Any]:
    """One function of `raymix.maths.blockwise` on one block: what stays, and the summary."""
    return function(common, *values)


@ray.remote(num_cpus=0, max_retries=RETRIES)
def write_tensors(storage: Storage, name: str, arrays: Any) -> FileStamp:
    return checkpoint.write_tensors(storage, name, arrays)


@ray.remote(num_cpus=0, max_retries=RETRIES)
def read_tensors(storage: Storage, name: str) -> dict[str, NDArray[np.generic]]:
    return checkpoint.read_tensors(storage, name)


@ray.remote(num_cpus=0, max_retries=RETRIES)
def write_assigned(storage: Storage, name: str, assigned: Assigned) -> FileStamp:
    return checkpoint.write_assigned(storage, name, assigned)


@ray.remote(num_cpus=0, max_retries=RETRIES)
def read_assigned(storage: Storage, name: str) -> Assigned:
    return checkpoint.read_assigned(storage, name)


@ray.remote(num_cpus=0, max_retries=RETRIES)
def owned_rows(component: int, num: int, seed: int, rows: NDArray[np.generic], assigned: Assigned) -> Any:
    """At most `num` of the rows a component won in this block."""
    won = np.flatnonzero(assigned.labels == component)
    return rows[np.sort(numpy_rng(seed).permutation(won)[:num])]
