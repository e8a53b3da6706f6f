"""What is kept between one thing done to the rows and the next, and for whom; what is done is tested with its functions
block by block."""

import numpy as np
import pytest
from scipy.special import softmax

from raymix.config import BalanceConfig, ScheduleConfig
from raymix.maths.modality import Cells
from raymix.maths.structure import Reshaping
from raymix.state import Change

SIZES = [30, 1, 60]
N = sum(SIZES)
COMPONENTS = (1, 4, 6, 9)
LOG_Z_K = [0.3, 0.0, -0.4, 0.1]
ADAPTING = ScheduleConfig(rounds=10, adapt=True)


def cut(array_N):
    return np.split(array_N, np.cumsum(SIZES)[:-1])


def log_ratios_of(log_ratio_NK):
    return [list(np.ascontiguousarray(part.T)) for part in cut(log_ratio_NK)]


def winners_of(owned):
    return np.concatenate([assigned.winners for assigned in owned.assigned_B])


@pytest.fixture
def log_ratio_NK():
    """The last component explains no row best."""
    log_ratio_NK = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
    log_ratio_NK[:, 3] -= 9
    return log_ratio_NK


class Store:
    """A `BlockMap` whose handles are numbers of values that lie elsewhere."""

    def __init__(self):
        self.values = {}

    def put(self, value):
        self.values[len(self.values)] = value
        return len(self.values) - 1

    def __call__(self, function, common, handles_B):
        found = []
        for task, handles in zip(common, handles_B, strict=True):
            kept, summary = function(task, *(None if each is None else self.values[each] for each in handles))
            found.append((self.put(kept), summary))
        return found


def everything(owned, log_ratios_BK):
    """The outcomes of one thing after another."""
    yield owned.deal(0, COMPONENTS)
    owned.take_log_ratios(COMPONENTS, log_ratios_BK)
    yield owned.assign(2, LOG_Z_K)
    yield owned.reseed(2, COMPONENTS, {9: 1})
    owned.take_log_ratios(COMPONENTS, log_ratios_BK)
    yield owned.share((1, 6, 9), [0.3, -0.4, 0.1])
    yield owned.look([(1, 6), (6,)])
    cells = Cells(np.array([[0.0, 0.0], [1.0, 1.0]]), None)
    changes = (Change("merge", (1, 9), (1,), {}, ""), Change("split", (6,), (6, 10), {}, ""))
    yield owned.reshape(Reshaping((1, 6, 10), {1: 1, 6: 6, 10: 6}, {9: 1}, (((6,), (6, 10), cells),), changes, 11))


def test_values_stay_behind_their_handles(own, log_ratio_NK):
    rng, store = np.random.default_rng(1), Store()
    rows_B = cut(rng.normal(size=(N, 2)).astype(np.float32))
    classes_B = cut(rng.integers(0, 3, N))
    here = own(SIZES, rows_B, classes_B, 3, mode="random", num_components=10)
    there = own(SIZES, rows_B, classes_B, 3, store, mode="random", num_components=10)
    there.rows_B, there.classes_B = [[store.put(each) for each in blocks] for blocks in (rows_B, classes_B)]
    log_ratios_BK = log_ratios_of(log_ratio_NK)
    handles_BK = [[store.put(each) for each in log_ratios] for log_ratios in log_ratios_BK]
    pairs = zip(everything(here, log_ratios_BK), everything(there, handles_BK), strict=True)
    for number, (left, right) in enumerate(pairs):
        assert repr(left) == repr(right)
        assert number in (3, 4) or (left.won_K.sum() == N and left.moved > 0)
    for assigned, handle in zip(here.assigned_B, there.assigned_B, strict=True):
        for left, right in zip(assigned, store.values[handle], strict=True):
            np.testing.assert_array_equal(left, right)


def test_rows_move_from_where_the_last_assignment_left_them(own, log_ratio_NK):
    owned = own(SIZES, mode="random", num_components=10)
    owned.deal(0, COMPONENTS)
    dealt_N = winners_of(owned)
    owned.take_log_ratios(COMPONENTS, log_ratios_of(log_ratio_NK))
    outcome = owned.assign(1, LOG_Z_K)
    won_N = np.array(COMPONENTS)[(log_ratio_NK.astype(float) - LOG_Z_K).argmax(1)]
    np.testing.assert_array_equal(winners_of(owned), won_N)
    assert outcome.moved == (dealt_N != won_N).sum() > 0
    halved = owned.reseed(1, COMPONENTS, {9: 1})
    assert halved.moved == (winners_of(owned) != won_N).sum() > 0
    halved_N = winners_of(owned)
    assert owned.deal(0, COMPONENTS).moved == (winners_of(owned) != halved_N).sum()
    np.testing.assert_array_equal(winners_of(owned), dealt_N)


@pytest.mark.parametrize("round", [0, 1, 2, 5])
def test_log_ratios_are_dropped_once_rows_are_assigned_unless_components_may_go(round, own, log_ratio_NK):
    for schedule, kept in ((ScheduleConfig(), False), (ADAPTING, round >= 2)):
        owned = own(SIZES, num_components=10, schedule=schedule, balance=BalanceConfig(min_share=0.5))
        owned.take_log_ratios(COMPONENTS, log_ratios_of(log_ratio_NK))
        assert owned.assign(round, LOG_Z_K).loads_K[3] == np.ceil(0.5 * N / 4)
        assert bool(owned.log_ratios_BK) == kept
        if kept:
            owned.share(COMPONENTS, LOG_Z_K)
            assert not owned.log_ratios_BK


@pytest.mark.parametrize("left", [(0, 1, 2, 3), (0, 2), (1, 3), (2,)])
def test_those_who_are_left_share_the_rows_by_their_own_log_ratios(left, own, log_ratio_NK):
    owned = own(SIZES, num_components=10, schedule=ADAPTING)
    owned.take_log_ratios(COMPONENTS, log_ratios_of(log_ratio_NK))
    owned.assign(2, LOG_Z_K)
    before = winners_of(owned)
    found = owned.share(tuple(COMPONENTS[i] for i in left), [LOG_Z_K[i] for i in left])
    s_NK = log_ratio_NK[:, left].astype(float) - np.array(LOG_Z_K)[list(left)]
    winners, q_NK = s_NK.argmax(1), softmax(s_NK, axis=1)
    np.testing.assert_array_equal(found.won_K, np.bincount(winners, minlength=len(left)))
    expected_KK = [q_NK[winners == place].sum(0) for place in range(len(left))]
    np.testing.assert_allclose(found.posterior_KK, expected_KK, rtol=1e-12)
    np.testing.assert_array_equal(winners_of(owned), before)  # nothing is done yet
