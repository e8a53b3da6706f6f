"""Losses of critics and generators against their formulas in numpy, the penalty's gradients against plain modules."""

import numpy as np
import pytest
import torch
from torch import nn

from raymix.models.critic_losses import critic_loss, generator_loss, gradient_penalty, is_saturated
from raymix.models.networks import Leaky
from raymix.models.stacked import Conv2d, Grouped, Linear, Ungrouped

M, B = 3, 4
REAL, FAKE = np.random.default_rng(0).normal(size=(2, M, B)) * 3
FORMULAS = {
    "non-saturating": (
        0.5 * (np.log1p(np.exp(-REAL)).mean(1) + np.log1p(np.exp(FAKE)).mean(1)),
        np.log1p(np.exp(-FAKE)).mean(1),
    ),
    "hinge": (0.5 * (np.maximum(0, 1 - REAL).mean(1) + np.maximum(0, 1 + FAKE).mean(1)), -FAKE.mean(1)),
    "wgan-gp": (FAKE.mean(1) - REAL.mean(1), -FAKE.mean(1)),
}


@pytest.mark.parametrize("kind", FORMULAS)
def test_losses_are_those_of_the_papers(kind):
    critic, generator = FORMULAS[kind]
    real, fake = torch.from_numpy(REAL), torch.from_numpy(FAKE)
    np.testing.assert_allclose(critic_loss(kind, real, fake), critic, rtol=1e-12)
    np.testing.assert_allclose(generator_loss(kind, fake), generator, rtol=1e-12)


@pytest.mark.parametrize(("kind", "chance"), [("non-saturating", np.log(2)), ("hinge", 1.0), ("wgan-gp", 0.0)])
def test_a_critic_that_cannot_tell_has_the_loss_of_chance(kind, chance):
    zeros = torch.zeros(1, B)
    assert critic_loss(kind, zeros, zeros).item() == pytest.approx(chance)


@pytest.mark.parametrize("kind", FORMULAS)
def test_huge_logits_stay_finite_and_in_order(kind):
    high, low = torch.full((1, B), 1e4), torch.full((1, B), -1e4)
    right, wrong = critic_loss(kind, high, low).item(), critic_loss(kind, low, high).item()
    assert np.isfinite([right, wrong]).all() and right < wrong
    assert generator_loss(kind, high).item() < generator_loss(kind, low).item()


@pytest.mark.parametrize(
    ("kind", "loss", "saturated"),
    [("non-saturating", 0.05, True), ("non-saturating", 0.3, False), ("hinge", 0.05, True), ("wgan-gp", 0.05, False)],
)
def test_a_critic_is_saturated_when_it_is_nearly_certain(kind, loss, saturated):
    assert is_saturated(kind, loss) is saturated


class PlainCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(2, 4, 4, 2, 1), nn.Linear(16, 1)

    def forward(self, images):
        return self.linear(nn.functional.leaky_relu(self.convolution(images), 0.2).flatten(1))[:, 0]


def test_gradients_of_the_penalty_are_those_of_each_member_alone():
    """Gulrajani's penalty as it is usually written, through each plain critic by itself, in float64."""
    torch.manual_seed(0)
    ones = [PlainCritic().double() for _ in range(M)]
    convolution, linear = Conv2d(2, 4, 4, 2, 1), Linear(16, 1)
    stacks = [
        (convolution.weight, [one.convolution.weight for one in ones]),
        (convolution.bias, [one.convolution.bias for one in ones]),
        (linear.weight, [one.linear.weight.T for one in ones]),
    ]
    for home, values in stacks:
        home.data = torch.stack([value.detach() for value in values]).contiguous()
    linear.bias.data = torch.stack([one.linear.bias.detach().unsqueeze(0) for one in ones])
    critic = nn.Sequential(Grouped(), convolution, Leaky(), Ungrouped((16,)), linear)
    real, fake = torch.randn(2, M, B, 2, 4, 4, dtype=torch.float64)
    share_MB = torch.rand(M, B, dtype=torch.float64)

    penalty_M = gradient_penalty(lambda rows: critic(rows).squeeze(2), (real,), (fake,), share_MB)
    found = torch.autograd.grad(
        penalty_M.sum(), [home for home, _ in stacks], allow_unused=True, materialize_grads=True
    )
    for m, one in enumerate(ones):
        share = share_MB[m].view(B, 1, 1, 1)
        rows = (share * real[m] + (1 - share) * fake[m]).requires_grad_()
        (slope,) = torch.autograd.grad(one(rows).sum(), rows, create_graph=True)
        penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
        assert penalty_M[m].item() == pytest.approx(penalty.item(), rel=1e-12)
        own = [one.convolution.weight, one.convolution.bias, one.linear.weight]
        wanted = torch.autograd.grad(penalty, own, allow_unused=True, materialize_grads=True)
        for gradient, expected in zip(found, (wanted[0], wanted[1], wanted[2].T), strict=True):
            torch.testing.assert_close(gradient[m], expected, rtol=1e-10, atol=1e-12)
