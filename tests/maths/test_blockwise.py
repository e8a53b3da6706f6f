"""Assigning block by block against the whole N x K matrix."""

import numpy as np
import pytest

from raymix.config import BalanceConfig
from raymix.state import Assigned


def cut(rows, sizes):
    return np.split(rows, np.cumsum(sizes)[:-1])


@pytest.fixture
def assign_in_blocks(own):
    def assign(log_ratio_NK, sizes, components, log_z_K, min_share, classes_N=None, previous_B=None):
        """The rows cut into blocks and assigned: of each block, counts, and lent rows numbered over the whole set."""
        num_classes = 0 if classes_N is None else int(classes_N.max()) + 1
        classes_B = None if classes_N is None else cut(classes_N, sizes)
        owned = own(sizes, None, classes_B, num_classes, balance=BalanceConfig(min_share=min_share))
        if previous_B:
            owned.assigned_B = previous_B
        owned.take_log_ratios(components, [list(np.ascontiguousarray(part.T)) for part in cut(log_ratio_NK, sizes)])
        outcome = owned.assign(1, log_z_K)
        starts = np.cumsum([0, *sizes])[:-1]
        rows = {k: [] for k in components}
        for start, assigned in zip(starts, owned.assigned_B, strict=True):
            for row, k in zip(assigned.lent_rows, assigned.lent_to, strict=True):
                rows[int(k)].append(int(start + row))
        return owned.assigned_B, outcome, rows

    return assign


def expected_assignment(log_ratio_NK, log_z_K, min_share):
    """Winners' positions and lent rows per position, from the whole matrix."""
    num_rows, num_components = log_ratio_NK.shape
    winners_N = (log_ratio_NK.astype(np.float64) - np.asarray(log_z_K)).argmax(1)
    target = min(int(np.ceil(min_share * num_rows / num_components)), num_rows)
    lent_K = []
    for k in range(num_components):
        free = np.flatnonzero(winners_N != k)
        need = max(0, target - int((winners_N == k).sum()))
        lent_K.append(sorted(free[np.argsort(-log_ratio_NK[free, k], kind="stable")][:need].tolist()))
    return winners_N, lent_K


def test_assignment_equals_that_of_the_whole_matrix(assign_in_blocks):
    rng = np.random.default_rng(0)
    lent_any = 0
    for trial in range(60):
        num_components = int(rng.integers(1, 7))
        sizes = rng.integers(1, 40, size=int(rng.integers(1, 5))).tolist()
        scale = [1.0, 1e4, 0.3][trial % 3]
        log_ratio_NK = rng.normal(scale=scale, size=(sum(sizes), num_components))
        log_ratio_NK = log_ratio_NK.round(int(rng.integers(0, 3))).astype(np.float32)  # many ties
        log_ratio_NK[:, 0] -= np.float32(15 * scale)  # the first starves
        log_z_K = rng.normal(size=num_components)
        min_share = float(rng.choice([0, 0.25, 0.5, 1]))
        components = tuple(sorted(rng.choice(100, num_components, replace=False).tolist()))

        assigned_B, outcome, lent = assign_in_blocks(log_ratio_NK, sizes, components, log_z_K, min_share)

        winners_N, lent_K = expected_assignment(log_ratio_NK, log_z_K, min_share)
        ids = np.array(components)
        np.testing.assert_array_equal(np.concatenate([a.winners for a in assigned_B]), ids[winners_N])
        assert [lent[k] for k in components] == lent_K
        won_K = np.bincount(winners_N, minlength=num_components)
        np.testing.assert_array_equal(outcome.won_K, won_K)
        np.testing.assert_array_equal(outcome.loads_K, won_K + [len(rows) for rows in lent_K])
        assert outcome.moved == sum(sizes) and len(outcome.flow_F3) == 0  # no assignment before
        assert outcome.contingency_KC is None
        lent_any += sum(map(len, lent_K)) > 0
    assert lent_any > 20


@pytest.mark.parametrize("margin", [0.0, 0.5, 1e9])
def test_a_row_moves_for_a_gain_over_the_margin_alone(own, margin):
    rng, sizes, components = np.random.default_rng(1), [30, 1, 60], (2, 5, 7)
    log_ratio_NK = rng.normal(size=(91, 3)).round(1).astype(np.float32)
    log_z_K, before_N = np.array([0.5, 0.0, -0.25]), rng.choice([2, 5, 7, 8], 91)
    owned = own(sizes, assign={"margin": margin}, balance=BalanceConfig(min_share=0))
    owned.assigned_B = [Assigned.of(part) for part in cut(before_N, sizes)]
    owned.take_log_ratios(components, [list(np.ascontiguousarray(part.T)) for part in cut(log_ratio_NK, sizes)])
    owned.assign(1, log_z_K)
    s_NK = log_ratio_NK.astype(np.float64) - log_z_K
    expected = []
    for s_K, before in zip(s_NK, before_N, strict=True):
        best = int(s_K.argmax())
        stays = before in components and margin and s_K[best] - s_K[components.index(before)] <= margin
        expected.append(before if stays else components[best])
    assert np.concatenate([assigned.winners for assigned in owned.assigned_B]).tolist() == expected


def test_kept_rows_stay_and_those_of_others_are_dealt(own):
    before = Assigned(np.array([4, 9, 4, 6, 6, 9], np.int32), np.array([0, 2, 3]), np.array([6, 9, 4]))
    owned = own([6])
    owned.assigned_B = [before]
    same = owned.keep((4, 6, 9))
    assert same.moved == 0
    assert same.loads_K.tolist() == [3, 3, 3]
    rest = owned.keep((4, 6))
    assert rest.moved == 2
    assert owned.assigned_B[0].winners.tolist() == [4, 6, 4, 6, 6, 6]
    assert rest.loads_K.tolist() == [3, 5]


def test_assignment_does_not_depend_on_the_cut_into_blocks(assign_in_blocks):
    rng = np.random.default_rng(1)
    log_ratio_NK = rng.normal(size=(30, 3)).round(1).astype(np.float32) - np.array([3, 0, 0], np.float32)
    results = []
    for sizes in ([30], [10, 10, 10], [1, 28, 1], [1] * 30):
        assigned_B, outcome, lent = assign_in_blocks(log_ratio_NK, sizes, (0, 1, 2), [0.0, 0.1, 0.2], 0.8)
        winners = np.concatenate([a.winners for a in assigned_B]).tolist()
        results.append((winners, lent, outcome.won_K.tolist(), outcome.loads_K.tolist()))
    assert results[0][1][0]  # something was lent
    assert all(result == results[0] for result in results)


def test_duplicate_rows_are_won_together_and_lent_in_row_order(assign_in_blocks):
    log_ratio_NK = np.tile(np.array([[0, 1]], np.float32), (6, 1))
    assigned_B, outcome, lent = assign_in_blocks(log_ratio_NK, [2, 3, 1], (0, 1), [0.0, 0.0], 1.0)
    assert [a.winners.tolist() for a in assigned_B] == [[1, 1], [1, 1, 1], [1]]
    assert lent == {0: [0, 1, 2], 1: []}
    assert assigned_B[1].rows_of(0).tolist() == [0]
    assert outcome.loads_K.tolist() == [3, 6]


def test_winners_keep_the_rows_that_are_lent(assign_in_blocks):
    log_ratio_NK = np.array([[0, 5], [0, 6], [3, 4], [0, 9]], np.float32)
    assigned_B, outcome, lent = assign_in_blocks(log_ratio_NK, [4], (4, 9), [0.0, 0.0], 0.5)
    assert lent[4] == [2]
    assert assigned_B[0].rows_of(4).tolist() == [2]
    assert assigned_B[0].rows_of(9).tolist() == [0, 1, 2, 3]
    assert outcome.won_K.tolist() == [0, 4]


def test_moved_counts_rows_with_another_winner(assign_in_blocks):
    log_ratio_NK = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.float32)
    previous_B = [Assigned.of(np.array([3, 3])), Assigned.of(np.array([5, 5]))]
    _, outcome, _ = assign_in_blocks(log_ratio_NK, [2, 2], (3, 5), [0.0, 0.0], 0, previous_B=previous_B)
    assert outcome.moved == 2
    assert outcome.flow_F3.tolist() == [[3, 5, 1], [5, 3, 1]]


def test_the_flow_is_that_of_the_whole_set_and_leads_away_from_who_competes_no_longer(assign_in_blocks):
    rng = np.random.default_rng(5)
    for sizes in ([60], [1, 20, 39]):
        log_ratio_NK = rng.normal(size=(60, 3)).astype(np.float32)
        before_N = rng.choice([2, 4, 7, 9], 60)
        previous_B = [Assigned.of(part) for part in cut(before_N, sizes)]
        _, outcome, _ = assign_in_blocks(log_ratio_NK, sizes, (2, 7, 9), [0.0] * 3, 0.5, previous_B=previous_B)
        after_N = np.array([2, 7, 9])[log_ratio_NK.argmax(1)]
        pairs = {(j, k): ((before_N == j) & (after_N == k)).sum() for j in (2, 4, 7, 9) for k in (2, 7, 9) if j != k}
        assert {(j, k): rows for j, k, rows in outcome.flow_F3.tolist()} == {p: n for p, n in pairs.items() if n}
        assert outcome.flow_F3[:, 2].sum() == outcome.moved == (before_N != after_N).sum()
        assert (np.diff(outcome.flow_F3[:, 2]) <= 0).all()


def test_contingency_counts_rows_won_by_component_and_class(assign_in_blocks):
    rng = np.random.default_rng(2)
    log_ratio_NK = rng.normal(size=(50, 3)).astype(np.float32)
    classes_N = rng.integers(0, 4, 50)
    classes_N[0] = 3
    _, outcome, _ = assign_in_blocks(log_ratio_NK, [20, 30], (1, 2, 8), [0.0] * 3, 1.0, classes_N)
    expected = np.zeros((3, 4), int)
    np.add.at(expected, (log_ratio_NK.argmax(1), classes_N), 1)
    np.testing.assert_array_equal(outcome.contingency_KC, expected)


@pytest.mark.parametrize("mode", ["bag", "random", "oracle", "single"])
def test_controls_lend_nothing_and_deal_every_row(mode, own):
    classes_B = [np.array([0, 1, 2, 2]), np.array([1]), np.array([2, 0, 0, 1, 1, 2])]
    owned = own([4, 1, 6], None, classes_B, 3, mode=mode, num_components=3, seed=4)
    outcome = owned.deal(2, owned.config.components)
    winners = [a.winners.tolist() for a in owned.assigned_B]
    assert [len(part) for part in winners] == [4, 1, 6]
    assert all(len(a.lent_rows) == 0 for a in owned.assigned_B)
    assert outcome.won_K.tolist() == outcome.loads_K.tolist()
    assert outcome.won_K.sum() == outcome.contingency_KC.sum() == 11
    if mode == "oracle":
        assert winners == [classes.tolist() for classes in classes_B]
    if mode == "single":
        assert outcome.won_K.tolist() == [11]


def test_control_bag_is_the_same_in_every_round_and_random_is_not(own):
    def winners(mode, round):
        owned = own([40, 40], mode=mode, num_components=3)
        owned.deal(round, owned.config.components)
        return [a.winners.tolist() for a in owned.assigned_B]

    assert winners("bag", 1) == winners("bag", 7)
    assert winners("random", 1) != winners("random", 7)
    assert winners("random", 1)[0] != winners("random", 1)[1]


@pytest.mark.parametrize("mode", ["bag", "random", "oracle"])
def test_rows_dealt_to_who_competes_no_longer_go_to_the_rest(mode, own):
    sizes = [40, 1, 60]
    rng = np.random.default_rng(0)
    classes_B = [rng.integers(0, 5, size) for size in sizes]

    def winners(components):
        owned = own(sizes, None, classes_B, 5, mode=mode, num_components=5, seed=3)
        outcome = owned.deal(2, components)
        winners_N = np.concatenate([a.winners for a in owned.assigned_B])
        np.testing.assert_array_equal(outcome.won_K, [(winners_N == k).sum() for k in components])
        assert outcome.won_K.sum() == len(winners_N) == 101
        return winners_N

    whole_N, left_N = winners((0, 1, 2, 3, 4)), winners((0, 2, 4))
    dropped_N = np.isin(whole_N, [1, 3])
    assert dropped_N.any()
    np.testing.assert_array_equal(left_N[~dropped_N], whole_N[~dropped_N])
    assert set(left_N[dropped_N].tolist()) == {0, 2, 4}
    assert np.ptp([(left_N[dropped_N] == k).sum() for k in (0, 2, 4)]) <= 12  # in turn, but for where they lie
    np.testing.assert_array_equal(left_N, winners((0, 2, 4)))
    assert set(winners((3,)).tolist()) == {3}


def random_assigned(rng, components, sizes, lent_share=0.2):
    """Blocks of an assignment as balancing makes it: each row won by one component, some lent to others."""
    assigned_B = []
    for size in sizes:
        winners = rng.choice(components, size).astype(np.int32)
        lent = [(row, k) for row in range(size) for k in components if k != winners[row] and rng.random() < lent_share]
        rows, to = np.array(lent, np.int32).reshape(-1, 2).T
        assigned_B.append(Assigned(winners, rows, to))
    return assigned_B


@pytest.fixture
def reseeded(own):
    def reseed(donors, components, assigned_B, classes_B=None, num_classes=0, seed=1, round=4):
        owned = own([len(assigned.winners) for assigned in assigned_B], None, classes_B, num_classes, seed=seed)
        owned.assigned_B = assigned_B
        outcome = owned.reseed(round, components, donors)
        return owned.assigned_B, outcome

    return reseed


def test_reseeding_moves_half_of_a_donors_rows_and_keeps_all_others(reseeded):
    rng = np.random.default_rng(3)
    for _ in range(30):
        components = tuple(sorted(rng.choice(1000, 6, replace=False).tolist()))
        sizes = rng.integers(1, 50, size=4).tolist()
        before_B = random_assigned(rng, components, sizes)
        classes_B = [rng.integers(0, 3, size) for size in sizes]
        shuffled = rng.permutation(components).tolist()
        donors = {shuffled[0]: shuffled[1], shuffled[2]: shuffled[3]}
        kept_copies = [Assigned(*(array.copy() for array in before)) for before in before_B]

        after_B, outcome = reseeded(donors, components, before_B, classes_B, 3)

        moved = 0
        for before, after, copy in zip(before_B, after_B, kept_copies, strict=True):
            for left, right in zip(before, copy, strict=True):
                np.testing.assert_array_equal(left, right)  # what was given is left as it was
            assert after.winners.dtype == np.int32 and len(after.winners) == len(before.winners)
            for receiver, donor in donors.items():
                of_donor = before.winners == donor
                given = of_donor & (after.winners == receiver)
                assert given.sum() == of_donor.sum() // 2
                assert (after.winners[of_donor & ~given] == donor).all()
                assert (after.winners[before.winners == receiver] == receiver).all()  # it keeps what it won
                moved += given.sum()
            others = ~np.isin(before.winners, list(donors.values()))
            np.testing.assert_array_equal(after.winners[others], before.winners[others])
            on_loan = set(zip(before.lent_rows.tolist(), before.lent_to.tolist(), strict=True))
            expected = {(row, k) for row, k in on_loan if k not in donors}
            assert set(zip(after.lent_rows.tolist(), after.lent_to.tolist(), strict=True)) == expected
            assert not any(after.winners[row] == k for row, k in expected)
        winners_N = np.concatenate([after.winners for after in after_B])
        classes_N = np.concatenate(classes_B)
        assert outcome.moved == moved == outcome.flow_F3[:, 2].sum()
        assert {(j, k) for j, k, _ in outcome.flow_F3.tolist()} <= {(donor, k) for k, donor in donors.items()}
        assert outcome.won_K.tolist() == [(winners_N == k).sum() for k in components]
        lent_N = np.concatenate([after.lent_to for after in after_B])
        assert outcome.loads_K.tolist() == [(winners_N == k).sum() + (lent_N == k).sum() for k in components]
        for k, counts in zip(components, outcome.contingency_KC, strict=True):
            assert counts.tolist() == np.bincount(classes_N[winners_N == k], minlength=3).tolist()


def test_reseeding_draws_from_its_seed(reseeded):
    assigned_B = random_assigned(np.random.default_rng(0), (2, 5, 7), [60, 60])

    def winners(**seeds):
        return [after.winners.tolist() for after in reseeded({5: 2}, (2, 5, 7), assigned_B, **seeds)[0]]

    first = winners()
    assert winners() == first
    assert winners(seed=2) != first and winners(round=5) != first
    same_B = [assigned_B[0]] * 2
    halves = [after.winners.tolist() for after in reseeded({5: 2}, (2, 5, 7), same_B)[0]]
    assert halves[0] != halves[1]  # each block draws for itself


def test_reseeding_from_one_row_moves_none(reseeded):
    none = np.empty(0, np.int32)
    assigned = Assigned(np.array([3, 8, 8], np.int32), np.array([1], np.int32), np.array([3], np.int32))
    (after,), outcome = reseeded({3: 8}, (3, 8), [Assigned(np.array([8], np.int32), none, none)])
    assert after.winners.tolist() == [8] and outcome.moved == 0
    (after,), outcome = reseeded({3: 8}, (3, 8), [assigned])
    assert sorted(after.winners.tolist()) == [3, 3, 8] and after.lent_rows.tolist() == []
    assert outcome.won_K.tolist() == outcome.loads_K.tolist() == [2, 1]
