"""A batch in parts against the whole one, in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from raymix.models.parts import Part
from raymix.models.stacked import BatchNorm
from raymix.training.teams import abreast

PRECISION = {"rtol": 1e-10, "atol": 1e-10}
C = 3
rows_and_workers = pytest.mark.parametrize(("rows", "workers"), [(6, 2), (7, 3), (5, 5), (4, 1)])


@rows_and_workers
def test_parts_are_neighbours_and_hold_every_row_once(rows, workers):
    parts = abreast(workers, lambda each: Part(each, rows))
    assert np.concatenate([np.arange(rows)[part.rows] for part in parts]).tolist() == list(range(rows))
    sizes = [part.rows.stop - part.rows.start for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert parts[0].shares == [size / rows for size in sizes]
    of_two_batches = np.arange(2 * rows).reshape(2, rows)
    for part in parts:
        assert part.places(2).tolist() == [*of_two_batches[0, part.rows], *of_two_batches[1, part.rows]]


@rows_and_workers
@pytest.mark.parametrize("shape", [(C,), (C, 2, 3)], ids=["vectors", "images"])
def test_batch_norm_of_parts_equals_that_of_the_whole_batch(rows, workers, shape):
    """Outputs, running statistics, and gradients by inputs and parameters of a function of all outputs."""
    generator = torch.Generator().manual_seed(0)
    values, weights = (
        torch.randn(rows, *shape, generator=generator, dtype=torch.float64) * scale + scale for scale in (3, 1)
    )
    whole = (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(C).double()
    inputs = values.clone().requires_grad_()
    expected = whole(inputs)
    wanted = torch.autograd.grad((expected * weights).mean(0).sum(), [inputs, whole.weight, whole.bias])

    def work(each):
        part = Part(each, rows)
        layer = BatchNorm(C).double()
        layer.part = part
        own = values[part.rows].clone().requires_grad_()
        output = layer(own.unsqueeze(0) if len(shape) == 1 else own).view(own.shape)
        loss = (output * weights[part.rows]).mean(0).sum() * part.share
        by_input, *by_parameters = torch.autograd.grad(loss, [own, layer.weight, layer.bias])
        return output, by_input, part.summed_each(by_parameters), layer

    found = abreast(workers, work)
    torch.testing.assert_close(torch.cat([output for output, *_ in found]), expected, **PRECISION)
    torch.testing.assert_close(torch.cat([by_input for _, by_input, *_ in found]), wanted[0], **PRECISION)
    for _, _, (by_weight, by_bias), layer in found:
        torch.testing.assert_close(by_weight[0], wanted[1], **PRECISION)
        torch.testing.assert_close(by_bias[0], wanted[2], **PRECISION)
        torch.testing.assert_close(layer.running_mean[0], whole.running_mean, **PRECISION)
        torch.testing.assert_close(layer.running_var[0], whole.running_var, **PRECISION)
        assert torch.equal(by_weight, found[0][2][0]) and torch.equal(layer.running_var, found[0][3].running_var)


def test_second_derivatives_flow_through_what_is_gathered():
    """As a penalty on gradients needs them: of (sum of squares) of what two workers give."""

    def work(each):
        own = torch.tensor([1.0 + each.rank, 3.0], dtype=torch.float64, requires_grad=True)
        total = Part(each, 2).gathered(own).sum(0).pow(3).sum() / 2  # both compute it, so each has half
        (first,) = torch.autograd.grad(total, own, create_graph=True)
        (second,) = torch.autograd.grad(first.sum() / 2, own)
        return first.detach(), second

    for first, second in abreast(2, work):
        torch.testing.assert_close(first, torch.tensor([27.0, 108.0], dtype=torch.float64))
        torch.testing.assert_close(second, torch.tensor([18.0, 36.0], dtype=torch.float64))
