"""Each member's numbers against those it gets alone."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from raymix.training import noise
from raymix.training.noise import MemberNoise

CPU = torch.device("cpu")
ASKED = [(3,), (2, 5), (40,), (7,), (0,), (100,), (1, 1), (31,)]


@pytest.fixture(params=[8, 50, 2**15], autouse=True)
def _ahead(request, monkeypatch):
    """Few numbers are drawn ahead, or many."""
    monkeypatch.setattr(noise, "AHEAD", request.param)


def alone(seed):
    numbers = MemberNoise([seed], CPU)
    return [numbers.normal(*shape)[0].clone() for shape in ASKED]


def test_numbers_have_the_shape_that_was_asked_for():
    numbers = MemberNoise([4, 5, 6], CPU)
    assert [numbers.normal(*shape).shape for shape in ASKED] == [(3, *shape) for shape in ASKED]


@pytest.mark.parametrize("seeds", [(1,), (1, 2), (7, 1, 3), (1, 1)])
def test_a_members_numbers_do_not_depend_on_who_else_is_there(seeds):
    numbers, expected = MemberNoise(seeds, CPU), [alone(seed) for seed in seeds]
    for i, shape in enumerate(ASKED):
        assert torch.equal(numbers.normal(*shape), torch.stack([each[i] for each in expected]))


@pytest.mark.parametrize("kept", [[0], [2], [0, 2], [1, 2]])
@pytest.mark.parametrize("when", range(len(ASKED)))
def test_a_members_numbers_do_not_depend_on_who_leaves(kept, when):
    numbers, expected = MemberNoise([1, 2, 3], CPU), [alone(seed) for seed in (1, 2, 3)]
    for shape in ASKED[:when]:
        numbers.normal(*shape)
    numbers.keep(kept)
    for i, shape in list(enumerate(ASKED))[when:]:
        assert torch.equal(numbers.normal(*shape), torch.stack([expected[m][i] for m in kept]))


def test_numbers_are_normal_and_never_given_twice():
    numbers = MemberNoise([0, 1], CPU)
    drawn = torch.cat([numbers.normal(37) for _ in range(200)], dim=1).numpy()
    assert len(np.unique(drawn)) > 0.999 * drawn.size  # float32 repeats a few by chance
    for own in drawn:
        assert kstest(own, "norm").pvalue > 1e-4


def test_uniform_numbers_are_uniform_and_strictly_inside():
    numbers = MemberNoise([0, 1], CPU)
    for own in torch.cat([numbers.uniform(37) for _ in range(200)], dim=1).numpy():
        assert own.dtype == np.float32 and kstest(own, "uniform").pvalue > 1e-4
    numbers.normal = lambda *shape: torch.tensor([[-40.0, 40.0]])
    low, high = numbers.uniform(2)[0].tolist()
    assert 0 < low < high < 1


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    MemberNoise([0, 1], CPU).normal(5)
    assert torch.equal(torch.get_rng_state(), before)
