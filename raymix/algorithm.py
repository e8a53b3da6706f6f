"""Algorithm 1 (Locatello et al.) and nothing else.

The loop below is all there is: who trains, judges, scores and assigns, and in which order. How that is done (in this
process, in Ray actors) is behind `Workers`; what is made of it (checkpoints, records, progress) is behind `observe`.

Axes: N rows, K components that compete, B blocks.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from raymix.maths.modality import Modality
from raymix.maths.structure import Confusion, Group, Plan
from raymix.state import Change, Fit, Outcome, RoundInfo, State

Observe = Callable[[State, RoundInfo], None]


class Workers(Protocol):
    """Holds the components' tensors, the blocks and the assignment, and does the phases on all of them.

    Each phase is a function of (tensors, assignment, seed of the phase), so a `Workers` may repeat or move one freely.
    Components are given in ascending order everywhere; those that are not named keep their tensors as they are.
    """

    num_rows: int

    def pretrain(self, steps: Mapping[int, int]) -> list[Fit]:
        """Train fresh generators on the whole data set, or on a split of it; `steps` by component."""
        ...

    def train_generators(self, round: int, steps: Mapping[int, int]) -> list[Fit]:
        """Train generators on their shards; `steps` by component."""
        ...

    def start_generators(self, round: int, steps: Mapping[int, int]) -> Callable[[], list[Fit]]:
        """As `train_generators`, but this round's discriminators judge the generators as they were before. Returns what
        waits until they are trained."""
        ...

    def train_discriminators(self, round: int, components: tuple[int, ...]) -> list[Fit]:
        """Train discriminators: fresh samples of g_k against the whole data set."""
        ...

    def score(self, round: int, components: tuple[int, ...]) -> NDArray[np.float64]:
        """Score every row with the components' discriminators; the log ratios stay with the workers.

        Returns their log-sum-exp per component and block, (K, B), in nats.
        """
        ...

    def assign(self, round: int, components: tuple[int, ...], log_z_K: Sequence[float]) -> Outcome:
        """Give each row to argmax_k s_k, lend rows to starved components; the next round trains on the result."""
        ...

    def deal(self, round: int, components: tuple[int, ...]) -> Outcome:
        """Assign rows by the rule of a control, which looks at no log ratio."""
        ...

    def reseed(self, round: int, components: tuple[int, ...], donors: Mapping[int, int]) -> Outcome:
        """Make starved components copies of others, {starved: donor}, and give them half of the donor's rows."""
        ...

    def share(self, components: tuple[int, ...], log_z_K: Sequence[float]) -> Confusion:
        """How some components share the rows, by the log ratios of the assignment before."""
        ...

    def look(self, components: tuple[int, ...], groups: Sequence[Group]) -> list[Modality]:
        """What the rows of some of those who `share` are like, alone or in pairs."""
        ...

    def reshape(self, components: tuple[int, ...], plan: Plan) -> Outcome:
        """Let those who `share` become the components of a plan, with their tensors and rows."""
        ...


def train_mixture(config: Config, workers: Workers, state: State, observe: Observe) -> State:
    """Run the rounds that `state` leaves to do, and return the last state."""
    if state.round < 0:
        clock = PhaseClock()
        with clock("pre-train"):
            fits = workers.pretrain(pretrain_steps(config, workers.num_rows, state.components))
        state = judge(config, workers, state, lambda: fits, clock, observe)
    for t in range(state.round + 1, config.schedule.rounds + 1):
        clock = PhaseClock()
        trained = train_generators(config, workers, state, t, clock)
        state = judge(config, workers, state, trained, clock, observe)
    return state


def train_generators(
    config: Config, workers: Workers, state: State, round: int, clock: "PhaseClock"
) -> Callable[[], list[Fit]]:
    """The first half of a round: every generator on its shard. In a round that overlaps the result waits for them."""
    rows = config.schedule.epochs_per_round * workers.num_rows
    steps = round_steps(rows, config, state.components, state.loads_K)
    if not config.overlaps(round):
        with clock("train generators"):
            fits = workers.train_generators(round, steps)
        return lambda: fits
    with clock("train generators"):  # beside the discriminators on Ray, before them in one process
        wait = workers.start_generators(round, steps)

    def trained() -> list[Fit]:
        with clock("train generators"):
            return wait()

    return trained


def judge(
    config: Config,
    workers: Workers,
    before: State,
    trained: Callable[[], list[Fit]],
    clock: "PhaseClock",
    observe: Observe,
) -> State:
    """The second half of a round: discriminators, log ratios, next assignment. `trained` waits for the generators."""
    t, discriminators = before.round + 1, list[Fit]()
    if config.judges:
        with clock("train discriminators"):
            discriminators = workers.train_discriminators(t, before.components)
    state, outcome = partition(config, workers, before.next_round(), clock)
    generators, outcomes, changes = trained(), [outcome], tuple[Change, ...]()
    patience = config.balance.patience if t < config.schedule.rounds else 0  # nobody would train the last copies
    donors = reseeds(state.components, state.won_K, state.starved_rounds_K, patience)
    if donors:
        with clock("reseed"):
            outcomes.append(workers.reseed(t, state.components, donors))
        state = state.counted(outcomes[-1])
    if config.schedule.adapt:
        state = structure.counted(state)
    if config.schedule.retires(t):
        with clock("adapt"):
            state, changed, changes = adapt(config, workers, state)
        outcomes += changed
    info = RoundInfo(
        round=t,
        generators=tuple(generators),
        discriminators=tuple(discriminators),
        moved=sum(each.moved for each in outcomes),
        contingency_KC=outcomes[-1].contingency_KC,
        flow_F3=added(each.flow_F3 for each in outcomes),
        reseeded=donors,
        changes=changes,
        seconds=clock.seconds,
    )
    observe(state, info)
    return state


def partition(config: Config, workers: Workers, state: State, clock: "PhaseClock") -> tuple[State, Outcome]:
    """The state after each row has gone to the component that explains it best, or where a control deals it."""
    t, components = state.round, state.components
    log_z_K = np.zeros(len(components))
    if config.judges:
        with clock("score"):
            log_sum_exp_KB = workers.score(t, components)
        with clock("assign"):
            if config.assign.normalise:
                log_z_K = normalisers(log_sum_exp_KB)
            outcome = workers.assign(t, components, log_z_K.tolist())
    else:
        with clock("assign"):
            outcome = workers.deal(t, components)
    return replace(state.counted(outcome), log_z_K=tuple(log_z_K.tolist())), outcome


def adapt(config: Config, workers: Workers, state: State) -> tuple[State, list[Outcome], tuple[Change, ...]]:
    """The change of K: components that are too small retire; before the last rounds others merge, deal their rows anew
    and split, as the modes of their rows say."""
    schedule = config.schedule
    gone = structure.retired(state, schedule.min_components)
    kept = [i for i, k in enumerate(state.components) if all(k not in change.components for change in gone)]
    left = state.only(kept)
    if not gone and not schedule.adapts(state.round):
        return state, [], ()
    confusion = workers.share(left.components, left.log_z_K)
    groups = structure.groups(left, confusion) if schedule.adapts(state.round) else []
    looks = dict(zip(groups, workers.look(left.components, groups), strict=True))
    plan = structure.plan(left, confusion, looks, schedule.min_components, schedule.max_components)
    if not gone and not plan.changes:
        return state, [], ()
    outcome = workers.reshape(left.components, plan)
    return structure.applied(left, plan).counted(outcome), [outcome], (*gone, *plan.changes)


def without(config: Config, workers: Workers, state: State, component: int) -> State:
    """The state in which a component competes no longer and its rows are the others', by the log ratios of the round
    that `state` ended."""
    kept = [i for i, k in enumerate(state.components) if k != component]
    rest = state.only(kept)
    return rest if state.round < 0 else partition(config, workers, rest, PhaseClock())[0]


class PhaseClock:
    """Wall time of each phase of one round."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start
