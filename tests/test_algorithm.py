"""Algorithm 1 with workers that only write down what they were asked."""

from functools import partial

import numpy as np
import pytest
from scipy.special import logsumexp

from raymix.algorithm import train_mixture, without
from raymix.config import AssignConfig, BalanceConfig, Config, ScheduleConfig
from raymix.data.source import DataSpec
from raymix.local import map_blocks
from raymix.maths.log_ratio import log_sum_exp
from raymix.maths.modality import Cells, Modality
from raymix.maths.ownership import Ownership
from raymix.maths.structure import Confusion
from raymix.state import Assigned, Fit, Outcome, State

MODES = ["compete", "bag", "single", "random", "oracle", "centroids"]
FLOW_F3 = np.array([[0, 1, 7], [1, 0, 3]])
LOG_SUM_EXP_KB = np.array([[0.0, 1e4, -3.0], [5.0, -1e4, 5.0]])


class FakeRows:
    """Assigns rows as an `Ownership` would, without having any."""

    def __init__(self, num_rows, calls):
        self.num_rows, self.calls, self.scored = num_rows, calls, ()

    def assign(self, round, log_z_K):
        self.calls.append(("assign", round, log_z_K))
        return self.outcome(round, self.scored)

    def deal(self, round, components):
        self.calls.append(("deal", round))
        return self.outcome(round, components)

    def keep(self, components):
        self.calls.append(("keep", None))
        return self.outcome(0, components)

    def reseed(self, round, components, donors):
        self.calls.append(("reseed", round, donors))
        return self.outcome(round, components)

    def outcome(self, round, components):
        num = len(components)
        won_K = np.full(num, self.num_rows // num)
        won_K[0] += self.num_rows - won_K.sum()
        return Outcome(won_K, won_K + round, moved=10 - round, contingency_KC=None, flow_F3=FLOW_F3)


class FakeWorkers:
    """Fulfils `Workers` without doing any work."""

    def __init__(self, config, num_rows=1000, rows=FakeRows):
        self.config, self.calls = config, []
        self.rows = rows(num_rows, self.calls)

    def begin(self, components):
        self.calls.append(("begin", 0, components))

    def pretrain(self, steps):
        self.calls.append(("pretrain", 0, steps))
        return [Fit(k, num, 1.0) for k, num in steps.items()]

    def train_generators(self, round, steps, overlap):
        self.calls.append(("start generators" if overlap else "generators", round, steps))

        def wait():
            if overlap:
                self.calls.append(("wait", round))
            return [Fit(k, num, 2.0) for k, num in steps.items()]

        return wait

    def train_discriminators(self, round, components):
        self.calls.append(("discriminators", round))
        return [Fit(k, 7, 0.5) for k in components]

    def score(self, round, components):
        self.calls.append(("score", round))
        self.rows.scored = components
        return LOG_SUM_EXP_KB[: len(components)]

    def reseed(self, donors):
        self.calls.append(("copies", None, donors))

    @property
    def phases(self):
        return [call[:2] for call in self.calls]

    @property
    def generator_steps(self):
        return sum(sum(call[2].values()) for call in self.calls if call[0] in ("pretrain", "generators"))


def config_of(mode="compete", num_components=2, rounds=2, **schedule):
    assign = AssignConfig(normalise=schedule.pop("normalise", True))
    schedule = ScheduleConfig(rounds=rounds, **schedule)
    return Config(mode=mode, num_components=num_components, schedule=schedule, assign=assign)


def run(config, state=None, num_rows=1000):
    workers, seen = FakeWorkers(config, num_rows), []
    state = state or State.fresh(config.components)
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


KEPT, JUDGED = [("keep", None)], ["discriminators", "score", "assign"]


def judged(round):
    return [(phase, round) for phase in JUDGED]


def test_the_control_centroids_keeps_the_cells_that_it_begins_with():
    workers, _, _ = run(config_of("centroids"))
    assert workers.phases == [("begin", 0), ("pretrain", 0), *KEPT, ("generators", 1), *KEPT, ("generators", 2), *KEPT]


def test_competition_may_begin_with_cells():
    workers, _, _ = run(config_of(begin="centroids", rounds=1))
    assert workers.phases == [("begin", 0), ("pretrain", 0), *judged(0), ("generators", 1), *judged(1)]


@pytest.mark.parametrize("mode", ["bag", "single", "random", "oracle"])
def test_other_controls_do_not_begin_with_cells(mode):
    assert run(config_of(mode, begin="centroids"))[0].phases == run(config_of(mode))[0].phases


def test_copies_of_one_keep_their_cells_until_they_have_trained_apart():
    workers, _, _ = run(config_of(begin="centroids", pretrain_on="one", rounds=1, num_components=3), num_rows=6400)
    assert workers.phases[:4] == [("begin", 0), ("pretrain", 0), ("copies", None), *KEPT]
    assert workers.calls[1][2] == {0: 1000 // 3 * 3, 1: 0, 2: 0}  # the steps of all
    assert workers.calls[2][2] == {1: 0, 2: 0}
    assert workers.phases[4:] == [("generators", 1), *judged(1)]


def test_generators_that_never_trained_keep_their_cells_too():
    workers, _, _ = run(config_of(begin="centroids", pretrain_epochs=0, rounds=1))
    assert workers.phases == [("begin", 0), ("pretrain", 0), *KEPT, ("generators", 1), *judged(1)]


def test_rounds_that_settle_train_alone_and_are_judged_at_the_end():
    workers, seen, last = run(config_of(rounds=4, settle=2))
    assert workers.phases[-9:] == [
        *judged(2),
        ("generators", 3),
        *KEPT,
        ("generators", 4),
        *judged(4),
    ]
    np.testing.assert_allclose(last.log_z_K, logsumexp(LOG_SUM_EXP_KB, axis=1))
    assert seen[3][0].log_z_K == last.log_z_K  # of the last judges that there are


def test_half_of_the_rounds_assign_however_many_are_to_settle():
    workers, _, _ = run(config_of(rounds=2, settle=9))
    assert workers.phases[:8] == [("pretrain", 0), *judged(0), ("generators", 1), *judged(1)][:8]
    assert workers.phases[8:10] == [("generators", 2), ("discriminators", 2)]


def test_copies_do_not_train_while_they_are_judged():
    copies = {"begin": "centroids", "pretrain_on": "one", "overlap": True, "synchronous_rounds": 0}
    workers, _, _ = run(config_of(rounds=2, **copies))
    assert ("generators", 1) in workers.phases and ("start generators", 2) in workers.phases


def test_overlapping_rounds_judge_while_generators_train_and_the_last_rounds_do_not():
    workers, seen, _ = run(config_of("compete", rounds=3, overlap=True, synchronous_rounds=2))
    assert workers.phases[4:9] == [
        ("start generators", 1),
        ("discriminators", 1),
        ("score", 1),
        ("assign", 1),
        ("wait", 1),
    ]
    assert [phase for phase in workers.phases if phase[0] == "generators"] == [("generators", 2), ("generators", 3)]
    assert seen[1][1].generators == (Fit(0, 47, 2.0), Fit(1, 47, 2.0))
    assert "train generators" in seen[1][1].seconds


@pytest.mark.parametrize("mode", ["bag", "single", "random", "oracle"])
def test_controls_do_not_overlap(mode):
    assert run(config_of(mode, overlap=True))[0].phases == run(config_of(mode))[0].phases


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
    assert workers.calls[-1][2] == (0.0, 0.0)
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
        train_mixture(config, workers, State.fresh(config.components), observe)
    assert workers.phases[-1] == ("assign", 1)


def state_after(round, loads_K):
    num = len(loads_K)
    return State(round, tuple(range(num)), tuple(loads_K), tuple(loads_K), (0.0,) * num, (0,) * num)


def test_resume_does_the_remaining_rounds_only():
    config = config_of(rounds=5, steps="proportional", batch_size=10, epochs_per_round=1)
    whole, _, _ = run(config)
    resumed, seen, last = run(config, state_after(3, (100, 900)))
    assert [t for _, t in resumed.phases] == [4] * 4 + [5] * 4
    assert resumed.phases == whole.phases[-8:]
    assert resumed.calls[0] == ("generators", 4, {0: 10, 1: 90})  # by the loads of the state
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


# ---- starved components


class ScriptedRows(FakeRows):
    """Gives the rows won and loads of each round as they are written down."""

    def __init__(self, rounds, reseeded, *args):
        super().__init__(*args)
        self.rounds, self.reseeded = rounds, reseeded

    def outcome(self, round, components):
        won_K, loads_K = self.rounds[round] if self.calls[-1][0] != "reseed" else self.reseeded
        return Outcome(np.array(won_K), np.array(loads_K), moved=10, contingency_KC=None, flow_F3=FLOW_F3)


def scripted(config, rounds, reseeded=((400, 600), (400, 600))):
    return FakeWorkers(config, rows=partial(ScriptedRows, rounds, reseeded))


FED = ((500, 500), (500, 500))
STARVED = ((990, 10), (990, 250))


def run_script(rounds, patience, mode="compete"):
    config = config_of(mode, rounds=len(rounds) - 1)
    config = config.model_copy(update={"balance": BalanceConfig(patience=patience)})
    workers, seen = scripted(config, rounds), []
    train_mixture(config, workers, State.fresh((0, 1)), lambda *pair: seen.append(pair))
    reseeds = [call[1:] for call in workers.calls if call[0] == "reseed"]
    assert [call[2] for call in workers.calls if call[0] == "copies"] == [donors for _, donors in reseeds]
    return seen, reseeds


def test_starved_rounds_are_counted_and_forgotten_once_fed():
    seen, _ = run_script([STARVED, STARVED, FED, STARVED, STARVED, STARVED], patience=0)
    assert [state.starved_rounds_K for state, _ in seen] == [(0, 1), (0, 2), (0, 0), (0, 1), (0, 2), (0, 3)]
    assert [state.starved for state, _ in seen] == [(1,), (1,), (), (1,), (1,), (1,)]


@pytest.mark.parametrize(("patience", "at"), [(0, []), (1, [0, 1, 2, 3, 4]), (2, [1, 3]), (3, [2]), (5, [4]), (6, [])])
def test_a_starved_component_is_reseeded_when_patience_ends(patience, at):
    seen, reseeds = run_script([STARVED] * 6, patience)
    assert reseeds == [(t, {1: 0}) for t in at]
    assert [info.round for _, info in seen if info.reseeded] == at
    for state, info in seen:
        assert info.reseeded == ({1: 0} if info.round in at else {})
        assert ("reseed" in info.seconds) == (info.round in at)
        if info.round in at:
            assert (state.won_K, state.loads_K, state.starved_rounds_K) == ((400, 600), (400, 600), (0, 0))
            assert info.moved == 20 and info.flow_F3.tolist() == [[0, 1, 14], [1, 0, 6]]
        else:
            assert (state.won_K, state.loads_K) == STARVED and info.moved == 10


def test_a_fed_round_begins_patience_anew():
    assert run_script([STARVED, FED, STARVED, FED, STARVED, FED], patience=2)[1] == []
    assert run_script([STARVED, FED, STARVED, STARVED, FED], patience=2)[1] == [(3, {1: 0})]


def test_nobody_is_reseeded_where_rows_stay():
    config = config_of(rounds=6, settle=3).model_copy(update={"balance": BalanceConfig(patience=1)})
    workers = scripted(config, [STARVED] * 7)
    workers.rows.keep = lambda components: workers.rows.outcome(1, components)
    train_mixture(config, workers, State.fresh((0, 1)), lambda state, info: None)
    assert [call[1] for call in workers.calls if call[0] == "reseed"] == [0, 1, 2, 3]


def test_nobody_is_reseeded_after_the_last_round():
    assert run_script([FED, STARVED, STARVED], patience=2)[1] == []
    assert run_script([FED, STARVED, STARVED, FED], patience=2)[1] == [(2, {1: 0})]


def test_patience_goes_on_where_the_state_left_it():
    config = config_of(rounds=5).model_copy(update={"balance": BalanceConfig(patience=3)})
    workers = scripted(config, [STARVED] * 6)
    before = State(2, (0, 1), *STARVED, log_z_K=(0.0, 0.0), starved_rounds_K=(0, 2))
    train_mixture(config, workers, before, lambda state, info: None)
    assert [call[1:] for call in workers.calls if call[0] == "reseed"] == [(3, {1: 0})]


# ---- components that compete no longer


class MatrixWorkers(FakeWorkers):
    """Scores rows by log ratios that are written down, and assigns them in one block."""

    def __init__(self, config, log_ratio_NK):
        super().__init__(config)
        self.log_ratio_NK, num_rows = log_ratio_NK, len(log_ratio_NK)
        spec = DataSpec("rows", num_rows, (1,), "float32")
        self.rows = Ownership(config, spec, map_blocks, [np.zeros((num_rows, 1))], [None], [num_rows])

    def score(self, round, components):
        super().score(round, components)
        log_ratios = [self.log_ratio_NK[:, k] for k in components]
        self.rows.take_log_ratios(components, [log_ratios])
        return np.array([[log_sum_exp(values)] for values in log_ratios])

    @property
    def winners(self):
        return self.rows.assigned_B[0].winners


def test_rows_of_who_is_dropped_while_rows_settle_go_to_the_best_and_others_stay():
    log_ratio_NK = np.random.default_rng(2).normal(size=(40, 3))
    config = config_of(num_components=3, rounds=4, settle=2, normalise=False)
    workers = MatrixWorkers(config, log_ratio_NK)
    before_N = np.arange(40) % 3
    workers.rows.assigned_B = [Assigned.of(before_N)]
    state = without(config, workers, state_after(3, (14, 13, 13)), 1)
    best_N = np.where(log_ratio_NK[:, 0] >= log_ratio_NK[:, 2], 0, 2)
    np.testing.assert_array_equal(workers.winners, np.where(before_N == 1, best_N, before_N))
    assert state.components == (0, 2)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("dropped", [0, 2, 3])
def test_rows_of_who_is_dropped_go_to_the_best_of_the_rest(dropped, normalise):
    log_ratio_NK = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    config = config_of(num_components=4, rounds=0, normalise=normalise)
    workers = MatrixWorkers(config, log_ratio_NK)
    before = train_mixture(config, workers, State.fresh(config.components), lambda state, info: None)
    winners_before, rest = workers.winners, tuple(k for k in range(4) if k != dropped)
    workers.calls.clear()

    after = without(config, workers, before, dropped)

    assert workers.phases == [("score", 0)]
    assert after.round == 0 and after.components == rest
    assert after.log_z_K == tuple(before.log_z_K[k] for k in rest)
    s_NK = log_ratio_NK[:, rest] - np.array(after.log_z_K)
    np.testing.assert_array_equal(workers.winners, np.array(rest)[s_NK.argmax(1)])
    np.testing.assert_array_equal(workers.winners[winners_before != dropped], winners_before[winners_before != dropped])
    assert sum(after.won_K) == 200 and sum(after.weights_K) == pytest.approx(1)
    assert list(after.won_K) == [(workers.winners == k).sum() for k in rest]


def test_dropping_keeps_how_long_the_others_starved():
    config = config_of(num_components=3)
    workers = scripted(config, [None, None, ((990, 10), (990, 250))])
    before = State(2, (0, 1, 4), (500, 400, 100), (500, 400, 250), (0.1, 0.2, 0.3), starved_rounds_K=(0, 7, 3))
    after = without(config, workers, before, 1)
    assert after == State(2, (0, 4), (990, 10), (990, 250), after.log_z_K, starved_rounds_K=(0, 3))
    fed = scripted(config, [None, None, FED])
    assert without(config, fed, before, 1).starved_rounds_K == (0, 0)


def test_dropping_before_pretraining_only_takes_the_component_away():
    config = config_of(num_components=3, rounds=1)
    workers = FakeWorkers(config)
    state = without(config, workers, State.fresh(config.components), 1)
    assert state == State.fresh((0, 2)) and workers.calls == []
    last = train_mixture(config, workers, state, lambda state, info: None)
    assert last.components == (0, 2) and set(workers.calls[0][2]) == {0, 2}


@pytest.mark.parametrize("mode", ["bag", "random", "oracle"])
def test_dropping_from_a_control_deals_again(mode):
    config = config_of(mode, num_components=3)
    workers = FakeWorkers(config)
    state = without(config, workers, state_after(1, (300, 300, 400)), 0)
    assert workers.phases == [("deal", 1)]
    assert state.components == (1, 2) and sum(state.won_K) == 1000 and state.log_z_K == (0.0, 0.0)


# ---- components that come and go


class ChangingRows(FakeRows):
    """What the rows are like is written down: {round: {group: modality}}; all others have one mode."""

    def __init__(self, looks, won, *args):
        super().__init__(*args)
        self.looks, self.won, self.t = looks, won, -1

    def outcome(self, round, components):
        outcome, self.t = super().outcome(0, components), round
        won_K = np.array(self.won.get(round, outcome.won_K))
        return outcome._replace(won_K=won_K, loads_K=won_K, moved=10)

    def share(self, components, log_z_K):
        self.calls.append(("share", self.t, components))
        num = len(components)
        won_K = np.full(num, self.num_rows // num)
        return Confusion(won_K, np.full((num, num), 0.1 * self.num_rows / num**2))

    def look(self, candidates):
        self.calls.append(("look", self.t, candidates))
        flat = Modality(1.0, None, (1.0,))
        found = self.looks.get(self.t, {})
        return [found.get(each, flat._replace(valley=0.6) if len(each) == 2 else flat) for each in candidates]

    def reshape(self, reshaping):
        self.calls.append(("reshape", self.t, reshaping.components))
        return FakeRows.outcome(self, 0, reshaping.components)._replace(moved=7)


class ChangingWorkers(FakeWorkers):
    """Components come and go."""

    def score(self, round, components):
        super().score(round, components)
        return np.zeros((len(components), 1))

    def reshape(self, sources):
        self.calls.append(("copies", None, sources))


TWO_CELLS = Modality(0.1, Cells(np.zeros((2, 2)), None), (0.5, 0.5), 0.0)


def run_changing(looks, rounds=8, won=None, num_components=2, **schedule):
    config = config_of(num_components=num_components, rounds=rounds, adapt=True, **schedule)
    workers, seen = ChangingWorkers(config, rows=partial(ChangingRows, looks, won or {})), []
    state = State.fresh(config.components, adapt=True)
    train_mixture(config, workers, state, lambda *pair: seen.append(pair))
    return workers, seen


def test_k_may_change_from_the_second_round_to_the_fourth_from_the_end():
    workers, seen = run_changing({})
    assert [call[1] for call in workers.calls if call[0] == "look"] == [2, 3, 4]
    assert not [call for call in workers.calls if call[0] == "reshape"]
    assert all(state.components == (0, 1) and info.changes == () for state, info in seen)
    assert [info.round for _, info in seen if "adapt" in info.seconds] == [2, 3, 4, 5, 6, 7, 8]


def test_without_adapt_nobody_is_asked():
    assert not {"share", "look", "reshape"} & {phase for phase, _ in run(config_of(rounds=8))[0].phases}


def test_the_next_round_trains_and_judges_those_there_are_then():
    workers, seen = run_changing({2: {(1,): TWO_CELLS}, 4: {(0, 1): Modality(1.0, None, (1.0,))}})
    components = [state.components for state, _ in seen]
    assert [call[2] for call in workers.calls if call[0] == "copies"] == [{0: 0, 1: 1, 2: 1}, {0: 0, 2: 2}]
    assert components == [(0, 1)] * 2 + [(0, 1, 2)] * 2 + [(0, 2)] * 5
    asked = {call[1]: tuple(call[2]) for call in workers.calls if call[0] == "generators"}
    assert [asked[t] for t in range(1, 9)] == components[:-1]
    assert [len(state.weights_K) for state, _ in seen] == [len(ids) for ids in components]
    assert [[change.kind for change in info.changes] for _, info in seen] == [
        [],
        [],
        ["split"],
        [],
        ["merge"],
        *[[]] * 4,
    ]
    assert [info.moved for _, info in seen] == [10, 10, 17, 10, 17, 10, 10, 10, 10]
    assert seen[-1][0].lineage.next_component == 3


def test_who_is_too_small_retires_in_the_last_rounds_too_but_nothing_else_happens():
    small = dict.fromkeys((6, 7), (500, 490, 10))
    workers, seen = run_changing({7: {(0,): TWO_CELLS}}, won=small, num_components=3)
    assert [state.components for state, _ in seen] == [(0, 1, 2)] * 7 + [(0, 1)] * 2
    assert seen[7][1].changes[0].kind == "retire"
    assert [call[2] for call in workers.calls if call[:2] == ("look", 7)] == [[]]


def test_min_and_max_components_bound_k():
    _, seen = run_changing({2: {(0,): TWO_CELLS, (1,): TWO_CELLS}}, max_components=3)
    assert len(seen[-1][0].components) == 3
    _, seen = run_changing({2: {(0, 1): Modality(1.0, None, (1.0,))}}, min_components=2)
    assert len(seen[-1][0].components) == 2


def test_dropping_keeps_the_lineage_of_the_others():
    config = config_of(num_components=3, adapt=True)
    fresh = without(config, FakeWorkers(config), State.fresh((0, 1, 2), adapt=True), 2)
    assert fresh.components == (0, 1) and fresh.lineage.next_component == 3  # 2 is never used again
