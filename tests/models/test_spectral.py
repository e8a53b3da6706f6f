"""Spectral norm of stacked layers against torch's own of one layer, member by member, in float64."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from raymix.models import stacked
from raymix.models.spectral import spectral_norm
from raymix.models.stacked import Grouped, Ungrouped

M, B = 3, 5
PRECISION = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture(autouse=True)
def _in_float64():
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_default_dtype(torch.float32)


def linear():
    ones = [parametrizations.spectral_norm(nn.Linear(4, 6)) for _ in range(M)]
    return stacked.Linear(4, 6), ones, torch.randn(M, B, 4)


def convolution():
    ones = [parametrizations.spectral_norm(nn.Conv2d(2, 4, 3, 1, 1)) for _ in range(M)]
    return stacked.Conv2d(2, 4, 3, 1, 1), ones, torch.randn(M, B, 2, 6, 6)


def joined(layer, ones):
    """The stacked layer with the tensors of the ordinary ones, its weight normalised, and what takes (M, B, ...)."""
    is_linear = isinstance(layer, stacked.Linear)
    weights = torch.stack([one.parametrizations.weight.original.detach() for one in ones])
    layer.weight.data = weights.mT.contiguous() if is_linear else weights
    biases = torch.stack([one.bias.detach() for one in ones])
    layer.bias.data = biases.unsqueeze(1) if is_linear else biases
    layer = spectral_norm(layer)
    norm = layer.parametrizations.weight[0]
    norm.u_MO = torch.stack([one.parametrizations.weight[0]._u for one in ones])
    norm.v_MI = torch.stack([one.parametrizations.weight[0]._v for one in ones])
    return layer if is_linear else nn.Sequential(Grouped(), layer, Ungrouped((4, 6, 6)))


@pytest.mark.parametrize("make", [linear, convolution])
def test_equals_torchs_in_training_and_after_it(make):
    layer, ones, inputs = make()
    whole = joined(layer, ones)
    for training in (True, True, False):
        for module in (whole, *ones):
            module.train(training)
        output = whole(inputs)
        expected = torch.stack([one(rows) for one, rows in zip(ones, inputs, strict=True)])
        torch.testing.assert_close(output, expected, **PRECISION)

        weights = torch.randn_like(output)
        (found,) = torch.autograd.grad(output, layer.parametrizations.weight.original, weights)
        originals = [one.parametrizations.weight.original for one in ones]
        wanted = torch.stack(torch.autograd.grad(expected, originals, weights))
        torch.testing.assert_close(found, wanted.mT if isinstance(layer, stacked.Linear) else wanted, **PRECISION)
    for name, theirs in (("u_MO", "_u"), ("v_MI", "_v")):
        states = torch.stack([getattr(one.parametrizations.weight[0], theirs) for one in ones])
        torch.testing.assert_close(getattr(layer.parametrizations.weight[0], name), states, **PRECISION)


def test_the_largest_singular_value_becomes_1():
    layer = spectral_norm(stacked.Linear(8, 5))
    for _ in range(200):
        layer(torch.zeros(1, 1, 8))
    assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-6)


def test_one_pass_is_one_iteration_and_none_after_training():
    layer, ones, inputs = convolution()
    whole = joined(layer, ones)
    norm = layer.parametrizations.weight[0]
    before = norm.u_MO.clone()
    whole.eval()
    whole(inputs)
    assert torch.equal(norm.u_MO, before)
    whole.train()
    matrix = layer.parametrizations.weight.original.flatten(2)
    whole(inputs)
    expected = nn.functional.normalize(torch.bmm(matrix, norm.v_MI.clone().unsqueeze(2)).squeeze(2), dim=1)
    assert not torch.equal(norm.u_MO, before)
    assert torch.einsum("mo,mo->m", norm.u_MO, expected).min() > 0.9  # near it, and moved once only: see above
