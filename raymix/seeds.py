"""Seeds of phases: from (run seed, round, component, phase) and nothing else.

A phase draws every random number from its own seed, so its outcome does not depend on the process, the node or the
order in which it ran, and replaying it gives the same bits.
"""

from enum import IntEnum

import numpy as np

ALL = 2**32 - 1  # stands for the component in a phase that concerns all of them (a shared trunk, an assignment)


class Phase(IntEnum):
    """What a seed is used for. Numbers are part of the format of a run: never reuse one."""

    INITIALISE = 0
    PRETRAIN = 1
    TRAIN_GENERATOR = 2
    SAMPLE_FAKES = 3
    TRAIN_DISCRIMINATOR = 4
    ASSIGN = 5
    EVALUATE = 6
    PICTURE = 7
    RESEED = 8
    BEGIN = 9
    SCORE = 10


def phase_seed(run_seed: int, round: int, component: int, phase: Phase, draw: int = 0) -> int:
    """One 63-bit seed; `draw` tells apart blocks or calls within a phase."""
    words = np.random.SeedSequence([run_seed, round, component, int(phase), draw]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def numpy_rng(seed: int) -> np.random.Generator:
    """NumPy's generator with a named bit stream (the default one may change between releases)."""
    return np.random.Generator(np.random.PCG64(seed))
