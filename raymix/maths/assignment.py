"""The partition functions c_k(x): which component wins each row.

Axes: n rows of a block, K components, C classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raymix.seeds import ALL, Phase, numpy_rng, phase_seed


def normalised(log_ratio_n: NDArray[np.floating], log_z: float) -> NDArray[np.float64]:
    """s = r - log Z in float64."""
    return log_ratio_n.astype(np.float64) - log_z


def winners(
    log_ratio_Kn: Sequence[NDArray[np.floating]], log_z_K: Sequence[float]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """argmax_k s_k(x) and its value; ties go to the lowest k. Holds two rows of the K x n matrix at a time."""
    best_n = normalised(log_ratio_Kn[0], log_z_K[0])
    positions_n = np.zeros(len(best_n), np.int32)
    for k in range(1, len(log_z_K)):
        s_n = normalised(log_ratio_Kn[k], log_z_K[k])
        better_n = s_n > best_n
        positions_n[better_n] = k
        best_n[better_n] = s_n[better_n]
    return positions_n, best_n


def dealt(num_rows: int, num_components: int, seed: int) -> NDArray[np.int32]:
    """A random assignment in equal shares, as cards are dealt."""
    return numpy_rng(seed).permutation(np.arange(num_rows, dtype=np.int32) % num_components)


def from_classes(classes_n: NDArray[np.integer], num_classes: int, num_components: int, seed: int) -> NDArray[np.int32]:
    """An assignment from true classes: neighbouring classes share a component when there are fewer components than
    classes; a class's rows are dealt over several components when there are more."""
    if num_components <= num_classes:
        return (classes_n * num_components // num_classes).astype(np.int32)
    spare = (num_components - 1 - classes_n) // num_classes  # component = class + num_classes * (0 ... spare)
    turn = numpy_rng(seed).random(len(classes_n))
    return (classes_n + num_classes * (turn * (spare + 1)).astype(np.int64)).astype(np.int32)


def control(
    mode: str,
    num_rows: int,
    classes_n: NDArray[np.integer] | None,
    num_classes: int,
    num_components: int,
    run_seed: int,
    round: int,
    block: int,
) -> NDArray[np.int32]:
    """The winner's position of each row of a block in the modes that use no log ratio: single, bag, random, oracle."""
    seed = phase_seed(run_seed, round if mode == "random" else 0, ALL, Phase.ASSIGN, block)
    if mode == "oracle":
        assert classes_n is not None
        return from_classes(classes_n, num_classes, num_components, seed)
    return dealt(num_rows, num_components, seed)
