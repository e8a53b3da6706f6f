"""Rows of a whole mixture: each component gives its share.

Shapes: n rows, (n, *row_shape) in data units.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from raymix.seeds import ALL, Phase, numpy_rng, phase_seed
from raymix.state import State
from raymix.training.generators import GeneratorPack

CHUNK_BYTES = 2**26  # of float32 samples that are held at a time
COUNTS, ORDER, FIRST_PIECE = 3, 2, 16  # draws of the evaluation's seeds


def drawn(
    generators: GeneratorPack, counts: Sequence[tuple[int, int]], seed: int
) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """For each (component, n) its n rows, component after component, in pieces (component, rows) of bounded size."""
    most = max(1, CHUNK_BYTES // (4 * math.prod(generators.setting.spec.row_shape)))
    for k, num in counts:
        for piece, start in enumerate(range(0, num, most)):
            piece_seed = phase_seed(seed, 0, k, Phase.EVALUATE, FIRST_PIECE + piece)
            yield k, generators.sample_in_data_units(k, min(most, num - start), piece_seed)


def mixed_counts(state: State, num: int, seed: int) -> list[tuple[int, int]]:
    """How many of `num` rows of the mixture come from each component, drawn by the mixing weights."""
    weights = np.array(state.weights_K)
    counts = numpy_rng(phase_seed(seed, 0, ALL, Phase.EVALUATE, COUNTS)).multinomial(num, weights / weights.sum())
    return list(zip(state.components, counts.tolist(), strict=True))


def sample_mixture(
    generators: GeneratorPack, state: State, num: int, seed: int
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """`num` rows (num, *row_shape) of the mixture in random order, and the component each came from."""
    pieces = list(drawn(generators, mixed_counts(state, num, seed), seed))
    rows = np.concatenate([rows for _, rows in pieces])
    components = np.concatenate([np.full(len(rows), k, np.int64) for k, rows in pieces])
    order = numpy_rng(phase_seed(seed, 0, ALL, Phase.EVALUATE, ORDER)).permutation(num)
    return rows[order], components[order]
