"""Optimisers of stacked members against torch's own, one for each member, in float64."""

import pytest
import torch

from raymix.models.optimisers import SGD, Adam

M, STEPS, RATE, BETAS = 4, 20, 0.01, (0.5, 0.999)
SHAPES = {"weight": (3, 7), "bias": (1, 5), "sigma": ()}
kinds = pytest.mark.parametrize("kind", ["adam", "sgd"])


def randn(*shape, seed):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Pair:
    """A stacked optimiser, and an ordinary one with copies of the parameters for each member."""

    def __init__(self, kind):
        self.parameters = {
            name: randn(M, *shape, seed=i).requires_grad_() for i, (name, shape) in enumerate(SHAPES.items())
        }
        self.copies = [
            [value[m].detach().clone().requires_grad_() for value in self.parameters.values()] for m in range(M)
        ]
        self.kind, self.steps = kind, 0
        self.stacked = Adam(self.parameters, RATE, *BETAS) if kind == "adam" else SGD(self.parameters, RATE)
        self.ordinary = [self.fresh(m) for m in range(M)]

    def fresh(self, m):
        """torch's own for one member."""
        if self.kind == "adam":
            return torch.optim.Adam(self.copies[m], RATE, BETAS, fused=False, foreach=False)
        return torch.optim.SGD(self.copies[m], RATE)

    def reset(self, m):
        """Forget a member's moments and steps."""
        for name, value in self.stacked.tensors().items():
            value[m] = RATE if name == "learning_rate" else 0
        self.stacked.refresh()
        self.ordinary[m] = self.fresh(m)

    def slow(self, m):
        self.stacked.slow(m)
        self.ordinary[m].param_groups[0]["lr"] /= 2

    def step(self, times):
        for _ in range(times):
            gradients = [randn(M, *shape, seed=100 * self.steps + i) for i, shape in enumerate(SHAPES.values())]
            self.stacked.step(gradients)
            for m in range(M):
                for copy, gradient in zip(self.copies[m], gradients, strict=True):
                    copy.grad = gradient[m]
                self.ordinary[m].step()
            self.steps += 1

    def assert_equal(self):
        for i, value in enumerate(self.parameters.values()):
            torch.testing.assert_close(
                value, torch.stack([copies[i] for copies in self.copies]), rtol=1e-10, atol=1e-12
            )
        if self.kind == "adam":
            for i, name in enumerate(SHAPES):
                for moment in ("exp_avg", "exp_avg_sq"):
                    expected = [self.ordinary[m].state[self.copies[m][i]][moment] for m in range(M)]
                    held = self.stacked.tensors()[f"{name}/{moment}"]
                    torch.testing.assert_close(held, torch.stack(expected), rtol=1e-10, atol=1e-12)
            steps = [float(self.ordinary[m].state[self.copies[m][0]]["step"]) for m in range(M)]
            assert self.stacked.tensors()["step"].tolist() == steps


@kinds
def test_every_member_moves_as_by_torchs_own(kind):
    pair = Pair(kind)
    pair.step(STEPS)
    pair.assert_equal()


@kinds
def test_members_of_different_steps_and_rates_move_as_by_torchs_own(kind):
    pair = Pair(kind)
    pair.step(5)
    pair.slow(1)
    pair.step(5)
    pair.reset(2)
    pair.step(5)
    pair.slow(1)
    pair.slow(3)
    pair.step(STEPS)
    pair.assert_equal()
    assert pair.stacked.learning_rate_M.tolist() == [RATE, RATE / 4, RATE, RATE / 2]


@kinds
@pytest.mark.parametrize("change", [Pair.slow, Pair.reset])
def test_only_the_named_member_moves_differently(kind, change):
    as_ever, changed = Pair(kind), Pair(kind)
    for pair in (as_ever, changed):
        pair.step(3)
    change(changed, 2)
    for pair in (as_ever, changed):
        pair.step(2)
    for name, value in changed.parameters.items():
        other, rest = as_ever.parameters[name], [0, 1, 3]
        torch.testing.assert_close(value[rest], other[rest], rtol=1e-14, atol=1e-15)
        assert (kind == "sgd" and change is Pair.reset) or not torch.allclose(value[2], other[2], rtol=1e-6)


def test_half_the_rate_moves_half_as_far():
    pair, slowed = Pair("adam"), Pair("adam")
    slowed.slow(0)
    before = {name: value.detach().clone() for name, value in pair.parameters.items()}
    pair.step(1)
    slowed.step(1)
    for name, value in before.items():
        moved, half = pair.parameters[name][0] - value[0], slowed.parameters[name][0] - value[0]
        torch.testing.assert_close(half, moved / 2, rtol=1e-10, atol=1e-15)


@kinds
def test_gradients_that_lie_otherwise_in_memory_are_understood(kind):
    plain, turned = Pair(kind).stacked, Pair(kind).stacked
    gradients = [randn(M, *shape, seed=i) for i, shape in enumerate(SHAPES.values())]
    for _ in range(2):
        plain.step(gradients)
        turned.step([gradient.transpose(0, -1).contiguous().transpose(0, -1) for gradient in gradients])
        turned.learning_rate_M[1], plain.learning_rate_M[1] = 0.5, 0.5
        turned.refresh()
        plain.refresh()
    for one, other in zip(plain.parameters, turned.parameters, strict=True):
        assert torch.equal(one, other)


@kinds
def test_each_member_descends_on_its_own_loss(kind):
    pair = Pair(kind)
    before = pair.stacked.parameters[0].detach().clone()
    loss_M = torch.tensor([0.0, 1.0, 2.0, 3.0]) * sum(
        value.reshape(M, -1).square().sum(1) for value in pair.stacked.parameters
    )
    pair.stacked.descend(loss_M)
    gradient = 2 * torch.arange(M).view(M, 1, 1) * before
    moved = before - pair.stacked.parameters[0]
    torch.testing.assert_close(moved, RATE * (gradient if kind == "sgd" else gradient.sign()), rtol=1e-4, atol=1e-9)
