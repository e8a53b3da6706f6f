"""Each member's own random numbers, drawn ahead for many steps at once."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from raymix.models.parts import Part

AHEAD = 2**15  # numbers of a member that are drawn at a time


class RowNoise:
    """The numbers of one row for every row, of one member for every member, and of one batch for every batch: what is
    found with them does not depend on what else is there."""

    def __init__(self, seed: int, members: int, device: torch.device) -> None:
        self.of_one, self.members = MemberNoise([seed], device), members
        self._kept: list[Tensor] = []
        self._next = 0

    def again(self) -> "RowNoise":
        """For the next batch."""
        self._next = 0
        return self

    def normal(self, *shape: int) -> Tensor:
        return self._given(self.of_one.normal, shape)

    def uniform(self, *shape: int) -> Tensor:
        return self._given(self.of_one.uniform, shape)

    def _given(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        if self._next == len(self._kept):
            self._kept.append(draw(1, *shape[1:]))
        self._next += 1
        return self._kept[self._next - 1].expand(self.members, *shape)


class MemberNoise:
    """Random numbers of the members of a stack: what a member sees depends on its seed and on what was asked before,
    not on who else is there.

    Shapes: M members.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device, part: Part | None = None) -> None:
        """With a `part` of a batch they are drawn for all its rows, and those of its own are given."""
        self.part = part
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._ahead, self._used = torch.empty((len(seeds), 0), device=device), 0

    def normal(self, *shape: int) -> Tensor:
        """(M, *shape) of the standard normal distribution."""
        if self.part is not None:
            return self._of_part(self.part, *shape)
        return self._normal(*shape)

    def uniform(self, *shape: int) -> Tensor:
        """(M, *shape) strictly between 0 and 1, from the same stream."""
        numbers = torch.special.ndtr(self.normal(*shape))
        limits = torch.finfo(numbers.dtype)
        return numbers.clamp(limits.tiny, 1 - limits.eps / 2)

    def _of_part(self, part: Part, rows: int, *shape: int) -> Tensor:
        assert rows == part.rows.stop - part.rows.start
        return self._normal(part.batch_size, *shape)[:, part.rows]

    def _normal(self, *shape: int) -> Tensor:
        num = math.prod(shape)
        if self._used + num > self._ahead.shape[1]:
            size, device = max(num, AHEAD), self._ahead.device
            self._ahead = torch.stack([torch.randn(size, generator=each, device=device) for each in self.generators])
            self._used = 0
        drawn = self._ahead[:, self._used : self._used + num]
        self._used += num
        return drawn.unflatten(1, shape)

    def keep(self, members: Sequence[int]) -> None:
        """Go on with some of the members."""
        self.generators = [self.generators[m] for m in members]
        self._ahead = self._ahead[list(members)]
