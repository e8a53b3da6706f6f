"""A batch in parts: several workers train the same network, each on its own rows of every batch.

    loss = sum_r s_r loss_r         s_r: the share of the batch's rows that worker r has, loss_r the mean over them

What belongs to the whole batch (losses, gradients, batch statistics) is summed over the workers in their order, by each
of them, so that all hold the same bits.

Shapes: W workers.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Member(Protocol):
    """One of several workers who keep step."""

    rank: int
    parts: int

    def gathered(self, own: Tensor) -> list[Tensor]:
        """What every worker gives at this point, in their order; all give tensors of one shape."""
        ...


class Part:
    """One worker's rows of every batch: neighbours, about as many as the others'."""

    def __init__(self, member: Member, batch_size: int) -> None:
        """`batch_size` rows at least as many as there are workers."""
        cuts = [batch_size * i // member.parts for i in range(member.parts + 1)]
        self.member, self.batch_size = member, batch_size
        self.rows = slice(cuts[member.rank], cuts[member.rank + 1])
        self.shares = [(stop - start) / batch_size for start, stop in zip(cuts[:-1], cuts[1:], strict=True)]

    @property
    def share(self) -> float:
        """Of the batch's rows."""
        return self.shares[self.member.rank]

    def places(self, batches: int) -> NDArray[np.int64]:
        """Of its rows among those of several batches, one after another."""
        return np.arange(batches * self.batch_size).reshape(batches, -1)[:, self.rows].ravel()

    def summed(self, own: Tensor) -> Tensor:
        """The sum of what all workers give."""
        return in_order(self.member.gathered(own))

    def summed_each(self, own: Sequence[Tensor]) -> list[Tensor]:
        """`summed` of several tensors at once."""
        pieces = self.summed(torch.cat([each.flatten() for each in own])).split([each.numel() for each in own])
        return [piece.view(each.shape) for piece, each in zip(pieces, own, strict=True)]

    def gathered(self, own: Tensor) -> Tensor:
        """(W, *) what all workers give; gradients flow back to whoever gave it."""
        stacked: Tensor = _Gathered.apply(own, self.member)
        return stacked


class _Gathered(torch.autograd.Function):
    """(*) of each worker -> (W, *) for all. A worker's gradient is the sum of what all workers' losses say of it."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, member: Member) -> Tensor:
        ctx.member = member
        return torch.stack(member.gathered(own))

    @staticmethod
    def backward(ctx: Any, gradient_W: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _Gathered.apply(gradient_W.contiguous(), ctx.member)[:, ctx.member.rank].sum(0), None


def in_order(parts: Sequence[Tensor]) -> Tensor:
    """Their sum, first to last."""
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total
