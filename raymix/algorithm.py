"""Algorithm 1 (Locatello et al.) and nothing else.

`train_mixture` is all there is: who trains, judges, scores and assigns, and in which order. How that is done (in this
process, in Ray actors) is behind `Workers`; what is made of it (checkpoints, records, progress) is behind `observe`.

Axes: N rows, K components that compete, B blocks.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raymix.budgets import pretrain_steps, round_steps
from raymix.config import Config
from raymix.maths import structure
from raymix.maths.balance import reseeds
from raymix.maths.flow import added
from raymix.maths.log_ratio import normalisers
from raymix.maths.ownership import Ownership
from raymix.state import Fit, Outcome, RoundInfo, State

Observe = Callable[[State, RoundInfo], None]
Seconds = dict[str, float]  # wall time by phase


class Workers(Protocol):
    """Holds the components' tensors, and does the phases on them.

    Each phase is a function of (tensors, assignment, seed of the phase), so a `Workers` may repeat or move one freely.
    Components are given in ascending order everywhere; those that are not named keep their tensors as they are.
    """

    rows: Ownership

    def begin(self, components: tuple[int, ...]) -> None:
        """Part the rows by k-means before anything is trained."""
        ...

    def pretrain(self, steps: Mapping[int, int]) -> list[Fit]:
        """Train fresh generators on their cells, on the whole data set, or on a split of it; `steps` by component."""
        ...

    def train_generators(self, round: int, steps: Mapping[int, int], overlap: bool) -> Callable[[], list[Fit]]:
        """Train generators on their shards; `steps` by component. Returns what waits until they are trained.

        With `overlap` this round's discriminators judge them as they were before, and may do so meanwhile.
        """
        ...

    def train_discriminators(self, round: int, components: tuple[int, ...]) -> list[Fit]:
        """Train discriminators: fresh samples of g_k against the whole data set."""
        ...

    def score(self, round: int, components: tuple[int, ...]) -> NDArray[np.float64]:
        """Score every row with the components' discriminators; `rows` holds the log ratios.

        Returns their log-sum-exp per component and block, (K, B), in nats.
        """
        ...

    def reseed(self, donors: Mapping[int, int]) -> None:
        """Make generators copies of others, {starved: donor}; discriminators stay as they are."""
        ...

    def reshape(self, sources: Mapping[int, int]) -> None:
        """Hold these components from now on, each with the tensors of one that there was: {component: of whom}."""
        ...


def train_mixture(config: Config, workers: Workers, state: State, observe: Observe) -> State:
    """Run the rounds that `state` leaves to do, and return the last state. Round 0 pre-trains, on all rows or on the
    cells that there are to begin with, where the others train on shards, and so gives the first assignment."""
    while state.round < config.schedule.rounds:
        seconds, discriminators = Seconds(), list[Fit]()
        trained = train_generators(config, workers, state, seconds)
        if config.assigns(state.round + 1):
            with timed("train discriminators", seconds):
                discriminators = workers.train_discriminators(state.round + 1, state.components)
        state, outcome = partition(config, workers, state.next_round(), seconds)
        generators = trained()
        info = RoundInfo(
            round=state.round,
            generators=tuple(generators),
            discriminators=tuple(discriminators),
            moved=outcome.moved,
            contingency_KC=outcome.contingency_KC,
            flow_F3=outcome.flow_F3,
            seconds=seconds,
        )
        state, info = reseed(config, workers, state, info)
        state, info = adapt(config, workers, state, info)
        observe(state, info)
    return state


def train_generators(config: Config, workers: Workers, before: State, seconds: Seconds) -> Callable[[], list[Fit]]:
    """Every generator on its shard. They are trained when this returns; in a round that overlaps, when what it returns
    does."""
    t, num_rows = before.round + 1, workers.rows.num_rows
    if t == 0:
        if config.has_cells:
            with timed("begin", seconds):
                workers.begin(before.components)
        with timed("pre-train", seconds):
            fits = workers.pretrain(pretrain_steps(config, num_rows, before.components))
            if config.schedule.pretrain_on == "one":
                first, *others = before.components
                workers.reseed(dict.fromkeys(others, first))
    else:
        rows = config.schedule.epochs_per_round * num_rows
        steps = round_steps(rows, config, before.components, before.loads_K)
        with timed("train generators", seconds):
            wait = workers.train_generators(t, steps, config.overlaps(t))
            if config.overlaps(t):
                return timed("train generators", seconds)(wait)
            fits = wait()
    return lambda: fits


def partition(config: Config, workers: Workers, state: State, seconds: Seconds) -> tuple[State, Outcome]:
    """The state after each row has gone to the component that explains it best, or where a control deals it."""
    t, components, rows = state.round, state.components, workers.rows
    if config.assigns(t):
        state = scored(config, workers, state, seconds)
    with timed("assign", seconds):
        if config.assigns(t):
            outcome = rows.assign(t, state.log_z_K)
        else:
            outcome = rows.keep(components) if config.keeps else rows.deal(t, components)
    return state.counted(outcome), outcome


def scored(config: Config, workers: Workers, state: State, seconds: Seconds) -> State:
    """The state with the normalisers of what its components say of every row."""
    with timed("score", seconds):
        log_sum_exp_KB = workers.score(state.round, state.components)
    log_z_K = normalisers(log_sum_exp_KB) if config.assign.normalise else np.zeros(len(state.components))
    return replace(state, log_z_K=tuple(log_z_K.tolist()))


def reseed(config: Config, workers: Workers, state: State, info: RoundInfo) -> tuple[State, RoundInfo]:
    """Who has starved for too long begins anew as a copy of another, with half of its rows."""
    # where rows stay they do so here, too, and nobody would train the last copies
    patience = config.balance.patience if config.assigns(state.round) and state.round < config.schedule.rounds else 0
    donors = reseeds(state.components, state.won_K, state.starved_rounds_K, patience)
    if not donors:
        return state, info
    with timed("reseed", info.seconds):
        workers.reseed(donors)
        outcome = workers.rows.reseed(state.round, state.components, donors)
    return state.counted(outcome), replace(after(info, outcome), reseeded=donors)


def adapt(config: Config, workers: Workers, state: State, info: RoundInfo) -> tuple[State, RoundInfo]:
    """The change of K: components that are too small retire; before the last rounds others merge, deal their rows anew
    and split, as the modes of their rows say."""
    schedule, t = config.schedule, state.round
    state = structure.counted(state) if schedule.adapt else state
    if not schedule.retires(t):
        return state, info
    with timed("adapt", info.seconds):
        gone = structure.retired(state, schedule.min_components)
        if not gone and not schedule.adapts(t):
            return state, info
        left = state.without(k for change in gone for k in change.components)
        confusion = workers.rows.share(left.components, left.log_z_K)
        candidates = structure.candidates(left, confusion) if schedule.adapts(t) else []
        looks = dict(zip(candidates, workers.rows.look(candidates), strict=True))
        reshaping = structure.reshaping(left, confusion, looks, schedule.min_components, schedule.max_components)
        if not gone and not reshaping.changes:
            return state, info
        workers.reshape(reshaping.sources)
        outcome = workers.rows.reshape(reshaping)
    state = structure.applied(left, reshaping).counted(outcome)
    return state, replace(after(info, outcome), changes=(*gone, *reshaping.changes))


def after(info: RoundInfo, outcome: Outcome) -> RoundInfo:
    """With the counts of one more assignment in the same round."""
    moved, flow_F3 = info.moved + outcome.moved, added([info.flow_F3, outcome.flow_F3])
    return replace(info, moved=moved, contingency_KC=outcome.contingency_KC, flow_F3=flow_F3)


def without(config: Config, workers: Workers, state: State, component: int) -> State:
    """The state in which a component competes no longer and its rows are the others', by the log ratios of the round
    that `state` ended, or dealt in turn where nobody was ever judged."""
    rest = state.without([component])
    if state.round < 0:
        return rest
    if config.assigns(state.round) or not any(config.assigns(t) for t in range(state.round)):
        return partition(config, workers, rest, {})[0]
    rest = scored(config, workers, rest, {})
    return rest.counted(workers.rows.assign(rest.round, rest.log_z_K, margin=math.inf))


@contextmanager
def timed(phase: str, seconds: Seconds) -> Iterator[None]:
    """Adds the wall time of a phase, or of a part of it, to what it took before."""
    start = time.perf_counter()
    yield
    seconds[phase] = seconds.get(phase, 0.0) + time.perf_counter() - start
