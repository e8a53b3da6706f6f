"""Stacked layers against as many of torch's own with the same tensors, in float64."""

import pytest
import torch
from torch import nn

from raymix.models import stacked
from raymix.models.stacked import Grouped, Ungrouped

M, B = 3, 5
PRECISION = {"rtol": 1e-10, "atol": 1e-10}
kernels = pytest.mark.parametrize("kernel", [3, 4, 5])
unfolding = pytest.mark.parametrize("unfolds", [False, True])
biased = pytest.mark.parametrize("bias", [False, True])


@pytest.fixture(autouse=True)
def _in_float64():
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_default_dtype(torch.float32)


def joined(layer, ones, transpose=False):
    """The stacked layer with the tensors of the ordinary ones, which get other parameters first."""
    for one in ones:
        for value in one.parameters():
            nn.init.normal_(value)
    for name, value in (*layer.named_parameters(), *layer.named_buffers()):
        values = torch.stack([one.state_dict()[name] for one in ones])
        value.data = values.transpose(1, -1).contiguous().view(M, -1, value.shape[-1]) if transpose else values
    return layer


def assert_equal(layer, ones, inputs, transpose=False):
    """Outputs of (M, B, ...) inputs, and the gradients of a random function of them by inputs and parameters."""
    inputs.requires_grad_()
    output = layer(inputs)
    expected = torch.stack([one(rows) for one, rows in zip(ones, inputs, strict=True)])
    torch.testing.assert_close(output, expected, **PRECISION)

    weights = torch.randn_like(output)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    names = [name.rpartition(".")[2] for name in names]
    (by_input, *found) = torch.autograd.grad(output, [inputs, *parameters], weights)
    own = [dict(one.named_parameters())[name] for one in ones for name in names]
    wanted_input, *wanted = torch.autograd.grad(expected, [inputs, *own], weights)
    torch.testing.assert_close(by_input, wanted_input, **PRECISION)
    for i, gradient in enumerate(found):
        each = torch.stack(wanted[i :: len(names)])
        each = each.transpose(1, -1).reshape(gradient.shape) if transpose else each
        torch.testing.assert_close(gradient, each, **PRECISION)


def on_images(layer, shape):
    """From (M, B, ...) images to (M, B, *shape)."""
    return nn.Sequential(Grouped(), layer, Ungrouped(shape))


@biased
def test_linear_equals_torchs(bias):
    ones = [nn.Linear(4, 6, bias) for _ in range(M)]
    layer = joined(stacked.Linear(4, 6, bias), ones, transpose=True)
    assert_equal(layer, ones, torch.randn(M, B, 4), transpose=True)


@unfolding
@kernels
@biased
def test_conv2d_equals_torchs(kernel, bias, unfolds):
    padding = (kernel - 1) // 2
    ones = [nn.Conv2d(2, 4, kernel, 2, padding, bias=bias) for _ in range(M)]
    layer = joined(stacked.Conv2d(2, 4, kernel, 2, padding, bias), ones)
    layer.unfolds = unfolds
    images = torch.randn(M, B, 2, 9, 8)
    assert_equal(on_images(layer, ones[0](images[0]).shape[1:]), ones, images)


@unfolding
@kernels
@biased
def test_conv_transpose2d_equals_torchs(kernel, bias, unfolds):
    ones = [nn.ConvTranspose2d(4, 2, kernel, 2, (kernel - 1) // 2, kernel % 2, bias=bias) for _ in range(M)]
    layer = joined(stacked.ConvTranspose2d(4, 2, kernel, bias), ones)
    layer.unfolds = unfolds
    assert_equal(on_images(layer, (2, 6, 10)), ones, torch.randn(M, B, 4, 3, 5))


@pytest.mark.parametrize("shape", [(4,), (4, 3, 2)], ids=["vectors", "images"])
def test_batch_norm_equals_torchs_in_training_and_after_it(shape):
    ones = [(nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(4) for _ in range(M)]
    layer = joined(stacked.BatchNorm(4), ones)
    whole = layer if len(shape) == 1 else on_images(layer, shape)
    for _ in range(3):
        assert_equal(whole, ones, torch.randn(M, B, *shape) * 3 + torch.arange(M).view(M, 1, *[1] * len(shape)))
    for name in ("running_mean", "running_var"):
        expected = torch.stack([getattr(one, name) for one in ones])
        assert (expected[0] - expected[1]).abs().min() > 1e-3
        torch.testing.assert_close(getattr(layer, name), expected, **PRECISION)
    for module in (whole, *ones):
        module.eval()
    before = layer.running_mean.clone()
    assert_equal(whole, ones, torch.randn(M, B, *shape))
    assert torch.equal(layer.running_mean, before)


@pytest.mark.parametrize("members", [1, 3])
def test_grouped_images_come_apart_again(members):
    images = torch.randn(members, B, 2, 3, 4)
    grouped = Grouped()(images)
    assert grouped.shape == (B, members * 2, 3, 4)
    assert torch.equal(Ungrouped((2, 3, 4))(grouped), images)
    assert torch.equal(Ungrouped((24,))(grouped), images.flatten(2))


@pytest.mark.parametrize(
    ("build", "one"),
    [
        (lambda: stacked.Linear(3, 2), lambda: nn.Linear(3, 2)),
        (lambda: stacked.Conv2d(3, 2, 4, 2, 1), lambda: nn.Conv2d(3, 2, 4)),
        (lambda: stacked.ConvTranspose2d(3, 2, 4), lambda: nn.ConvTranspose2d(3, 2, 4)),
    ],
    ids=["linear", "conv2d", "conv_transpose2d"],
)
def test_first_parameters_are_torchs_own(build, one):
    torch.manual_seed(7)
    layer = build()
    torch.manual_seed(7)
    for name, value in one().named_parameters():
        own = getattr(layer, name)
        assert len(own) == 1 and own.is_contiguous()
        assert torch.equal(own[0].T.reshape(value.shape) if isinstance(layer, stacked.Linear) else own[0], value)
