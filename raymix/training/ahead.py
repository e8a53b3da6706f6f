"""Steps that are made before anybody looks at their losses: to look at each would leave a GPU idle meanwhile.

Whoever stops at an earlier step than the last one made goes back to where the steps began, and makes those again.

Shapes: M members of a stack, B rows.
"""

from collections.abc import Callable, Sequence
from typing import Generic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raymix.training.stacks import Network, Stack

Batch = tuple[Tensor, ...]
"""What a step is made on, (M, B, *) each."""

AHEAD = 16  # steps at most, where they are replayed
AHEAD_BYTES = 2**28  # of the batches they are made on


class StepsAhead(Generic[Network]):
    """The steps of a stack one after another, as they are looked at."""

    def __init__(
        self,
        running: Stack[Network],
        step: Callable[[Stack[Network], Batch], Tensor],
        batch: Callable[[], Batch],
        steps: int,
    ) -> None:
        """`step` returns losses (M, *); `batch` gives `steps` batches."""
        self.running, self.step, self.batch, self.left = running, step, batch, steps
        self.ahead = 1
        self._batches: list[Batch] = []
        self._losses: NDArray[np.floating] = np.empty(0)
        self._looked = 0
        self._before: dict[str, Tensor] = {}

    def loss(self) -> NDArray[np.float64]:
        """(M, *) of the next step."""
        if self._looked == len(self._losses):
            self._make()
        self._looked += 1
        found: NDArray[np.float64] = self._losses[self._looked - 1]
        return found

    def _make(self) -> None:
        num = min(self.ahead, self.left)
        if num > 1:
            self._before = {name: value.clone() for name, value in self.running.network.tensors().items()}
        self._batches = self._batches[self._looked :]
        self._batches += [self.batch() for _ in range(num - len(self._batches))]
        losses = torch.stack([self.step(self.running, batch) for batch in self._batches])
        self._losses, self._looked = losses.double().cpu().numpy(), 0
        self.left -= num
        if self.running.replays:
            self.ahead = max(1, min(AHEAD, AHEAD_BYTES // sum(each.nbytes for each in self._batches[0])))

    def stop(self) -> None:
        """Let the stack be as it was after the step that was looked at last."""
        beyond = len(self._losses) - self._looked
        if not beyond:
            return
        for name, value in self.running.network.tensors().items():
            value.copy_(self._before[name])
        self.running.network.refresh()
        for batch in self._batches[: self._looked]:
            self.step(self.running, batch)
        self._losses = self._losses[: self._looked]
        self.left += beyond

    def keep(self, members: Sequence[int], running: Stack[Network]) -> None:
        """Go on with some of the members, after a `stop`."""
        rows = list(members)
        self.running = running
        self._batches = [tuple(each[rows] for each in batch) for batch in self._batches[self._looked :]]
        self._losses, self._looked = np.empty(0), 0
