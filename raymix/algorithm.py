"""Algorithm 1 (Locatello et al.) and nothing else.

The loop below is all there is: who trains, judges, scores and assigns, and in which order. How that is done (in this
process, in Ray actors) is behind `Workers`; what is made of it (checkpoints, records, progress) is behind `observe`.

Axes: N rows, K components, B blocks.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raymix.config import Config
from raymix.maths.log_ratio import normalisers
from raymix.state import Fit, Outcome, RoundInfo, State

Observe = Callable[[State, RoundInfo], None]


class Workers(Protocol):
    """Holds the components' tensors, the blocks and the assignment, and does the phases on all of them.

    Each phase is a function of (tensors, assignment, seed of the phase), so a `Workers` may repeat or move one freely.
    Components are given in ascending order everywhere.
    """

    num_rows: int

    def pretrain(self, steps_K: Sequence[int]) -> list[Fit]:
        """Train every fresh generator on the whole data set, or on a split of it."""
        ...

    def train_generators(self, round: int, steps_K: Sequence[int]) -> list[Fit]:
        """Train every generator on its shard."""
        ...

    def train_discriminators(self, round: int) -> list[Fit]:
        """Train every discriminator: fresh samples of g_k against the whole data set."""
        ...

    def score(self, round: int) -> NDArray[np.float64]:
        """Score every row with every discriminator; the log ratios stay with the workers.

        Returns their log-sum-exp per component and block, (K, B), in nats.
        """
        ...

    def assign(self, round: int, log_z_K: Sequence[float]) -> Outcome:
        """Give each row to argmax_k s_k, lend rows to starved components; the next round trains on the result."""
        ...

    def deal(self, round: int) -> Outcome:
        """Assign rows by the rule of a control, which looks at no log ratio."""
        ...


def equal_steps(rows: float, config: Config) -> tuple[int, ...]:
    """The same number of steps for every component, so that together they see about `rows` rows.

    A `single` generator gets the steps of all K, rounded as theirs are, so that budgets are equal.
    """
    steps = max(1, round(rows / config.schedule.batch_size / config.num_components))
    num = len(config.components)
    return (steps * config.num_components // num,) * num


def round_steps(rows: float, config: Config, loads_K: Sequence[int]) -> tuple[int, ...]:
    """Steps of each component in a round: equal, or in proportion to the loads, with one step at least for a shard that
    is not empty."""
    if config.schedule.steps == "equal" or config.mode == "single":
        return equal_steps(rows, config)
    steps = rows / config.schedule.batch_size
    return tuple(max(1, round(steps * load / sum(loads_K))) if load else 0 for load in loads_K)


def train_mixture(config: Config, workers: Workers, state: State | None, observe: Observe) -> State:
    """Run the rounds that `state` (None: before pre-training) leaves to do, and return the last state."""
    if state is None:
        clock = PhaseClock()
        with clock("pre-train"):
            fits = workers.pretrain(pretrain_steps(config, workers.num_rows))
        state = judge(config, workers, 0, fits, clock, observe)
    for t in range(state.round + 1, config.schedule.rounds + 1):
        clock = PhaseClock()
        with clock("train generators"):
            rows = config.schedule.epochs_per_round * workers.num_rows
            steps_K = round_steps(rows, config, state.loads_K)
            fits = workers.train_generators(t, steps_K)
        state = judge(config, workers, t, fits, clock, observe)
    return state


def judge(
    config: Config, workers: Workers, t: int, generators: list[Fit], clock: "PhaseClock", observe: Observe
) -> State:
    """The second half of a round: discriminators, log ratios, next assignment."""
    discriminators: list[Fit] = []
    log_z_K = np.zeros(len(config.components))
    if config.judges:
        with clock("train discriminators"):
            discriminators = workers.train_discriminators(t)
        with clock("score"):
            log_sum_exp_KB = workers.score(t)
        with clock("assign"):
            if config.assign.normalise:
                log_z_K = normalisers(log_sum_exp_KB)
            outcome = workers.assign(t, log_z_K.tolist())
    else:
        with clock("assign"):
            outcome = workers.deal(t)
    state = State(
        round=t,
        components=config.components,
        won_K=tuple(outcome.won_K.tolist()),
        loads_K=tuple(outcome.loads_K.tolist()),
        log_z_K=tuple(log_z_K.tolist()),
    )
    info = RoundInfo(t, tuple(generators), tuple(discriminators), outcome.moved, outcome.contingency_KC, clock.seconds)
    observe(state, info)
    return state


def pretrain_steps(config: Config, num_rows: int) -> tuple[int, ...]:
    """Equal steps for every component, none without pre-training."""
    schedule = config.schedule
    if schedule.pretrain_epochs == 0:
        return tuple(0 for _ in config.components)
    rows = schedule.pretrain_epochs * num_rows
    if schedule.pretrain_budget == "each":
        rows *= config.num_components
    return equal_steps(rows, config)


def num_fakes(config: Config, num_rows: int) -> int:
    """Fresh samples of each generator that the discriminators see in a round."""
    fakes = config.discriminator.fakes
    return max(1, num_rows // config.num_components) if fakes == "auto" else fakes


class PhaseClock:
    """Wall time of each phase of one round."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = time.perf_counter() - start
