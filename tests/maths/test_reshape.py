"""The change of K block by block: any cut into blocks gives what the whole data set would."""

from functools import partial

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from raymix.config import DataConfig
from raymix.maths import reshape
from raymix.maths.modality import Cells, look
from raymix.maths.ownership import Shared
from raymix.maths.structure import Reshaping
from raymix.state import Assigned, Change

SIZES = [70, 1, 129, 100]  # of blocks


def cut(array):
    return np.split(array, np.cumsum(SIZES)[:-1])


@pytest.fixture
def log_ratio_KN():
    return np.random.default_rng(0).normal(size=(4, 300)).astype(np.float32) * 5


def log_ratios_of(log_ratio_KN):
    return [[block[k] for k in range(len(block))] for block in np.split(log_ratio_KN, np.cumsum(SIZES)[:-1], axis=1)]


def shared_of(components, positions_N):
    """How these components share rows, by positions of winners."""
    won_BK = [np.bincount(part, minlength=len(components)) for part in cut(positions_N)]
    return Shared(components, [part.astype(np.int32) for part in cut(positions_N)], won_BK)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_confusion_is_that_of_the_whole_matrix(log_ratio_KN, scale, own, monkeypatch):
    monkeypatch.setattr(reshape, "SOFTMAX_ROWS", 32)
    log_ratio_KN = log_ratio_KN * np.float32(scale)
    log_z_K = logsumexp(log_ratio_KN.astype(float), axis=1)
    owned = own(SIZES)
    owned.take_log_ratios((1, 2, 5, 9), log_ratios_of(log_ratio_KN))
    found = owned.share((1, 2, 5, 9), log_z_K.tolist())
    s_NK = (log_ratio_KN.astype(float) - log_z_K[:, None]).T
    winners, q_NK = s_NK.argmax(1), softmax(s_NK, axis=1)
    np.testing.assert_array_equal(np.concatenate(owned.shared.positions_B), winners)
    np.testing.assert_array_equal(found.won_K, np.bincount(winners, minlength=4))
    np.testing.assert_array_equal(np.sum(owned.shared.won_BK, axis=0), found.won_K)
    for j in range(4):
        for k in range(4):
            assert found.posterior_KK[j, k] == pytest.approx(q_NK[winners == j, k].sum(), rel=1e-12, abs=1e-300)


def test_rows_of_candidates_are_looked_at_as_if_they_lay_together(own):
    rng = np.random.default_rng(1)
    rows, positions = rng.normal(size=(300, 3)).astype(np.float32), rng.integers(0, 3, 300)
    rows[positions == 1] += 30
    candidates, positions_G, shares = [(3, 4), (8,), (4,)], [(0, 1), (2,), (1,)], []
    scale = (0.5, 1.0, 2.0)
    owned = own(SIZES, cut(rows), data=DataConfig(scale=scale))
    owned.shared = shared_of((3, 4, 8), positions)
    found = owned.look(candidates)
    for candidate, each in zip(positions_G, found, strict=True):
        those = np.isin(positions, candidate)
        least = reshape.CELL_SHARE * 300 / those.sum()
        expected = look(rows[those].astype(float) * np.array(scale), positions[those], least, False)
        assert (each.valley, each.shares_C, each.moved) == (expected.valley, expected.shares_C, expected.moved)
        shares.append(each.shares_C)
    assert len(shares[0]) == 2 and found[0].moved < 0.01
    assert owned.look([]) == []


@pytest.mark.parametrize("most", [10, 37, 150, 400])
def test_of_many_rows_evenly_many_of_each_block_are_looked_at(most, own, monkeypatch):
    monkeypatch.setattr(reshape, "MOST_ROWS", most)
    positions, seen = np.arange(300) % 2, []
    monkeypatch.setattr(reshape, "look", lambda task, *picked_B: (None, seen.append((task, picked_B))))
    owned = own(SIZES, cut(np.arange(300.0)[:, None]))
    owned.shared = shared_of((0, 1), positions)
    for _ in range(2):
        owned.look([(0, 1), (1,)])
    for (task, picked_B), total in zip(seen[:2], (300, 150), strict=True):
        picked = [block[task.candidate] for block in picked_B]
        numbers = np.concatenate([each for each, _ in picked])[:, 0]
        np.testing.assert_array_equal(np.concatenate([owners for _, owners in picked]), numbers % 2)
        assert min(total, most) / 2 < len(numbers) <= most and (np.diff(numbers) > 0).all()
        every = -(-total // most)
        assert len(numbers) == total // every
        share = [len(each) for each, _ in picked]
        expected = [part.size / every * total / 300 for part in cut(positions)]
        assert np.abs(np.array(share) - expected).max() <= 1
    for (_, first), (_, again) in zip(seen[:2], seen[2:], strict=True):
        for left, right in zip(first, again, strict=True):
            for (rows_a, _), (rows_b, _) in zip(left, right, strict=True):
                np.testing.assert_array_equal(rows_a, rows_b)


def test_wide_rows_are_looked_at_in_smaller_numbers():
    assert reshape.most_rows((2,)) == 20_000
    assert reshape.most_rows((1, 28, 28)) == 20_000
    assert reshape.most_rows((3, 32, 32)) == 2**24 // 3072
    assert reshape.most_rows((3, 200, 200)) == 2_000


@pytest.fixture
def changed(own):
    return partial(change, own)


def change(own, reshaping, positions, rows, before=(0, 2, 5), lent=()):
    """The assignment of all rows, those lent and the counts, after a reshaping for positions in `before`."""
    ids = np.array(before)[positions]
    lent_rows = np.array([row for row, _ in lent], np.int32)
    lent_to = np.array([k for _, k in lent], np.int32)
    starts = np.cumsum([0, *SIZES])
    assigned_B = []
    for part, start, stop in zip(cut(ids), starts, starts[1:], strict=False):
        here = (lent_rows >= start) & (lent_rows < stop)
        assigned_B.append(Assigned(part.astype(np.int32), (lent_rows[here] - start).astype(np.int32), lent_to[here]))
    owned = own(SIZES, cut(rows), cut(np.arange(300) % 2), 2, data=DataConfig(scale=(2.0, 1.0)))
    owned.assigned_B, owned.shared = assigned_B, shared_of(before, positions)
    outcome, found_B = owned.reshape(reshaping), owned.assigned_B
    kept = [
        (start + row, k) for start, each in zip(starts, found_B, strict=False) for row, k in zip(*each[1:], strict=True)
    ]
    return np.concatenate([each.winners for each in found_B]), kept, outcome


def test_rows_go_where_a_plan_sends_them(changed):
    rng = np.random.default_rng(2)
    positions, rows = rng.integers(0, 3, 300), rng.normal(size=(300, 2)).astype(np.float32)
    centres = np.array([[0.0, 0.0], [1.0, 1.0], [-1.0, 3.0]])
    changes = (Change("merge", (0, 2), (2,), {}, ""), Change("split", (5,), (5, 6, 7), {}, ""))
    reshaping = Reshaping(
        (2, 5, 6, 7), {2: 2, 5: 5, 6: 5, 7: 5}, {0: 2}, (((5,), (5, 6, 7), Cells(centres, None)),), changes, 8
    )
    after, kept, outcome = changed(reshaping, positions, rows)
    nearest = ((rows[:, None] * np.array([2.0, 1.0]) - centres) ** 2).sum(2).argmin(1)
    expected = np.where(positions == 2, np.array([5, 6, 7])[nearest], 2)
    np.testing.assert_array_equal(after, expected)
    counts = [(expected == k).sum() for k in reshaping.components]
    assert outcome.won_K.tolist() == outcome.loads_K.tolist() == counts and kept == []
    assert outcome.moved == (np.array([0, 2, 5])[positions] != expected).sum()
    assert outcome.contingency_KC.sum(1).tolist() == counts
    assert {tuple(pair) for pair in outcome.flow_F3[:, :2].tolist()} == {(0, 2), (5, 6), (5, 7)}


def test_loans_stay_with_those_whom_nothing_happened_to(changed):
    positions, rows = np.arange(300) % 3, np.zeros((300, 2), np.float32)
    reshaping = Reshaping((0, 5), {0: 0, 5: 5}, {2: 5}, (), (Change("merge", (2, 5), (5,), {}, ""),), 6)
    _, kept, outcome = changed(reshaping, positions, rows, lent=[(1, 0), (71, 0), (0, 2), (3, 5), (0, 9)])
    assert kept == [(1, 0), (71, 0)]  # 9 had retired
    assert outcome.loads_K.tolist() == [102, 200] and outcome.won_K.tolist() == [100, 200]
