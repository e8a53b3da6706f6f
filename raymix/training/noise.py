"""Each member's own random numbers, drawn ahead for many steps at once."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

AHEAD = 2**15  # numbers of a member that are drawn at a time


class MemberNoise:
    """Normal numbers of the members of a stack: what a member sees depends on its seed and on what was asked before,
    not on who else is there.

    Shapes: M members.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._ahead, self._used = torch.empty((len(seeds), 0), device=device), 0

    def normal(self, *shape: int) -> Tensor:
        """(M, *shape) of the standard normal distribution."""
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
