import itertools

import numpy as np
import pytest

from raymix.report.exchange import bands, exchange_map, labelled, largest_moves, moves, ribbons, short, spans
from raymix.report.history import ids_of


def test_moves_are_the_records_cells(make_record):
    line = make_record(flow_F3=((7, 2, 30), (2, 9, 4)))
    expected = np.zeros((3, 3))
    expected[1, 0], expected[0, 2] = 30, 4
    np.testing.assert_array_equal(moves(line, [2, 7, 9]), expected)


@pytest.mark.parametrize(
    ("num_lines", "expected"),
    [(1, []), (2, [(0, 1)]), (5, [(0, 4)]), (6, [(0, 3), (3, 5)]), (7, [(0, 3), (3, 6)]), (20, [(0, 3), (16, 19)])],
)
def test_short_runs_are_shown_whole_long_ones_at_both_ends(num_lines, expected):
    assert spans(num_lines) == expected


def test_the_ribbons_of_a_bar_fill_it_without_overlap():
    rng = np.random.default_rng(0)
    flow_KK = rng.integers(1, 20, (5, 5)).astype(float)
    before_K, after_K = rng.uniform(0, 1000, 5), rng.uniform(0, 1000, 5)
    found = ribbons(flow_KK, before_K, after_K, smallest=0)
    assert len(found) == 25 and sum(ribbon.rows for ribbon in found) == flow_KK.sum()
    for place, start, total_K, low_K in (
        ("source", "low", flow_KK.sum(1), before_K),
        ("target", "high", flow_KK.sum(0), after_K),
    ):
        for k in range(5):
            own = sorted((getattr(r, start), r.rows) for r in found if getattr(r, place) == k)
            edges = [low_K[k], *(low + rows for low, rows in own)]
            np.testing.assert_allclose([low for low, _ in own], edges[:-1])
            assert edges[-1] == pytest.approx(low_K[k] + total_K[k])
    # bar 0 is on top: what leads there leaves from the top of its bar
    assert max((r for r in found if r.source == 2), key=lambda r: r.low).target == 0
    assert len(ribbons(flow_KK, before_K, after_K, smallest=10)) == (flow_KK > 10).sum()


def test_rows_in_the_bars_agree_with_what_flows(make_lines):
    lines = make_lines(4)
    for before, after in itertools.pairwise(lines):
        moved_KK = moves(after, ids_of(lines))
        np.testing.assert_array_equal(np.array(before.won_K) - moved_KK.sum(1) + moved_KK.sum(0), after.won_K)


def test_numbers_are_written_apart_and_those_of_large_bars_first():
    middles, sizes = np.array([10.0, 9.5, 5.0, 4.9, 0.0]), np.array([1, 5, 2, 2, 9])
    assert labelled(middles, sizes, height=1) == [4, 1, 2]
    assert sorted(labelled(middles, sizes, height=0.01)) == [0, 1, 2, 3, 4]


def test_many_components_have_no_bands_but_a_table(make_lines):
    assert len(bands(make_lines(20))) == 2 and bands(make_lines(21)) == []
    assert "<svg" in exchange_map(make_lines(21)[1:])


def test_counts_are_short_and_the_largest_moves_are_told(make_record):
    counts = (7, 999, 1000, 1234, 9_949, 9_960, 99_999, 123_456, 5_600_000)
    assert " ".join(map(short, counts)) == "7 999 1.0k 1.2k 9.9k 10k 100k 123k 5.6M"
    assert largest_moves(make_record(flow_F3=((0, 3, 1200), (3, 0, 7)))) == "0 → 3: 1,200, 3 → 0: 7"
