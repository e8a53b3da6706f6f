"""Discriminators: loss against float64, low-pass against a box filter, heads; rows and logits of one member."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from raymix.config import DiscriminatorConfig
from raymix.data.source import DataSpec
from raymix.models.discriminators import Discriminator, discriminator_loss, resolved
from raymix.models.optimisers import SGD, Adam
from raymix.models.stacked import BatchNorm

VECTOR = DataSpec("file", 10, (2,), "float32")


def image(side, height=None):
    return DataSpec("file", 10, (1, height or side, side), "uint8")


def discriminator(spec, num_heads=1, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Discriminator(resolved(DiscriminatorConfig(**settings), spec), spec.row_shape, num_heads)


def test_loss_is_half_the_sum_of_both_mean_sides():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 50, 3)) * 5, rng.normal(size=(2, 7, 3)) * 5  # unequal numbers need no correction
    expected = 0.5 * (np.log1p(np.exp(-real)).mean(1) + np.log1p(np.exp(fake)).mean(1))
    loss = discriminator_loss(torch.from_numpy(real), torch.from_numpy(fake))
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-12)


def test_loss_at_chance_is_log_two():
    loss = discriminator_loss(torch.zeros(1, 5, 2), torch.zeros(1, 3, 2))
    np.testing.assert_allclose(loss.numpy(), [[math.log(2)] * 2], rtol=1e-6)


def test_loss_of_logits_of_ten_thousand_is_finite():
    high, low = torch.full((1, 4, 1), 1e4), torch.full((1, 2, 1), -1e4)
    assert discriminator_loss(high, low).item() == 0
    assert discriminator_loss(low, high).item() == pytest.approx(1e4)
    assert discriminator_loss(high, high).item() == pytest.approx(5e3)


def test_loss_rewards_high_logits_on_real_rows():
    real, fake = torch.zeros(2, 4, 1, requires_grad=True), torch.zeros(2, 4, 1, requires_grad=True)
    discriminator_loss(real, fake).sum().backward()
    assert (real.grad < 0).all() and (fake.grad > 0).all()


@pytest.mark.parametrize(("side", "lowpass"), [(28, 3), (28, 5), (16, 7), (8, 5)])
def test_lowpass_is_a_box_filter_before_the_network(side, lowpass):
    rows = np.random.default_rng(1).random((3, 1, side, side))
    blurred = uniform_filter(rows, size=(1, 1, lowpass, lowpass), mode="constant")
    with_lowpass = discriminator(image(side), lowpass=lowpass)
    without = discriminator(image(side), lowpass=0)
    without.load_state_dict(with_lowpass.state_dict())
    with torch.inference_mode():
        expected = without(torch.from_numpy(blurred[None]).float())
        logits = with_lowpass(torch.from_numpy(rows[None]).float())
        plain = without(torch.from_numpy(rows[None]).float())
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits, plain, atol=1e-4)


@pytest.mark.parametrize(("side", "lowpass"), [(1, 0), (8, 0), (12, 3), (16, 3), (28, 5), (32, 5), (64, 11), (128, 23)])
def test_auto_lowpass_is_an_odd_sixth_of_the_image(side, lowpass):
    assert resolved(DiscriminatorConfig(body="mlp"), image(side)).lowpass == lowpass
    assert resolved(DiscriminatorConfig(body="mlp"), image(side, 2 * side)).lowpass == lowpass


def test_auto_settings_follow_the_rows():
    on_vectors = resolved(DiscriminatorConfig(), VECTOR)
    assert (on_vectors.body, on_vectors.widths, on_vectors.lowpass) == ("mlp", (50, 50), 0)
    on_images = resolved(DiscriminatorConfig(), image(28))
    assert (on_images.body, on_images.widths, on_images.lowpass) == ("conv", (16, 32, 64), 5)
    small = resolved(DiscriminatorConfig(), image(8))
    assert (small.body, small.widths, small.lowpass) == ("mlp", (50, 50), 0)
    assert resolved(on_images, image(28)) == on_images


def test_settings_that_were_given_are_kept():
    given = DiscriminatorConfig(body="mlp", widths=(3,), lowpass=7)
    assert resolved(given, image(28)) == given
    assert resolved(DiscriminatorConfig(lowpass=1), image(28)).lowpass == 0
    assert resolved(DiscriminatorConfig(body="none", lowpass=0), image(28)) == DiscriminatorConfig(
        body="none", lowpass=0
    )
    assert resolved(DiscriminatorConfig(body="none"), image(28)).lowpass == 0


@pytest.mark.parametrize("spec", [VECTOR, image(28), image(8)])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_head_gives_one_logit_per_row(spec, batch_norm):
    rows = torch.rand((1, 6, *spec.row_shape), generator=torch.Generator().manual_seed(0))
    model = discriminator(spec, num_heads=4, batch_norm=batch_norm).eval()
    with torch.inference_mode():
        before = model(rows)
        assert before.shape == (1, 6, 4)
        model.heads.bias[..., 2] += 1
        torch.testing.assert_close(model(rows) - before, torch.tensor([0.0, 0, 1, 0]).expand(1, 6, 4))
    assert any(isinstance(m, BatchNorm) for m in model.modules()) == batch_norm


def test_activation_leaks_a_fifth():
    leaks = [m for m in discriminator(VECTOR).modules() if isinstance(m, torch.nn.LeakyReLU)]
    assert len(leaks) == 2 and all(m.negative_slope == 0.2 for m in leaks)


def test_optimiser_is_the_configured_one():
    (adam,) = discriminator(VECTOR, learning_rate=0.125, beta1=0.25, beta2=0.75).optimisers().values()
    assert isinstance(adam, Adam)
    assert adam.learning_rate_M.tolist() == [0.125] and (adam.beta1, adam.beta2) == (0.25, 0.75)
    (sgd,) = discriminator(VECTOR, optimiser="sgd", learning_rate=0.5).optimisers().values()
    assert isinstance(sgd, SGD) and sgd.learning_rate_M.tolist() == [0.5]


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_step_lowers_the_loss_and_moves_every_parameter(optimiser):
    model = discriminator(VECTOR, optimiser=optimiser, learning_rate=0.01)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    real, fake = torch.randn((2, 1, 30, 2), generator=torch.Generator().manual_seed(0)) + torch.tensor(
        [[[[1.0]]], [[[-1.0]]]]
    )
    losses = []
    for _ in range(2):
        loss_MH = discriminator_loss(model(real), model(fake))
        model.descend(loss_MH.mean(1))
        losses.append(loss_MH.item())
    assert losses[1] < losses[0]
    assert all((value != before[name]).any() for name, value in model.named_parameters())
