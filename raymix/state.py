"""What a round hands to the next (`State`, `Assigned`) and what it shows to an observer (`RoundInfo`).

Axes: N rows, K components, C classes; n rows of one block; F pairs of components between which rows moved.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray


class Assigned(NamedTuple):
    """The assignment of one block's rows."""

    labels: NDArray[np.int32]
    """(n,) the component that won each row."""
    lent_rows: NDArray[np.int32]
    """(m,) rows of the block lent to a starved component; their winners keep them too."""
    lent_to: NDArray[np.int32]
    """(m,) the component each of them is lent to."""

    @classmethod
    def of(cls, labels: NDArray[np.integer]) -> "Assigned":
        """An assignment that lends nothing."""
        none = np.empty(0, np.int32)
        return cls(labels.astype(np.int32), none, none)

    def rows_of(self, component: int) -> NDArray[np.int64]:
        """Rows of the block in the component's shard, ascending."""
        won = np.flatnonzero(self.labels == component)
        lent = self.lent_rows[self.lent_to == component]
        return np.sort(np.concatenate([won, lent])) if len(lent) else won


@dataclass(frozen=True)
class State:
    """What the next round needs beside the components' own tensors and the assignment."""

    round: int
    """The last round that ended; -1 before pre-training."""
    components: tuple[int, ...]
    """Ids of those that compete, ascending; permanent and never used again."""
    won_K: tuple[int, ...]
    """Rows won."""
    loads_K: tuple[int, ...]
    """Sizes of the shards: rows won and rows lent."""
    log_z_K: tuple[float, ...]
    """Normalisers: log-sum-exp of each component's log ratios over the data set, in nats; 0 where none is used."""
    starved_rounds_K: tuple[int, ...]
    """For how many rounds in a row each component has been starved."""

    @classmethod
    def fresh(cls, components: tuple[int, ...]) -> Self:
        """Before pre-training: no row is assigned."""
        none = (0,) * len(components)
        return cls(-1, components, none, none, (0.0,) * len(components), none)

    def next_round(self) -> Self:
        """The next round's state before its rows are counted."""
        return replace(self, round=self.round + 1, starved_rounds_K=tuple(n + 1 for n in self.starved_rounds_K))

    def counted(self, outcome: "Outcome") -> Self:
        """With the counts of a new assignment; who is not starved by it has been starved for 0 rounds."""
        won_K, loads_K = tuple(outcome.won_K.tolist()), tuple(outcome.loads_K.tolist())
        starved = zip(won_K, loads_K, self.starved_rounds_K, strict=True)
        streak_K = tuple(rounds if load > won else 0 for won, load, rounds in starved)
        return replace(self, won_K=won_K, loads_K=loads_K, starved_rounds_K=streak_K)

    @property
    def weights_K(self) -> tuple[float, ...]:
        """Mixing weights: the share of rows won."""
        total = sum(self.won_K)
        return tuple(won / total for won in self.won_K)

    @property
    def starved(self) -> tuple[int, ...]:
        """Components that train on lent rows because they won too few."""
        return tuple(k for k, won, load in zip(self.components, self.won_K, self.loads_K, strict=True) if load > won)


class Outcome(NamedTuple):
    """Counts of one assignment."""

    won_K: NDArray[np.int64]
    loads_K: NDArray[np.int64]
    moved: int
    """Rows whose owner changed; all of them at the first assignment."""
    contingency_KC: NDArray[np.int64] | None
    """Rows won by component and class, where labels are known."""
    flow_F3: NDArray[np.int64]
    """Owner before, owner after, rows; the largest first. Empty at the first assignment."""


class Fit(NamedTuple):
    """How one component's network trained in one phase."""

    component: int
    steps: int
    loss: float
    """Mean over the phase; of a discriminator the smoothed loss at its end (half the sum of both sides, 0.693 is
    chance). nan when no step was taken."""
    critic_loss: float | None = None
    """Of an adversarial family: the critic's loss, mean over the phase. None when no step was taken."""
    saturated: bool = False
    """Whether the family says that a critic with such a loss has little left to teach."""


@dataclass(frozen=True)
class RoundInfo:
    """One round as an observer sees it."""

    round: int
    generators: tuple[Fit, ...]
    discriminators: tuple[Fit, ...]
    moved: int
    contingency_KC: NDArray[np.int64] | None = None
    flow_F3: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 3), np.int64))
    """Owner before, owner after, rows; the largest first."""
    reseeded: dict[int, int] = field(default_factory=dict)
    """Starved components that began anew as copies of another, and that one."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time per phase."""
