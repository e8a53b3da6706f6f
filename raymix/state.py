"""What a round hands to the next (`State`, `Assigned`) and what it shows to an observer (`RoundInfo`).

Axes: N rows, K components, C classes; n rows of one block; F pairs of components between which rows moved.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray


class Assigned(NamedTuple):
    """The assignment of one block's rows."""

    winners: NDArray[np.int32]
    """(n,) the component that won each row."""
    lent_rows: NDArray[np.int32]
    """(m,) rows of the block lent to a starved component; their winners keep them too."""
    lent_to: NDArray[np.int32]
    """(m,) the component each of them is lent to."""

    @classmethod
    def of(cls, winners: NDArray[np.integer]) -> "Assigned":
        """An assignment that lends nothing."""
        none = np.empty(0, np.int32)
        return cls(winners.astype(np.int32), none, none)

    def rows_of(self, component: int) -> NDArray[np.int64]:
        """Rows of the block in the component's shard, ascending."""
        won = np.flatnonzero(self.winners == component)
        lent = self.lent_rows[self.lent_to == component]
        return np.sort(np.concatenate([won, lent])) if len(lent) else won


@dataclass(frozen=True)
class Lineage:
    """Where components come from, in a run whose K changes; in the order of the state's components."""

    born_K: tuple[int, ...]
    """The round at whose end each came to be; 0 for those that were pre-trained."""
    split_K: tuple[int, ...]
    """The split that each was last part of, by the lowest id born of it; -1 for none."""
    small_rounds_K: tuple[int, ...]
    """For how many rounds in a row each has won too few rows to be kept."""
    next_component: int
    """The lowest id that was never used."""

    @classmethod
    def fresh(cls, num_components: int) -> Self:
        """The lineage of components that nothing happened to yet."""
        none = (0,) * num_components
        return cls(none, (-1,) * num_components, none, num_components)

    def only(self, places: Sequence[int]) -> Self:
        """The lineage of the components at some places alone."""
        born_K, split_K, small_rounds_K = (
            tuple(values[i] for i in places) for values in (self.born_K, self.split_K, self.small_rounds_K)
        )
        return replace(self, born_K=born_K, split_K=split_K, small_rounds_K=small_rounds_K)


class Change(NamedTuple):
    """One thing that happened to the set of components, and why."""

    kind: Literal["retire", "merge", "repartition", "split"]
    components: tuple[int, ...]
    """Those that it happened to."""
    into: tuple[int, ...]
    """Those that have their rows now; none after `retire`, where each row goes to whoever explains it best."""
    numbers: dict[str, float]
    """What was measured, and the bound it was held against."""
    reason: str

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Self:
        """What `_asdict` gave, after it was written and read."""
        return cls(**_with_tuples(values))


@dataclass(frozen=True)
class Standing:
    """Who has how many rows after a round."""

    round: int
    """The last round that ended; -1 before pre-training."""
    components: tuple[int, ...]
    """Ids of those that compete, ascending; permanent and never used again."""
    won_K: tuple[int, ...]
    """Rows won."""
    loads_K: tuple[int, ...]
    """Sizes of the shards: rows won and rows lent."""

    @property
    def weights_K(self) -> tuple[float, ...]:
        """Mixing weights: the share of rows won."""
        total = sum(self.won_K)
        return tuple(won / total for won in self.won_K)

    @property
    def starved(self) -> tuple[int, ...]:
        """Components that train on lent rows because they won too few."""
        return tuple(k for k, won, load in zip(self.components, self.won_K, self.loads_K, strict=True) if load > won)


@dataclass(frozen=True)
class State(Standing):
    """What the next round needs beside the components' own tensors and the assignment."""

    log_z_K: tuple[float, ...]
    """Normalisers: log-sum-exp of each component's log ratios over the data set, in nats; 0 where none is used."""
    starved_rounds_K: tuple[int, ...]
    """For how many rounds in a row each component has been starved."""
    lineage: Lineage | None = None
    """None where K does not change."""

    @classmethod
    def fresh(cls, components: tuple[int, ...], adapt: bool = False) -> Self:
        """Before pre-training: no row is assigned. `adapt`: K may change."""
        none = (0,) * len(components)
        lineage = Lineage.fresh(len(components)) if adapt else None
        return cls(-1, components, none, none, (0.0,) * len(components), none, lineage)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Self:
        """What `as_json` gave, after it was written and read."""
        found = _with_tuples(values)
        if "lineage" in found:
            found["lineage"] = Lineage(**_with_tuples(found["lineage"]))
        return cls(**found)

    def as_json(self) -> dict[str, Any]:
        """Plain values; without a lineage where there is none."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def only(self, places: Sequence[int]) -> Self:
        """With the components at some places alone; their rows are still to be counted."""
        names = ("components", "won_K", "loads_K", "log_z_K", "starved_rounds_K")
        lists: dict[str, Any] = {name: tuple(getattr(self, name)[i] for i in places) for name in names}
        return replace(self, **lists, lineage=self.lineage and self.lineage.only(places))

    def without(self, components: Iterable[int]) -> Self:
        """With all others alone."""
        gone = set(components)
        return self.only([i for i, k in enumerate(self.components) if k not in gone])

    def next_round(self) -> Self:
        """The next round's state before its rows are counted."""
        return replace(self, round=self.round + 1, starved_rounds_K=tuple(n + 1 for n in self.starved_rounds_K))

    def counted(self, outcome: "Outcome") -> Self:
        """With the counts of a new assignment; who is not starved by it has been starved for 0 rounds."""
        won_K, loads_K = tuple(outcome.won_K.tolist()), tuple(outcome.loads_K.tolist())
        starved = zip(won_K, loads_K, self.starved_rounds_K, strict=True)
        streak_K = tuple(rounds if load > won else 0 for won, load, rounds in starved)
        return replace(self, won_K=won_K, loads_K=loads_K, starved_rounds_K=streak_K)


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of JSON with tuples for lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


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


class Term(NamedTuple):
    """A named part of a loss, mean over a phase."""

    value: float
    unit: str
    """Such as "nats per row"; "" where it has none."""


class Fit(NamedTuple):
    """How one component's network trained in one phase."""

    component: int
    steps: int
    loss: float
    """Mean over the phase (of a generator its family's first term); of a discriminator the smoothed loss at its end
    (half the sum of both sides, in nats, 0.693 is chance). nan when no step was taken."""
    terms: Mapping[str, Term] = MappingProxyType({})
    """What there is to tell of a generator's losses, by name; a critic's is called critic. Empty without steps."""
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
    changes: tuple[Change, ...] = ()
    """What happened to the set of components at the end of the round."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time per phase."""
