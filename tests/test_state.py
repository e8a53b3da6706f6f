"""What rounds hand on."""

import numpy as np
import pytest

from raymix.state import Assigned, State


def test_rows_of_a_component_are_won_and_lent_ones_in_order():
    assigned = Assigned(np.array([1, 0, 1, 1], np.int32), np.array([3, 0, 1], np.int32), np.array([0, 0, 2], np.int32))
    assert assigned.rows_of(0).tolist() == [0, 1, 3]
    assert assigned.rows_of(1).tolist() == [0, 2, 3]
    assert assigned.rows_of(2).tolist() == [1]
    assert assigned.rows_of(3).tolist() == []


def test_an_assignment_of_labels_lends_nothing():
    assigned = Assigned.of(np.array([4, 2], np.int64))
    assert assigned.labels.dtype == np.int32
    assert len(assigned.lent_rows) == len(assigned.lent_to) == 0


def test_weights_are_shares_of_rows_won_and_lent_rows_do_not_count():
    state = State(3, (1, 4, 6), won_K=(6, 2, 0), loads_K=(6, 3, 3), log_z_K=(0.0,) * 3, starved_rounds_K=(0, 0, 1))
    assert state.weights_K == pytest.approx((0.75, 0.25, 0.0))
    assert state.starved == (4, 6)
