"""The record: plain JSON, once per round."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter

from raymix.checkpoint import RunDirectory
from raymix.errors import CheckpointError, DamagedError
from raymix.record import Events, Record, read_record, record_line, warnings_of
from raymix.state import Change, Fit, Lineage, RoundInfo, State
from raymix.storage import Storage

STATE = State(2, (0, 3, 5), (6, 2, 0), (6, 3, 3), (0.0, 0.5, 1.0), (0, 1, 2))
FITS = (Fit(0, 10, 1.5), Fit(3, 10, 2.5), Fit(5, 0, math.nan))


def info(discriminators=(), contingency=None, flow=((3, 0, 3), (0, 3, 1))):
    return RoundInfo(2, FITS, discriminators, 4, contingency, np.array(flow), seconds={"score": 0.12345})


def test_line_holds_the_round_in_the_order_of_components():
    line = record_line(STATE, info((Fit(0, 5, 0.5), Fit(3, 6, 0.6), Fit(5, 7, 0.7))))
    assert line["round"] == 2 and line["components"] == [0, 3, 5]
    assert line["won"] == [6, 2, 0] and line["loads"] == [6, 3, 3] and line["weights"] == [0.75, 0.25, 0]
    assert line["starved"] == [3, 5] and line["rows_moved"] == 4
    assert line["flow"] == [[3, 0, 3], [0, 3, 1]]
    assert line["generator_loss"] == [1.5, 2.5, None] and line["generator_steps"] == [10, 10, 0]
    assert line["discriminator_loss"] == [0.5, 0.6, 0.7] and line["discriminator_steps"] == [5, 6, 7]
    assert line["effective_components"] == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))
    assert line["seconds"] == {"score": 0.123}
    assert "clustering" not in line and line["warnings"] == []


def test_a_line_tells_of_changes_and_has_losses_of_those_who_are_left():
    state = replace(STATE, lineage=Lineage((0, 0, 2), (-1, 5, 5), (0, 0, 0), 6))
    change = Change("split", (3,), (3, 5), {"valley": 0.1}, "its rows have 2 modes")
    fits = (Fit(0, 10, 1.5), Fit(2, 10, 9.5), Fit(3, 10, 2.5))  # 2 is gone, 5 is new
    line = record_line(state, RoundInfo(2, fits, fits, 4, changes=(change,)))
    assert line["changes"] == [change._asdict()] and json.loads(json.dumps(line))["changes"][0]["into"] == [3, 5]
    for who in ("generator", "discriminator"):
        assert line[f"{who}_loss"] == [1.5, 2.5, None] and line[f"{who}_steps"] == [10, 10, 0]
    assert "changes" not in record_line(STATE, info())


def test_line_is_strict_json_and_comes_back():
    line = record_line(STATE, info(contingency=np.array([[5, 1], [0, 2], [0, 0]])))
    assert json.loads(json.dumps(line, allow_nan=False)) == line


def test_a_line_keeps_the_largest_of_many_flows():
    flow = [(j, k, 100 - j) for j in range(40) for k in range(40) if j != k]
    assert record_line(STATE, info(flow=flow))["flow"] == [list(cell) for cell in flow[:1000]]


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


def test_losses_of_critics_stand_beside_the_generators():
    fits = (Fit(0, 5, 1.5, 0.6), Fit(3, 5, 2.5, 0.05, saturated=True), Fit(5, 0, math.nan))
    line = record_line(STATE, RoundInfo(2, fits, (), 4))
    assert line["critic_loss"] == [0.6, 0.05, None] and line["saturated_critics"] == [3]
    assert len(line["warnings"]) == 1 and "saturated critics: [3]" in line["warnings"][0]
    assert record_line(STATE, info())["critic_loss"] == [None] * 3


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


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"round": 0}\n{"rou'])
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "record.jsonl").write_bytes(content)
    with pytest.raises(DamagedError, match=rf"^{tmp_path}/record\.jsonl: is not one JSON object per line; "):
        read_record(Storage.at(tmp_path))


def test_the_record_of_an_old_writer_stays_out(tmp_path):
    old, new = RunDirectory(Storage.at(tmp_path)), RunDirectory(Storage.at(tmp_path))
    old.take_over()
    record = Record(old, [])
    new.take_over()
    Record(new, [{"round": 0}])
    with pytest.raises(CheckpointError, match="another writer took over"):
        record.append({"round": 0, "old": True})
    assert read_record(new.storage) == [{"round": 0}]


# ---- events


def events_in(folder):
    """Step and value by tag, of every value in the one file of events."""
    (path,) = (folder / "events").iterdir()
    content, found, at = path.read_bytes(), [], 0
    while at < len(content):  # length (8 bytes), its checksum (4), the event, its checksum (4)
        size = int.from_bytes(content[at : at + 8], "little")
        event = Event.FromString(content[at + 12 : at + 12 + size])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        at += 16 + size
    return found


def test_events_hold_the_numbers_of_each_line(tmp_path):
    events = Events(Storage.at(tmp_path), [])
    line = record_line(STATE, info(contingency=np.array([[5, 1], [0, 2], [0, 0]])))
    events.append(line | {"measures": {"kde_log_likelihood": -1.5, "modes_captured": None}})
    found = {tag: (step, value) for tag, step, value in events_in(tmp_path)}
    assert found["generator_loss/3"] == (2, 2.5)
    assert "generator_loss/5" not in found  # it is not a number
    assert found["loads/5"] == (2, 3)
    assert found["measures/kde_log_likelihood"] == (2, -1.5)
    assert "measures/modes_captured" not in found
    assert found["mixture/rows_moved"] == (2, 4)
    assert found["clustering/purity"][1] == pytest.approx(7 / 8)


def test_events_are_as_tensorboard_writes_them(tmp_path):
    """Record by record the bytes of a library's writer, clock times aside."""
    events = Events(Storage.at(tmp_path), [])
    events.append(record_line(STATE, info()))
    content = (tmp_path / "events" / "events.out.tfevents.0.raymix").read_bytes()
    writer, at = RecordWriter(str(tmp_path / "reference")), 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 8], "little")
        writer.write(content[at + 12 : at + 12 + size])
        at += 16 + size
    writer.close()
    assert (tmp_path / "reference").read_bytes() == content
    assert Event.FromString(content[12 : 12 + int.from_bytes(content[:8], "little")]).file_version == "brain.Event:2"


def test_events_of_a_resumed_run_hold_each_committed_round_once(tmp_path):
    storage, line = Storage.at(tmp_path), record_line(STATE, info())
    lines = [line | {"round": round} for round in range(4)]
    record, events = Record(storage, []), Events(storage, [])
    for each in lines[:3]:
        record.append(each)
        events.append(each)
    record = Record(storage, lines[:2])  # the third was not committed
    events = Events(storage, lines[:2])
    for each in lines[2:]:
        record.append(each)
        events.append(each)
    assert [step for tag, step, _ in events_in(tmp_path) if tag == "mixture/rows_moved"] == [0, 1, 2, 3]
