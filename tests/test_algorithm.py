"""Algorithm 1 with workers that only write down what they were asked."""

import numpy as np
import pytest
from scipy.special import logsumexp

from raymix.algorithm import num_fakes, pretrain_steps, round_steps, train_mixture
from raymix.config import AssignConfig, Config, DiscriminatorConfig, ScheduleConfig
from raymix.state import Fit, Outcome, State

MODES = ["compete", "bag", "single", "random", "oracle"]
LOG_SUM_EXP_KB = np.array([[0.0, 1e4, -3.0], [5.0, -1e4, 5.0]])


class FakeWorkers:
    """Fulfils `Workers` without doing any work."""

    def __init__(self, config, num_rows=1000):
        self.config, self.num_rows = config, num_rows
        self.calls = []

    def pretrain(self, steps_K):
        self.calls.append(("pretrain", 0, steps_K))
        return [Fit(k, steps, 1.0) for k, steps in zip(self.config.components, steps_K, strict=True)]

    def train_generators(self, round, steps_K):
        self.calls.append(("generators", round, steps_K))
        return [Fit(k, steps, 2.0) for k, steps in zip(self.config.components, steps_K, strict=True)]

    def train_discriminators(self, round):
        self.calls.append(("discriminators", round))
        return [Fit(k, 7, 0.5) for k in self.config.components]

    def score(self, round):
        self.calls.append(("score", round))
        return LOG_SUM_EXP_KB

    def assign(self, round, log_z_K):
        self.calls.append(("assign", round, log_z_K))
        return self._outcome(round)

    def deal(self, round):
        self.calls.append(("deal", round))
        return self._outcome(round)

    def _outcome(self, round):
        num = len(self.config.components)
        won_K = np.full(num, self.num_rows // num)
        won_K[0] += self.num_rows - won_K.sum()
        return Outcome(won_K, won_K + round, moved=10 - round, contingency_KC=None)

    @property
    def phases(self):
        return [call[:2] for call in self.calls]

    @property
    def generator_steps(self):
        return sum(sum(call[2]) for call in self.calls if call[0] in ("pretrain", "generators"))


def config_of(mode="compete", num_components=2, rounds=2, **schedule):
    assign = AssignConfig(normalise=schedule.pop("normalise", True))
    schedule = ScheduleConfig(rounds=rounds, **schedule)
    return Config(mode=mode, num_components=num_components, schedule=schedule, assign=assign)


def run(config, state=None, num_rows=1000):
    workers, seen = FakeWorkers(config, num_rows), []
    last = train_mixture(config, workers, state, lambda state, info: seen.append((state, info)))
    return workers, seen, last


def test_compete_judges_first_and_then_trains_judges_scores_assigns():
    workers, _, _ = run(config_of("compete"))
    judged = [("discriminators", 0), ("score", 0), ("assign", 0)]
    rounds = [(phase, t) for t in (1, 2) for phase in ("generators", "discriminators", "score", "assign")]
    assert workers.phases == [("pretrain", 0), *judged, *rounds]


@pytest.mark.parametrize("mode", ["bag", "single", "random", "oracle"])
def test_controls_train_and_deal_without_judging(mode):
    workers, seen, _ = run(config_of(mode))
    rounds = [(phase, t) for t in (1, 2) for phase in ("generators", "deal")]
    assert workers.phases == [("pretrain", 0), ("deal", 0), *rounds]
    assert all(info.discriminators == () for _, info in seen)
    assert all(set(state.log_z_K) == {0.0} for state, _ in seen)


def test_no_rounds_judge_only():
    workers, seen, last = run(config_of(rounds=0))
    assert workers.phases == [("pretrain", 0), ("discriminators", 0), ("score", 0), ("assign", 0)]
    assert last.round == 0 and len(seen) == 1


def test_assignment_gets_the_normalisers_of_all_blocks():
    workers, _, last = run(config_of(rounds=0))
    expected = logsumexp(LOG_SUM_EXP_KB, axis=1)
    np.testing.assert_allclose(workers.calls[-1][2], expected, rtol=1e-14)
    assert last.log_z_K == tuple(workers.calls[-1][2])


def test_assignment_without_normalisation_gets_zeros():
    workers, _, last = run(config_of(rounds=0, normalise=False))
    assert workers.calls[-1][2] == [0.0, 0.0]
    assert last.log_z_K == (0.0, 0.0)


def test_observer_sees_every_round_and_the_last_state_is_returned():
    _, seen, last = run(config_of(rounds=3))
    assert [state.round for state, _ in seen] == [info.round for _, info in seen] == [0, 1, 2, 3]
    assert last is seen[-1][0]
    assert last.components == (0, 1) and last.won_K == (500, 500) and last.loads_K == (503, 503)
    assert last.weights_K == (0.5, 0.5)
    assert [info.moved for _, info in seen] == [10, 9, 8, 7]
    assert seen[0][1].generators[0].loss == 1.0  # of pre-training
    assert seen[1][1].generators[0].loss == 2.0
    assert seen[1][1].discriminators == (Fit(0, 7, 0.5), Fit(1, 7, 0.5))
    assert list(seen[0][1].seconds) == ["pre-train", "train discriminators", "score", "assign"]
    assert list(seen[1][1].seconds) == ["train generators", "train discriminators", "score", "assign"]


def test_an_observer_that_raises_ends_the_loop():
    config = config_of(rounds=9)
    workers = FakeWorkers(config)

    def observe(state, info):
        if state.round == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_mixture(config, workers, None, observe)
    assert workers.phases[-1] == ("assign", 1)


def state_after(round, loads_K):
    return State(round, tuple(range(len(loads_K))), tuple(loads_K), tuple(loads_K), (0.0,) * len(loads_K))


def test_resume_does_the_remaining_rounds_only():
    config = config_of(rounds=5, steps="proportional", batch_size=10, epochs_per_round=1)
    whole, _, _ = run(config)
    resumed, seen, last = run(config, state_after(3, (100, 900)))
    assert [t for _, t in resumed.phases] == [4] * 4 + [5] * 4
    assert resumed.phases == whole.phases[-8:]
    assert resumed.calls[0] == ("generators", 4, (10, 90))  # by the loads of the state
    assert [state.round for state, _ in seen] == [4, 5] and last.round == 5


def test_resume_of_a_finished_run_does_nothing():
    state = state_after(5, (1, 2))
    workers, seen, last = run(config_of(rounds=5), state)
    assert workers.calls == [] and seen == [] and last is state


@pytest.mark.parametrize("pretrain_budget", ["shared", "each"])
@pytest.mark.parametrize(("num_rows", "num_components", "batch_size"), [(1003, 15, 64), (90, 7, 32), (5000, 4, 10)])
@pytest.mark.parametrize("steps", ["equal", "proportional"])
def test_modes_see_equal_numbers_of_rows(pretrain_budget, num_rows, num_components, batch_size, steps):
    totals = {}
    for mode in MODES:
        config = config_of(
            mode,
            num_components,
            pretrain_epochs=2.5,
            pretrain_budget=pretrain_budget,
            epochs_per_round=3.7,
            batch_size=batch_size,
            steps=steps,
        )
        totals[mode] = run(config, num_rows=num_rows)[0].generator_steps
    if steps == "equal":
        assert len(set(totals.values())) == 1, totals
    else:  # each component's share is rounded by itself
        equal = config.model_copy(update={"schedule": config.schedule.model_copy(update={"steps": "equal"})})
        single = equal.model_copy(update={"mode": "single"})
        assert totals["single"] == run(single, num_rows=num_rows)[0].generator_steps
        assert max(totals.values()) - min(totals.values()) <= 2 * num_components
    epochs = 2.5 * (num_components if pretrain_budget == "each" else 1) + 2 * 3.7
    assert totals["compete"] * batch_size == pytest.approx(epochs * num_rows, abs=3 * num_components * batch_size)


def test_pretraining_steps_follow_the_budget():
    def steps(**schedule):
        return pretrain_steps(config_of(num_components=4, batch_size=10, **schedule), 1000)

    assert steps(pretrain_epochs=2, pretrain_budget="shared") == (50,) * 4
    assert steps(pretrain_epochs=2, pretrain_budget="each") == (200,) * 4
    assert steps(pretrain_epochs=0) == (0,) * 4
    assert steps(pretrain_epochs=1e-6) == (1,) * 4


def test_proportional_steps_follow_the_loads():
    config = config_of(num_components=4, steps="proportional", batch_size=10)
    assert round_steps(1000, config, (500, 300, 200, 0)) == (50, 30, 20, 0)
    assert round_steps(1000, config, (999, 1, 0, 0)) == (100, 1, 0, 0)  # a step at least for a shard
    assert round_steps(1000, config, (600, 600, 400, 400)) == (30, 30, 20, 20)  # lent rows are shared rows


def test_equal_steps_ignore_the_loads():
    config = config_of(num_components=4, batch_size=10)
    assert round_steps(1000, config, (997, 1, 1, 1)) == (25,) * 4
    assert round_steps(1, config, (1, 1, 1, 1)) == (1,) * 4


def test_fakes_default_to_an_equal_share_of_the_rows():
    assert num_fakes(Config(num_components=7), 100) == 14
    assert num_fakes(Config(num_components=7), 3) == 1
    assert num_fakes(Config(discriminator=DiscriminatorConfig(fakes=12)), 100) == 12
