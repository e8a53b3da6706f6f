from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from raymix.models.seeded import seeded_build


def built(seed: int) -> torch.Tensor:
    return seeded_build(lambda: nn.Sequential(*(nn.Linear(20, 20) for _ in range(20))), seed)[-1].weight.detach()


def test_parameters_come_from_the_seed_and_the_global_generator_stays() -> None:
    before = torch.get_rng_state()
    first, other, again = built(1), built(2), built(1)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        plain = [nn.Linear(20, 20) for _ in range(20)][-1]
    assert torch.equal(plain.weight, first)


def test_networks_that_are_built_at_once_are_those_that_are_built_in_turn() -> None:
    seeds = [1, 2, 3, 4] * 10
    alone = {seed: built(seed) for seed in set(seeds)}
    with ThreadPoolExecutor(4) as pool:
        for seed, weights in zip(seeds, pool.map(built, seeds), strict=True):
            assert torch.equal(weights, alone[seed])
