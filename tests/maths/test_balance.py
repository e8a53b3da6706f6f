"""Lent rows against a stable sort of all rows."""

import itertools

import numpy as np
import pytest

from raymix.maths.balance import Threshold, key_histogram, lent, order_key, reseeds, shortfall, thresholds

SPECIAL = [-np.inf, -3.4e38, -1e4, -1.0, -1e-38, -1e-45, -0.0, 0.0, 1e-45, 1e-38, 1.0, 1.0000001, 1e4, 3.4e38, np.inf]


def test_keys_are_ordered_as_their_floats():
    rng = np.random.default_rng(0)
    values = np.concatenate([SPECIAL, rng.normal(scale=1e4, size=100), rng.normal(size=100)]).astype(np.float32)
    keys = order_key(values)
    assert keys.dtype == np.uint32
    np.testing.assert_array_equal(keys[:, None] < keys, values[:, None] < values)
    np.testing.assert_array_equal(keys[:, None] == keys, values[:, None] == values)


def test_keys_of_both_zeros_are_equal():
    assert order_key(np.array([-0.0], np.float32)) == order_key(np.array([0.0], np.float32))


def test_key_histogram_counts_halves():
    keys = np.array([0x0001_0005, 0x0001_0005, 0x0001_FFFF, 0x0002_0005, 0xFFFF_FFFF], np.uint32)
    upper, lower = key_histogram(keys, None), key_histogram(keys, 1)
    assert {int(i): int(upper[i]) for i in np.flatnonzero(upper)} == {1: 3, 2: 1, 0xFFFF: 1}
    assert {int(i): int(lower[i]) for i in np.flatnonzero(lower)} == {5: 2, 0xFFFF: 1}
    assert len(upper) == len(lower) == 2**16


@pytest.mark.parametrize(
    ("won_K", "min_share", "expected"),
    [
        ([50, 0, 50], 0.25, {1: 9}),  # ceil(0.25 * 100 / 3) = 9
        ([90, 8, 2], 0.3, {1: 2, 2: 8}),
        ([90, 8, 2], 0.0, {}),
        ([4, 4, 4], 1.0, {}),
        ([1, 0, 0], 1.0, {1: 1, 2: 1}),  # more components than rows
        ([7], 1.0, {}),
    ],
)
def test_shortfall_of_starved_components(won_K, min_share, expected):
    assert shortfall(np.array(won_K), min_share) == expected


def test_lent_leaves_out_rows_that_were_won_and_takes_the_first_ties():
    keys = np.array([5, 9, 5, 7, 5, 9], np.uint32)
    won = np.array([False, True, False, False, False, False])
    assert lent(keys, won, Threshold(5, 2)).tolist() == [0, 2, 3, 5]
    assert lent(keys, won, Threshold(5, 0)).tolist() == [3, 5]
    assert lent(keys, won, Threshold(9, 1)).tolist() == [5]


def _lent_by_blocks(values_N, won_N, need, cuts):
    """Rows of one component lent in blocks [cuts[b], cuts[b + 1])."""
    spans = [slice(a, b) for a, b in itertools.pairwise(cuts)]

    def histograms(request):
        return [{3: key_histogram(order_key(values_N[at][~won_N[at]]), request[3])} for at in spans]

    found = thresholds({3: need}, histograms)[3]
    parts = [lent(order_key(values_N[at]), won_N[at], limit) + at.start for at, limit in zip(spans, found, strict=True)]
    return np.concatenate(parts)


@pytest.mark.parametrize("kind", ["normal", "rounded", "constant", "huge", "close", "zeros"])
def test_lent_rows_are_the_first_of_a_stable_sort(kind):
    rng = np.random.default_rng(0)
    for _ in range(20):
        num = int(rng.integers(1, 60))
        values_N = {
            "normal": rng.normal(size=num),
            "rounded": rng.normal(size=num).round(1),
            "constant": np.full(num, -3.0),
            "huge": rng.choice([-1e4, 1e4, -9999.0], num),
            "close": 1 + rng.integers(0, 5, num) * 2.0**-23,  # equal upper halves
            "zeros": rng.choice([-0.0, 0.0, -1e-45], num),
        }[kind].astype(np.float32)
        won_N = rng.random(num) < 0.3
        free = np.flatnonzero(~won_N)
        if len(free) == 0:
            continue
        need = int(rng.integers(1, len(free) + 1))
        expected = free[np.argsort(-values_N[free], kind="stable")][:need]
        cuts = np.unique([0, num, *rng.integers(0, num, 3)]).tolist()
        for blocks in ([0, num], cuts, list(range(num + 1))):  # one block, some, one row per block
            assert _lent_by_blocks(values_N, won_N, need, blocks).tolist() == sorted(expected.tolist())


def test_no_starved_component_asks_for_no_histogram():
    assert thresholds({}, lambda request: pytest.fail("asked")) == {}


@pytest.mark.parametrize(
    ("won_K", "starved_rounds_K", "patience", "expected"),
    [
        ([50, 0, 40], [0, 2, 0], 2, {4: 1}),  # the largest is copied
        ([40, 0, 50], [0, 2, 0], 2, {4: 9}),
        ([40, 0, 40], [0, 2, 0], 2, {4: 1}),  # of equals the lowest
        ([50, 0, 40], [0, 1, 0], 2, {}),  # not yet
        ([50, 0, 40], [0, 7, 0], 2, {4: 1}),  # it waited for a donor
        ([50, 0, 40], [0, 9, 0], 0, {}),  # 0 is never
        ([50, 0, 40], [0, 1, 0], 1, {4: 1}),
        ([90, 0, 1], [0, 3, 2], 3, {4: 1}),
        ([90, 0, 1], [0, 3, 3], 3, {4: 1}),  # one donor gives once, to the lowest id
        ([0, 90, 1], [3, 0, 3], 3, {1: 4}),
        ([60, 90, 1], [0, 0, 3], 3, {9: 4}),  # whoever is starved, for however short a time, gives nothing
        ([60, 90, 1], [0, 1, 3], 3, {9: 1}),
        ([1, 1, 1], [3, 3, 3], 3, {}),
        ([50, 0, 40], [0, 0, 0], 1, {}),
    ],
)
def test_reseeds_pair_who_starved_long_enough_with_the_largest(won_K, starved_rounds_K, patience, expected):
    assert reseeds((1, 4, 9), won_K, starved_rounds_K, patience) == expected


def test_reseeds_of_several_take_the_largest_in_turn():
    won_K, starved_rounds_K = [5, 80, 3, 90, 70, 85], [2, 0, 4, 0, 0, 0]
    assert reseeds((0, 2, 3, 5, 7, 8), won_K, starved_rounds_K, 2) == {0: 5, 3: 8}
