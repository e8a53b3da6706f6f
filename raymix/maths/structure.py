"""K from within: which components retire, merge, are dealt anew or split, from what was measured about their rows.

The signal is whether a component's own rows have one mode; nothing here looks at held-out rows or counts parameters.
Axes: K components that compete, in ascending order; N rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymix.maths.modality import UNIMODAL, Cells, Modality
from raymix.state import Change, Lineage, State

Candidate = tuple[int, ...]
"""One component that may split, or two that may merge or be dealt anew: whose rows are looked at together."""

AGE = 2  # rounds that a component is left alone
SMALL_SHARE, SMALL_OF_EQUAL = 0.02, 0.25  # of N, and of N / K: who wins less than both for AGE rounds retires
CONFUSED = 0.03  # pairs that share less of their rows are left alone
ONE_MODE, ONE_MODE_OF_SIBLINGS = 0.65, 0.85  # pairs with a shallower valley merge
TWO_MODES = 0.3  # pairs with a deeper valley are two modes
MOVED = 0.05  # of a pair's rows: so many must move for them to be dealt anew
SPLIT_SHARE, CELL_SHARE = 0.03, 0.015  # of N: rows that a component needs to split, and each cell of it
LEAST_ROWS = 300  # fewer say nothing about modes
PAIRS_PER_COMPONENT = 3  # that are looked at, the most confused first


class Confusion(NamedTuple):
    """How the components share the rows, all rows being with whoever explains them best."""

    won_K: NDArray[np.int64]
    posterior_KK: NDArray[np.float64]
    """Sum over the rows of (line) of softmax_k s for (column)."""

    def of_pairs(self) -> NDArray[np.float64]:
        """(K, K) the posterior that two components have of each other's rows, over the rows of the smaller; 0 where one
        has no rows."""
        shared_KK = self.posterior_KK + self.posterior_KK.T
        fewer_KK = np.minimum.outer(self.won_K, self.won_K)
        return np.divide(shared_KK, fewer_KK, out=np.zeros_like(shared_KK), where=fewer_KK > 0)


@dataclass(frozen=True)
class Reshaping:
    """What is to happen to the components that were left when the retired had gone."""

    components: tuple[int, ...]
    """Those that there will be, ascending."""
    sources: dict[int, int]
    """For each of them whose tensors it goes on with."""
    merged: dict[int, int] = field(default_factory=dict)
    """Whose rows all go to another."""
    dealt: tuple[tuple[Candidate, tuple[int, ...], Cells], ...] = ()
    """Whose rows go to others by cells: (whose, to whom for each cell, the cells)."""
    changes: tuple[Change, ...] = ()
    next_component: int = 0

    @property
    def touched(self) -> set[int]:
        """Those whose rows become others."""
        return {k for change in self.changes for k in (*change.components, *change.into)}


def small_below(num_components: int, num_rows: int) -> float:
    """Rows with fewer than which a component is too small to be kept."""
    return min(SMALL_OF_EQUAL / num_components, SMALL_SHARE) * num_rows


def counted(state: State) -> State:
    """The state with one more round in which components were too small, or none any more."""
    assert state.lineage is not None
    limit = small_below(len(state.components), sum(state.won_K))
    pairs = zip(state.won_K, state.lineage.small_rounds_K, strict=True)
    small_K = tuple(rounds + 1 if won < limit else 0 for won, rounds in pairs)
    return replace(state, lineage=replace(state.lineage, small_rounds_K=small_K))


def retired(state: State, least: int) -> tuple[Change, ...]:
    """Those who have been too small for some rounds, the smallest first, as long as `least` are left."""
    assert state.lineage is not None
    small_K, total = state.lineage.small_rounds_K, sum(state.won_K)
    limit = small_below(len(state.components), total)
    old = _old(state)
    found = [i for i, k in enumerate(state.components) if small_K[i] >= AGE and k in old]
    found = sorted(found, key=lambda i: state.won_K[i])[: max(0, len(state.components) - least)]
    return tuple(
        Change(
            "retire",
            (state.components[i],),
            (),
            {"rows": state.won_K[i], "limit": round(limit, 1), "rounds": small_K[i]},
            f"won {state.won_K[i]:,} rows, fewer than {limit:,.0f} for {small_K[i]} rounds",
        )
        for i in found
    )


def _old(state: State) -> set[int]:
    """Components that may change."""
    assert state.lineage is not None
    pairs = zip(state.components, state.lineage.born_K, strict=True)
    return {k for k, born in pairs if state.round - born >= AGE}


def candidates(state: State, confusion: Confusion) -> list[Candidate]:
    """Whose rows are to be looked at: pairs, most confused first, then components that may split."""
    old, rows = _old(state), dict(zip(state.components, confusion.won_K.tolist(), strict=True))
    confused = _confused(state, confusion)
    pairs = [pair for pair in confused if set(pair) <= old and sum(rows[k] for k in pair) >= LEAST_ROWS]
    least = max(LEAST_ROWS, SPLIT_SHARE * sum(rows.values()))
    single = [(k,) for k in state.components if k in old and rows[k] >= least]
    return [*pairs[: PAIRS_PER_COMPONENT * len(state.components)], *single]


def _confused(state: State, confusion: Confusion) -> dict[Candidate, float]:
    """The confusion of pairs that are confused at all, the most confused first."""
    of_pairs = confusion.of_pairs()
    found = {
        (j, k): float(of_pairs[a, b])
        for a, j in enumerate(state.components)
        for b, k in enumerate(state.components)
        if a < b and of_pairs[a, b] >= CONFUSED
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def reshaping(
    state: State, confusion: Confusion, looks: Mapping[Candidate, Modality], least: int, most: int
) -> Reshaping:
    """What follows from the looks, for a state without the retired; `least` and `most` bound the number of components.

    Pairs come first, the most confused first, and each component changes once.
    """
    assert state.lineage is not None
    draft = _Draft(state, confusion, least, most)
    confused = _confused(state, confusion)
    for candidate, found in looks.items():
        if not draft.touched & set(candidate):
            if len(candidate) == 2:
                draft.look_at_pair(candidate, found, confused[candidate])
            else:
                draft.look_at_one(candidate[0], found)
    return draft.reshaping()


class _Draft:
    """A reshaping in the making."""

    def __init__(self, state: State, confusion: Confusion, least: int, most: int) -> None:
        assert state.lineage is not None
        self.least, self.most = least, most
        self.total = int(confusion.won_K.sum())
        self.rows = dict(zip(state.components, confusion.won_K.tolist(), strict=True))
        self.split = dict(zip(state.components, state.lineage.split_K, strict=True))
        self.next_component = state.lineage.next_component
        self.sources = {k: k for k in state.components}
        self.merged: dict[int, int] = {}
        self.dealt: list[tuple[Candidate, tuple[int, ...], Cells]] = []
        self.changes: list[Change] = []

    @property
    def touched(self) -> set[int]:
        return {k for change in self.changes for k in change.components}

    def look_at_pair(self, pair: Candidate, found: Modality, confusion: float) -> None:
        siblings = self.split[pair[0]] == self.split[pair[1]] != -1
        bound = ONE_MODE_OF_SIBLINGS if siblings else ONE_MODE
        numbers = {"confusion": round(confusion, 4), "valley": round(found.valley, 4)}
        if found.valley >= bound:
            if len(self.sources) > self.least:
                self._merge(pair, numbers | {"limit": bound})
            return
        share = min(found.shares_C) * sum(self.rows[k] for k in pair) / self.total
        if found.cells and found.valley < TWO_MODES and share >= CELL_SHARE and found.moved > MOVED:
            numbers |= {"limit": TWO_MODES, "moved": round(found.moved, 4)}
            reason = f"their rows have two modes (valley {found.valley:.2f}) that they shared {found.moved:.0%} wrongly"
            self.dealt.append((pair, pair, found.cells))
            self.changes.append(Change("repartition", pair, pair, numbers, reason))

    def _merge(self, pair: Candidate, numbers: dict[str, float]) -> None:
        bigger, smaller = sorted(pair, key=lambda k: (-self.rows[k], k))
        del self.sources[smaller]
        self.merged[smaller] = bigger
        reason = f"their rows have one mode (valley {numbers['valley']:.2f}), confusion {numbers['confusion']:.2f}"
        self.changes.append(Change("merge", pair, (bigger,), numbers, reason))

    def look_at_one(self, component: int, found: Modality) -> None:
        room = self.most - len(self.sources)
        if found.cells is None or found.valley >= UNIMODAL or room < 1:
            return
        num = min(len(found.shares_C), room + 1)
        born = tuple(range(self.next_component, self.next_component + num - 1))
        self.next_component += num - 1
        self.sources |= dict.fromkeys(born, component)
        cells = found.cells._replace(centres_CP=found.cells.centres_CP[:num])
        self.dealt.append(((component,), (component, *born), cells))
        numbers = {"valley": round(found.valley, 4), "limit": UNIMODAL, "cells": num}
        reason = f"its rows have {num} modes (valley {found.valley:.2f})"
        self.changes.append(Change("split", (component,), (component, *born), numbers, reason))

    def reshaping(self) -> Reshaping:
        sources = dict(sorted(self.sources.items()))
        changes = tuple(self.changes)
        return Reshaping(tuple(sources), sources, self.merged, tuple(self.dealt), changes, self.next_component)


def applied(state: State, reshaping: Reshaping) -> State:
    """The state with the components that a reshaping leaves; their rows are still to be counted."""
    assert state.lineage is not None
    places = [state.components.index(source) for source in reshaping.sources.values()]
    taken, old = state.only(places), set(state.components)
    assert taken.lineage is not None
    split = {
        k: min(set(change.into) - old) for change in reshaping.changes if change.kind == "split" for k in change.into
    }
    ids, before = reshaping.components, taken.lineage
    lineage = Lineage(
        tuple(born if k in old else state.round for k, born in zip(ids, before.born_K, strict=True)),
        tuple(split.get(k, number) for k, number in zip(ids, before.split_K, strict=True)),
        tuple(0 if k in reshaping.touched else rounds for k, rounds in zip(ids, before.small_rounds_K, strict=True)),
        reshaping.next_component,
    )
    return replace(taken, components=reshaping.components, lineage=lineage)
