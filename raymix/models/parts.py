"""A batch in parts: several workers train the same network, each on its own rows of every batch.

    loss = sum_r s_r loss_r         s_r: the share of the batch's rows that worker r has, loss_r the mean over them

What belongs to the whole batch (losses, gradients, batch statistics) is summed over the workers in their order, by each
of them, so that all hold the same bits.

Shapes: W workers.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Colleague(ABC):
    """One of several workers who compute their parts at the same time."""

    def __init__(self, rank: int, parts: int) -> None:
        self.rank, self.parts = rank, parts

    @abstractmethod
    def gathered(self, own: Tensor) -> list[Tensor]:
        """What every worker gives at this point, in their order; all give tensors of one shape."""

    def summed(self, gradient: Callable[[int], Tensor]) -> Tensor:
        """The sum of a function of the part, of which every worker computes its own."""
        return in_order(self.gathered(gradient(self.rank)))


class Part:
    """One worker's rows of every batch: neighbours, about as many as the others'."""

    def __init__(self, colleague: Colleague, batch_size: int) -> None:
        """A batch has a row for each of them at least."""
        cuts = [batch_size * i // colleague.parts for i in range(colleague.parts + 1)]
        self.colleague, self.batch_size = colleague, batch_size
        self.rows = slice(cuts[colleague.rank], cuts[colleague.rank + 1])
        self.shares = [(stop - start) / batch_size for start, stop in itertools.pairwise(cuts)]

    @property
    def share(self) -> float:
        """This worker's share of the batch's rows."""
        return self.shares[self.colleague.rank]

    def places(self, batches: int) -> NDArray[np.int64]:
        """Places of its rows among those of several batches, one after another."""
        return np.arange(batches * self.batch_size).reshape(batches, -1)[:, self.rows].ravel()

    def summed(self, own: Tensor) -> Tensor:
        """The sum of what all workers give."""
        return in_order(self.colleague.gathered(own))

    def summed_each(self, own: Sequence[Tensor]) -> list[Tensor]:
        """`summed` of several tensors at once."""
        pieces = self.summed(torch.cat([each.flatten() for each in own])).split([each.numel() for each in own])
        return [piece.view(each.shape) for piece, each in zip(pieces, own, strict=True)]

    def gathered(self, own: Tensor) -> Tensor:
        """(W, *) what all workers give; gradients flow back to whoever gave it."""
        stacked: Tensor = _Gathered.apply(own, self.colleague)
        return stacked


class _Gathered(torch.autograd.Function):
    """(*) of each worker -> (W, *) for all. A worker's gradient is the sum of what all workers' losses say of it."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, colleague: Colleague) -> Tensor:
        ctx.colleague = colleague
        return torch.stack(colleague.gathered(own))

    @staticmethod
    def backward(ctx: Any, gradient_W: Tensor) -> tuple[Tensor, None]:
        return _Gathered.apply(gradient_W.contiguous(), ctx.colleague)[:, ctx.colleague.rank].sum(0), None


def in_order(parts: Sequence[Tensor]) -> Tensor:
    """Their sum, first to last."""
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total
