"""Seeds of phases."""

import itertools

import numpy as np

from raymix.seeds import ALL, Phase, numpy_rng, phase_seed


def test_seeds_differ_in_every_argument():
    parts = itertools.product((0, 1, 2**40), (0, 1), (0, 1, ALL), Phase, (0, 1))
    seeds = [phase_seed(*arguments) for arguments in parts]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_is_the_same_every_time():
    assert phase_seed(3, 1, 4, Phase.ASSIGN, 1) == phase_seed(3, 1, 4, Phase.ASSIGN, 1)
    np.testing.assert_array_equal(numpy_rng(5).random(4), numpy_rng(5).random(4))


def test_numbers_of_phases_are_part_of_the_format():
    assert {phase.name: int(phase) for phase in Phase} == {
        "INITIALISE": 0,
        "PRETRAIN": 1,
        "TRAIN_GENERATOR": 2,
        "SAMPLE_FAKES": 3,
        "TRAIN_DISCRIMINATOR": 4,
        "ASSIGN": 5,
        "EVALUATE": 6,
        "PICTURE": 7,
        "RESEED": 8,
        "BEGIN": 9,
        "SCORE": 10,
    }
