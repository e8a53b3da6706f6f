"""The rule by which components retire, merge, are dealt anew and split, at each of its bounds."""

from dataclasses import replace

import numpy as np
import pytest

from raymix.maths.modality import Cells, Modality
from raymix.maths.structure import Confusion, applied, candidates, counted, reshaping, retired
from raymix.state import Lineage, State

N = 10_000


def state_of(*won, round=5, components=None, born=0, split=-1, small=0, next_component=None):
    """Lists in order of components, or one value for all."""
    num = len(won)
    components = tuple(components or range(num))

    def each(value):
        return tuple(value) if isinstance(value, list | tuple) else (value,) * num

    lineage = Lineage(each(born), each(split), each(small), next_component or max(components) + 1)
    return State(round, components, tuple(won), tuple(won), tuple(0.1 * k for k in components), (0,) * num, lineage)


def confusion_of(state, **pairs):
    """`of_pairs` of pairs of positions named as p01; nothing between others."""
    won_K = np.array(state.won_K)
    posterior_KK = np.diag(won_K).astype(float)
    for name, value in pairs.items():
        j, k = int(name[1]), int(name[2])
        posterior_KK[j, k] += value * min(won_K[j], won_K[k])
    return Confusion(won_K, posterior_KK)


def cells_of(num):
    return Cells(np.arange(num, dtype=float)[:, None], None)


def pair(valley, shares=(0.5, 0.5), moved=0.2):
    return Modality(valley, cells_of(2), shares, moved)


def one(valley, num):
    return Modality(valley, cells_of(num) if num > 1 else None, (1 / num,) * num)


def decided(state, looks, least=1, most=32, **pairs):
    return reshaping(state, confusion_of(state, **pairs), looks, least, most)


def kinds(found):
    return [(change.kind, change.components, change.into) for change in found.changes]


# ---- confusion


def test_confusion_of_pairs_is_shared_posterior_over_the_rows_of_the_smaller():
    confusion = Confusion(np.array([100, 50, 0]), np.array([[90.0, 9, 1], [6, 44, 0], [0, 0, 0]]))
    expected = np.array([[np.nan, 15 / 50, 0], [15 / 50, np.nan, 0], [0, 0, np.nan]])
    found = confusion.of_pairs()
    np.fill_diagonal(found, np.nan)
    np.testing.assert_allclose(found, expected)


# ---- retire


@pytest.mark.parametrize(("num", "limit"), [(2, 200), (12, 200), (20, 125)])  # 2 % of N, or a quarter of N / K
def test_small_rounds_are_counted_and_forgotten(num, limit):
    rest = (N - 2 * limit + 1 - (num - 3) * 500, *[500] * (num - 3)) if num > 2 else ()
    state = state_of(*rest, limit - 1, limit) if num > 2 else state_of(limit - 1, N - limit + 1)
    small = len(rest)
    for rounds in (1, 2, 3):
        state = counted(state)
        expected = [0] * num
        expected[small] = rounds
        assert state.lineage.small_rounds_K == tuple(expected)
    fed = counted(replace(state, won_K=(N // num,) * num))
    assert set(fed.lineage.small_rounds_K) == {0}


@pytest.mark.parametrize(("small", "born", "gone"), [(1, 0, False), (2, 0, True), (2, 3, True), (2, 4, False)])
def test_a_component_retires_when_it_was_small_for_two_rounds_and_is_old(small, born, gone):
    state = state_of(9_850, 150, small=[0, small], born=[0, born])
    assert [change.components for change in retired(state, 1)] == ([(1,)] if gone else [])


def test_the_smallest_retire_first_and_some_are_left():
    state = state_of(9_700, 120, 80, 100, small=[0, 3, 3, 3])
    assert [change.components for change in retired(state, 1)] == [(2,), (3,), (1,)]
    assert [change.components for change in retired(state, 3)] == [(2,)]
    assert retired(state, 4) == retired(state, 9) == ()
    first = retired(state, 1)[0]
    assert first.numbers == {"rows": 80, "limit": 200, "rounds": 3} and "80 rows" in first.reason


# ---- who is looked at


def test_pairs_are_looked_at_most_confused_first_then_components_that_may_split():
    state = state_of(4_000, 3_000, 2_701, 299)
    confusion = confusion_of(state, p01=0.04, p20=0.3, p12=0.029, p13=0.9, p23=0.031)
    assert candidates(state, confusion) == [(1, 3), (0, 2), (0, 1), (2, 3), (0,), (1,), (2,)]


def test_young_components_and_few_rows_are_not_looked_at():
    state = state_of(5_000, 4_720, 180, 100, born=[0, 4, 3, 3])
    confusion = confusion_of(state, p01=0.5, p02=0.5, p23=0.5)
    assert candidates(state, confusion) == [(0, 2), (0,)]  # 1 is young, 2 and 3 have 280 rows together
    tiny = state_of(299, 301)
    assert candidates(tiny, confusion_of(tiny)) == [(1,)]


def test_as_many_pairs_are_looked_at_as_there_are_components_thrice():
    state = state_of(*[N // 20] * 20)
    confusion = Confusion(np.array(state.won_K), np.full((20, 20), 100.0))
    assert sum(len(candidate) == 2 for candidate in candidates(state, confusion)) == 60


# ---- pairs


@pytest.mark.parametrize(
    ("valley", "split", "merges"),
    [(0.65, -1, True), (0.649, -1, False), (0.849, 2, False), (0.85, 2, True), (0.65, [1, 2], True)],
)
def test_pairs_of_one_mode_merge_and_siblings_need_a_flatter_one(valley, split, merges):
    state = state_of(4_000, 6_000, split=split)
    found = decided(state, {(0, 1): pair(valley)}, p01=0.5)
    assert kinds(found) == ([("merge", (0, 1), (1,))] if merges else [])
    if merges:
        assert found.components == (1,) and found.sources == {1: 1} and found.merged == {0: 1}
        assert found.changes[0].numbers["confusion"] == pytest.approx(0.5)


def test_of_equals_the_lower_id_stays():
    assert kinds(decided(state_of(5_000, 5_000), {(0, 1): pair(1.0)}, p01=0.5)) == [("merge", (0, 1), (0,))]


@pytest.mark.parametrize(
    ("valley", "shares", "moved", "dealt"),
    [
        (0.29, (0.5, 0.5), 0.06, True),
        (0.3, (0.5, 0.5), 0.06, False),
        (0.29, (0.97, 0.03), 0.06, True),
        (0.29, (0.971, 0.029), 0.06, False),  # of 5,000 rows: less than 1.5 % of all
        (0.29, (0.5, 0.5), 0.05, False),
    ],
)
def test_pairs_of_two_modes_are_dealt_anew(valley, shares, moved, dealt):
    state = state_of(2_000, 3_000, 5_000)
    found = decided(state, {(0, 1): pair(valley, shares, moved)}, p01=0.5)
    assert kinds(found) == ([("repartition", (0, 1), (0, 1))] if dealt else [])
    assert found.components == (0, 1, 2) and found.sources == {0: 0, 1: 1, 2: 2}
    assert [deal[:2] for deal in found.dealt] == ([((0, 1), (0, 1))] if dealt else [])


def test_each_component_changes_once_the_most_confused_pair_first():
    state = state_of(4_000, 3_000, 3_000)
    looks = {(0, 1): pair(1.0), (1, 2): pair(1.0), (0, 2): pair(0.1), (0,): one(0.1, 3), (2,): one(0.1, 2)}
    found = decided(state, looks, p01=0.6, p12=0.5, p02=0.4)
    assert kinds(found) == [("merge", (0, 1), (0,)), ("split", (2,), (2, 3))]
    untouched = decided(state, looks | {(0, 1): pair(0.5)}, p01=0.6, p12=0.5, p02=0.4)
    assert kinds(untouched) == [("merge", (1, 2), (1,)), ("split", (0,), (0, 3, 4))]


def test_as_few_are_left_as_are_allowed():
    state = state_of(4_000, 3_000, 2_000, 1_000)
    looks = {(0, 1): pair(1.0), (2, 3): pair(1.0)}
    assert len(decided(state, looks, least=3, p01=0.6, p23=0.5).components) == 3
    assert decided(state, looks, least=4, p01=0.6, p23=0.5).changes == ()


# ---- splits


@pytest.mark.parametrize(("valley", "splits"), [(0.49, True), (0.5, False)])
def test_a_component_of_several_modes_splits(valley, splits):
    state = state_of(4_000, 6_000, components=(3, 5), next_component=9)
    found = decided(state, {(5,): one(valley, 3)})
    if not splits:
        assert found.changes == () and found.components == (3, 5)
        return
    assert kinds(found) == [("split", (5,), (5, 9, 10))]
    assert found.components == (3, 5, 9, 10) and found.sources == {3: 3, 5: 5, 9: 5, 10: 5}
    assert found.dealt[0][:2] == ((5,), (5, 9, 10)) and found.next_component == 11


def test_a_component_without_cells_does_not_split():
    assert decided(state_of(N), {(0,): one(0.1, 1)}).changes == ()


def test_splits_stop_at_the_most_components_and_keep_the_largest_cells():
    state = state_of(6_000, 4_000)
    looks = {(0,): one(0.1, 4), (1,): one(0.1, 2)}
    found = decided(state, looks, most=4)
    assert kinds(found) == [("split", (0,), (0, 2, 3))]
    np.testing.assert_array_equal(found.dealt[0][2].centres_CP, [[0], [1], [2]])
    assert decided(state, looks, most=2).changes == ()


# ---- the state after


def test_the_state_knows_who_was_born_when_and_of_which_split():
    state = state_of(
        3_000, 1_000, 4_000, 2_000, components=(0, 2, 5, 6), split=[-1, 4, 4, -1], small=1, next_component=8
    )
    looks = {(0, 2): pair(1.0), (5,): one(0.1, 3)}
    found = decided(state, looks, p01=0.5)
    after = applied(state, found)
    assert after.components == (0, 5, 6, 8, 9) and after.round == 5
    assert after.lineage == Lineage((0, 0, 0, 5, 5), (-1, 8, -1, 8, 8), (0, 0, 1, 0, 0), 10)
    assert after.log_z_K == (0.0, 0.5, pytest.approx(0.6), 0.5, 0.5)  # copies begin with the normaliser too


def test_ids_are_never_used_again():
    state = state_of(5_000, 5_000, next_component=2)
    found = decided(state, {(0,): one(0.1, 2)})
    merged = replace(applied(state, found), round=8)
    left = applied(merged, decided(merged, {(0, 2): pair(1.0)}, p02=0.5))
    assert left.components == (0, 1)
    again = decided(replace(left, round=11), {(0,): one(0.1, 2)})
    assert again.components == (0, 1, 3)


def test_siblings_of_an_earlier_split_are_none_of_a_later_one():
    state = state_of(4_000, 3_000, 3_000, split=[1, 1, 1], next_component=3)
    after = applied(state, decided(state, {(1,): one(0.1, 2)}))
    assert after.lineage.split_K == (1, 3, 1, 3)
