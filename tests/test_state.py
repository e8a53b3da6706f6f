"""What rounds hand on."""

import json

import numpy as np
import pytest

from raymix.state import Assigned, Lineage, State


def test_rows_of_a_component_are_won_and_lent_ones_in_order():
    assigned = Assigned(np.array([1, 0, 1, 1], np.int32), np.array([3, 0, 1], np.int32), np.array([0, 0, 2], np.int32))
    assert assigned.rows_of(0).tolist() == [0, 1, 3]
    assert assigned.rows_of(1).tolist() == [0, 2, 3]
    assert assigned.rows_of(2).tolist() == [1]
    assert assigned.rows_of(3).tolist() == []


def test_an_assignment_of_labels_lends_nothing():
    assigned = Assigned.of(np.array([4, 2], np.int64))
    assert assigned.winners.dtype == np.int32
    assert len(assigned.lent_rows) == len(assigned.lent_to) == 0


def test_weights_are_shares_of_rows_won_and_lent_rows_do_not_count():
    state = State(3, (1, 4, 6), won_K=(6, 2, 0), loads_K=(6, 3, 3), log_z_K=(0.0,) * 3, starved_rounds_K=(0, 0, 1))
    assert state.weights_K == pytest.approx((0.75, 0.25, 0.0))
    assert state.starved == (4, 6)


def test_a_state_comes_back_from_json_with_and_without_a_lineage():
    plain = State(3, (1, 4), won_K=(6, 2), loads_K=(6, 3), log_z_K=(0.5, -1e4), starved_rounds_K=(0, 1))
    assert "lineage" not in plain.as_json()
    grown = State(*list(vars(plain).values())[:-1], Lineage((0, 2), (-1, 4), (0, 1), 7))
    for state in (plain, grown, State.fresh((0, 1)), State.fresh((0, 1), adapt=True)):
        assert State.of_json(json.loads(json.dumps(state.as_json()))) == state


def test_a_state_of_some_components_alone():
    state = State(
        3, (1, 4, 6), (6, 2, 0), (6, 3, 3), (0.5, 1.5, 2.5), (0, 7, 1), Lineage((0, 2, 3), (-1, 4, 4), (0, 1, 2), 7)
    )
    expected = State(3, (1, 6), (6, 0), (6, 3), (0.5, 2.5), (0, 1), Lineage((0, 3), (-1, 4), (0, 2), 7))
    assert state.only([0, 2]) == expected
    assert state.without([4]) == state.without(iter([4, 5])) == expected
