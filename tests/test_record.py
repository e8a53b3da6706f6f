"""The record: plain JSON, once per round."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from tensorboardX.proto.event_pb2 import Event

from raymix.record import Events, Record, read_record, record_line, warnings_of
from raymix.state import Fit, RoundInfo, State
from raymix.storage import Storage

STATE = State(2, (0, 3, 5), (6, 2, 0), (6, 3, 3), (0.0, 0.5, 1.0))
FITS = (Fit(0, 10, 1.5), Fit(3, 10, 2.5), Fit(5, 0, math.nan))


def info(discriminators=(), contingency=None):
    return RoundInfo(2, FITS, discriminators, moved=4, contingency_KC=contingency, seconds={"score": 0.12345})


def test_line_holds_the_round_in_the_order_of_components():
    line = record_line(STATE, info((Fit(0, 5, 0.5), Fit(3, 6, 0.6), Fit(5, 7, 0.7))))
    assert line["round"] == 2 and line["components"] == [0, 3, 5]
    assert line["won"] == [6, 2, 0] and line["loads"] == [6, 3, 3] and line["weights"] == [0.75, 0.25, 0]
    assert line["starved"] == [3, 5] and line["rows_moved"] == 4
    assert line["generator_loss"] == [1.5, 2.5, None] and line["generator_steps"] == [10, 10, 0]
    assert line["discriminator_loss"] == [0.5, 0.6, 0.7] and line["discriminator_steps"] == [5, 6, 7]
    assert line["effective_components"] == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))
    assert line["seconds"] == {"score": 0.123}
    assert "clustering" not in line and line["warnings"] == []


def test_line_is_strict_json_and_comes_back():
    line = record_line(STATE, info(contingency=np.array([[5, 1], [0, 2], [0, 0]])))
    assert json.loads(json.dumps(line, allow_nan=False)) == line


def test_clustering_is_that_of_the_rows_counted():
    contingency = np.array([[5, 1], [0, 2], [0, 0]])
    line = record_line(STATE, info(contingency=contingency))
    component, classes = (np.repeat(index.ravel(), contingency.ravel()) for index in np.indices(contingency.shape))
    assert line["clustering"]["nmi"] == pytest.approx(normalized_mutual_info_score(classes, component))
    assert line["clustering"]["ari"] == pytest.approx(adjusted_rand_score(classes, component))
    assert line["clustering"]["purity"] == pytest.approx(7 / 8)
    assert line["contingency"] == contingency.tolist()


def test_saturated_discriminators_are_named():
    fits = (Fit(0, 5, 0.05), Fit(3, 5, 0.1), Fit(5, 5, math.nan))
    line = record_line(STATE, info(fits))
    assert len(line["warnings"]) == 1 and "[0]" in line["warnings"][0] and "guard_loss" in line["warnings"][0]
    assert warnings_of(line) == line["warnings"]


def test_record_is_rewritten_whole(tmp_path):
    storage = Storage.at(tmp_path)
    assert read_record(storage) == []
    record = Record(storage, [])
    record.append({"round": 0})
    record.append({"round": 1})
    resumed = Record(storage, [{"round": 0}])  # the second was never committed
    resumed.append({"round": 1, "again": True})
    assert read_record(storage) == [{"round": 0}, {"round": 1, "again": True}]
    assert (tmp_path / "record.jsonl").read_text().count("\n") == 2


def test_a_record_leaves_the_lines_it_was_given_alone(tmp_path):
    lines = [{"round": 0}]
    Record(Storage.at(tmp_path), lines).append({"round": 1})
    assert lines == [{"round": 0}]


def test_events_hold_the_numbers_of_each_line(tmp_path):
    events = Events(Storage.at(tmp_path), 0)
    line = record_line(STATE, info(contingency=np.array([[5, 1], [0, 2], [0, 0]])))
    events.append(line | {"measures": {"kde_log_likelihood": -1.5, "modes_captured": None}})
    events.close()
    (path,) = (tmp_path / "events").iterdir()
    content, found, at = path.read_bytes(), {}, 0
    while at < len(content):  # length (8 bytes), its checksum (4), the event, its checksum (4)
        size = int.from_bytes(content[at : at + 8], "little")
        event = Event.FromString(content[at + 12 : at + 12 + size])
        found |= {value.tag: (event.step, value.simple_value) for value in event.summary.value}
        at += 16 + size
    assert found["generator_loss/3"] == (2, 2.5)
    assert "generator_loss/5" not in found  # it is not a number
    assert found["loads/5"] == (2, 3)
    assert found["measures/kde_log_likelihood"] == (2, -1.5)
    assert "measures/modes_captured" not in found
    assert found["mixture/rows_moved"] == (2, 4)
    assert found["clustering/purity"][1] == pytest.approx(7 / 8)
