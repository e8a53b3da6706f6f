"""Features of a data set's own rows, with which those of samples are compared.

Shapes: N rows, D features.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymix.cache import cache_file, keep, kept, tensors_hash
from raymix.data.source import DataSpec, Source, block_bounds
from raymix.errors import DataError
from raymix.features.base import Features
from raymix.metrics.frechet import statistics
from raymix.seeds import ALL, Phase, numpy_rng, phase_seed

BLOCK_BYTES = 2**26


class Reference(NamedTuple):
    """What samples are compared with."""

    features_ND: NDArray[np.float32]
    mean_D: NDArray[np.float64]
    cov_DD: NDArray[np.float64]
    data_hash: str
    """Identity of the rows."""


def reference(
    source: Source, features: Features, count: int | None = None, seed: int = 0, cache: Path | None = None
) -> Reference:
    """Features of `count` rows drawn without replacement (all when it is None), with their mean and covariance.

    Kept in the cache by the rows' content and the network's hash. Raises `DataError` for more rows than there are, or
    fewer than features.
    """
    rows = drawn_rows(source, count, seed)
    data_hash = tensors_hash({"rows": rows})
    path = cache_file(f"reference/{features.hash}-{data_hash}-{len(rows)}.safetensors", cache)
    found = kept(path)
    if found is None:
        features_ND = features(rows)
        mean_D, cov_DD = statistics(features_ND)
        keep(
            path,
            {"features": features_ND, "mean": mean_D, "covariance": cov_DD},
            {"features": features.definition, "data": source.spec.name, "data_hash": data_hash, "count": len(rows)},
        )
        return Reference(features_ND, mean_D, cov_DD, data_hash)
    tensors: dict[str, NDArray[Any]] = found.tensors
    return Reference(tensors["features"], tensors["mean"], tensors["covariance"], data_hash)


def drawn_rows(source: Source, count: int | None, seed: int) -> NDArray[Any]:
    """(count, *row_shape) of the rows, those of `drawn_numbers`. Raises `DataError` for more than there are."""
    chosen = drawn_numbers(source.spec, count, seed)
    parts = []
    for start, stop in block_bounds(source.spec, BLOCK_BYTES):
        here = chosen[(chosen >= start) & (chosen < stop)] - start
        if len(here):
            parts.append(source.read(start, stop).rows[here])
    return np.concatenate(parts)


def drawn_numbers(spec: DataSpec, count: int | None, seed: int) -> NDArray[np.int64]:
    """(count,) numbers of rows drawn without replacement, ascending; all of them when `count` is None.

    Raises `DataError` for more than there are.
    """
    if count is None:
        return np.arange(spec.num_rows)
    if not 1 <= count <= spec.num_rows:
        raise DataError(f"{count} rows are asked of {spec.num_rows}", spec.name, "ask for fewer")
    rng = numpy_rng(phase_seed(seed, 0, ALL, Phase.EVALUATE))
    return np.sort(rng.permutation(spec.num_rows)[:count])
