"""The record: what is kept of a round, as plain JSON, once per round."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter

from raymix.errors import CheckpointError, DamagedError
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.record import Events, Record, read_record, round_record, warnings_of
from raymix.runs.rounds import RoundRecord, TermValues
from raymix.state import Change, Fit, Lineage, RoundInfo, State, Term
from raymix.storage import Storage

STATE = State(2, (0, 3, 5), (6, 2, 0), (6, 3, 3), (0.0, 0.5, 1.0), (0, 1, 2))
NATS = "nats per row"
FITS = (
    Fit(0, 10, 1.5, {"bound": Term(1.5, NATS), "kl": Term(0.5, "")}),
    Fit(3, 10, 2.5, {"bound": Term(2.5, NATS), "kl": Term(0.25, "")}),
    Fit(5, 0, math.nan),
)
CONTINGENCY = np.array([[5, 1], [0, 2], [0, 0]])


def info(discriminators=(), contingency=None, flow=((3, 0, 3), (0, 3, 1))):
    return RoundInfo(2, FITS, discriminators, 4, contingency, np.array(flow), seconds={"score": 0.12345})


def test_a_record_holds_the_round_in_the_order_of_components():
    record = round_record(STATE, info((Fit(0, 5, 0.5), Fit(3, 6, 0.6), Fit(5, 7, 0.7))))
    assert record.round == 2 and record.components == (0, 3, 5)
    assert record.won_K == (6, 2, 0) and record.loads_K == (6, 3, 3) and record.weights_K == (0.75, 0.25, 0)
    assert record.starved == (3, 5) and record.rows_moved == 4 and record.moved_share == 0.5
    assert record.flow_F3 == ((3, 0, 3), (0, 3, 1))
    assert record.terms == {"bound": TermValues(NATS, (1.5, 2.5, None)), "kl": TermValues("", (0.5, 0.25, None))}
    assert list(record.terms) == ["bound", "kl"] and record.generator_steps_K == (10, 10, 0)
    assert record.discriminator_loss_K == (0.5, 0.6, 0.7) and record.discriminator_steps_K == (5, 6, 7)
    assert record.effective_components == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))
    assert record.seconds == {"score": 0.123} and record.total_s == 0.123
    assert record.clustering == {} and record.warnings == ()


def test_a_record_tells_of_changes_and_has_losses_of_those_who_are_left():
    state = replace(STATE, lineage=Lineage((0, 0, 2), (-1, 5, 5), (0, 0, 0), 6))
    change = Change("split", (3,), (3, 5), {"valley": 0.1}, "its rows have 2 modes")
    gone = Fit(2, 10, 9.5, {"bound": Term(9.5, NATS)})  # and 5 is new
    record = round_record(state, RoundInfo(2, (FITS[0], gone, FITS[1]), (FITS[0], gone, FITS[1]), 4, changes=(change,)))
    assert record.changes == (change,) and back(record).changes[0].into == (3, 5)
    assert record.term_K("bound") == record.discriminator_loss_K == (1.5, 2.5, None)
    assert record.generator_steps_K == record.discriminator_steps_K == (10, 10, 0)


def test_a_round_without_discriminators_or_steps_has_neither_losses_nor_terms():
    record = round_record(STATE, RoundInfo(2, tuple(Fit(k, 0, math.nan) for k in (0, 3, 5)), (), 4))
    assert record.terms == {} and record.term_K("bound") == record.discriminator_loss_K == (None,) * 3
    assert record.generator_steps_K == record.discriminator_steps_K == (0, 0, 0)


def back(record):
    """A record after it was written and read."""
    return RoundRecord.of_json(json.loads(json.dumps(record.as_json(), allow_nan=False)))


def test_a_record_is_strict_json_and_comes_back():
    record = round_record(STATE, info(contingency=CONTINGENCY), [("a worker was lost", "retry")])
    later = {"measures": {"nmi": 0.5}, "warnings": ("a",), "committed_bytes": 7, "spilled_bytes": 8, "reseeded": {5: 0}}
    for each in (record, replace(record, **later), replace(record, contingency_KC=None)):
        assert back(each) == each


def test_the_lines_of_the_record_have_these_fields():
    record = replace(round_record(STATE, info(contingency=CONTINGENCY)), committed_bytes=7, measures={"nmi": 0.5})
    line = json.loads(json.dumps(record.as_json()))
    assert line.pop("clustering").keys() == {"nmi", "ari", "purity"}
    assert line.pop("effective_components") == record.effective_components
    assert line == {
        "round": 2,
        "components": [0, 3, 5],
        "won": [6, 2, 0],
        "loads": [6, 3, 3],
        "weights": [0.75, 0.25, 0.0],
        "rows_moved": 4,
        "flow": [[3, 0, 3], [0, 3, 1]],
        "starved": [3, 5],
        "reseeded": {},
        "mendings": [],
        "generator_steps": [10, 10, 0],
        "terms": {
            "bound": {"unit": "nats per row", "values": [1.5, 2.5, None]},
            "kl": {"unit": "", "values": [0.5, 0.25, None]},
        },
        "discriminator_loss": [None, None, None],
        "discriminator_steps": [0, 0, 0],
        "seconds": {"score": 0.123},
        "changes": [],
        "contingency": [[5, 1], [0, 2], [0, 0]],
        "saturated_critics": [],
        "warnings": [],
        "committed_bytes": 7,
        "spilled_bytes": 0,
        "measures": {"nmi": 0.5},
    }


OLD = """{"round": 1, "components": [0, 1], "won": [150, 50], "loads": [150, 60], "weights": [0.75, 0.25],
"effective_components": 1.7547653506033232, "rows_moved": 12, "flow": [[0, 1, 9], [1, 0, 3]], "starved": [1],
"reseeded": {"1": 0}, "mendings": [["generators of 0: died", "replace"]], "generator_loss": [93.5, null],
"generator_steps": [19, 0], "critic_loss": [null, null], "discriminator_loss": [0.61, 0.6],
"discriminator_steps": [7, 7], "seconds": {"train generators": 1.5, "commit": 0.012},
"clustering": {"nmi": 0.3437110184854508, "ari": 0.4, "purity": 0.9}, "contingency": [[140, 10], [10, 40]],
"saturated_critics": [], "warnings": [], "committed_bytes": 123456, "measures": null}"""


def test_a_line_of_an_older_version_is_read():
    record = RoundRecord.of_json(json.loads(OLD))
    assert record == RoundRecord(
        round=1,
        components=(0, 1),
        won_K=(150, 50),
        loads_K=(150, 60),
        rows_moved=12,
        generator_steps_K=(19, 0),
        terms={"loss": TermValues("", (93.5, None))},
        discriminator_steps_K=(7, 7),
        discriminator_loss_K=(0.61, 0.6),
        seconds={"train generators": 1.5, "commit": 0.012},
        flow_F3=((0, 1, 9), (1, 0, 3)),
        reseeded={1: 0},
        mendings=(("generators of 0: died", "replace"),),
        contingency_KC=((140, 10), (10, 40)),
        committed_bytes=123456,
    )
    line = json.loads(OLD)
    assert record.weights_K == tuple(line["weights"]) and list(record.starved) == line["starved"]
    assert record.effective_components == pytest.approx(line["effective_components"])
    assert back(record) == record


def test_a_line_of_the_oldest_version_lacks_fields_and_a_critic_was_told_of_apart():
    line = json.loads(OLD)
    adversarial = RoundRecord.of_json(line | {"critic_loss": [0.4, None]})
    assert adversarial.terms == {"loss": TermValues("", (93.5, None)), "critic": TermValues("", (0.4, None))}
    later = ("flow", "critic_loss", "clustering", "contingency", "saturated_critics", "committed_bytes", "measures")
    nobody_judged = {"discriminator_loss": [], "discriminator_steps": []}
    oldest = {name: value for name, value in line.items() if name not in later} | nobody_judged
    record = RoundRecord.of_json(oldest)
    assert record.flow_F3 == record.changes == record.saturated_critics == () and record.clustering == {}
    assert record.committed_bytes is record.measures is None and record.spilled_bytes == 0
    assert record.discriminator_loss_K == (None, None) and record.discriminator_steps_K == (0, 0)


def test_a_record_keeps_the_largest_of_many_flows():
    flow = [(j, k, 100 - j) for j in range(40) for k in range(40) if j != k]
    assert round_record(STATE, info(flow=flow)).flow_F3 == tuple(flow[:1000])


def test_clustering_is_that_of_the_rows_counted():
    record = round_record(STATE, info(contingency=CONTINGENCY))
    component, classes = (np.repeat(index.ravel(), CONTINGENCY.ravel()) for index in np.indices(CONTINGENCY.shape))
    assert record.clustering["nmi"] == pytest.approx(normalized_mutual_info_score(classes, component))
    assert record.clustering["ari"] == pytest.approx(adjusted_rand_score(classes, component))
    assert record.clustering["purity"] == pytest.approx(7 / 8)
    assert record.contingency_KC == ((5, 1), (0, 2), (0, 0))


def test_saturated_discriminators_are_named():
    record = round_record(STATE, info((Fit(0, 5, 0.05), Fit(3, 5, 0.1), Fit(5, 5, math.nan))))
    (warning,) = record.warnings
    assert "below 0.1 nats): [0];" in warning and "guard_loss" in warning
    assert warnings_of(record) == record.warnings


def test_saturated_critics_are_named():
    terms = {"loss": Term(2.5, ""), "critic": Term(0.05, NATS)}
    fits = (Fit(0, 5, 1.5, terms), Fit(3, 5, 2.5, terms, saturated=True), Fit(5, 0, math.nan))
    record = round_record(STATE, RoundInfo(2, fits, (), 4))
    assert record.terms["critic"] == TermValues(NATS, (0.05, 0.05, None)) and record.saturated_critics == (3,)
    assert len(record.warnings) == 1 and "saturated critics: [3]" in record.warnings[0]


def test_record_is_rewritten_whole(tmp_path, make_record):
    storage = Storage.at(tmp_path)
    assert read_record(storage) == []
    record = Record(storage, [])
    record.append(make_record(0))
    record.append(make_record(1))
    resumed = Record(storage, [make_record(0)])  # the second was never committed
    resumed.append(make_record(1, warnings=("again",)))
    assert read_record(storage) == [make_record(0), make_record(1, warnings=("again",))]
    assert (tmp_path / "record.jsonl").read_text().count("\n") == 2


def test_a_record_leaves_the_lines_it_was_given_alone(tmp_path, make_record):
    lines = [make_record(0)]
    Record(Storage.at(tmp_path), lines).append(make_record(1))
    assert lines == [make_record(0)]


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"null", b'{"round": 0}', OLD.encode()])
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "record.jsonl").write_bytes(content)
    with pytest.raises(DamagedError, match=rf"^{tmp_path}/record\.jsonl: is not one round per line; "):
        read_record(Storage.at(tmp_path))


def test_the_record_of_an_old_writer_stays_out(tmp_path, make_record):
    old, new = RunDirectory(Storage.at(tmp_path)), RunDirectory(Storage.at(tmp_path))
    old.take_over()
    record = Record(old, [])
    new.take_over()
    Record(new, [make_record(0)])
    with pytest.raises(CheckpointError, match="another writer took over"):
        record.append(make_record(0, warnings=("old",)))
    assert read_record(new.storage) == [make_record(0)]


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
    record = round_record(STATE, info(contingency=CONTINGENCY))
    events.append(replace(record, measures={"kde_log_likelihood": -1.5, "modes_captured": None}))
    found = {tag: (step, value) for tag, step, value in events_in(tmp_path)}
    assert found["terms/bound/3"] == (2, 2.5) and found["terms/kl/3"] == (2, 0.25)
    assert "terms/bound/5" not in found  # it took no step
    assert found["loads/5"] == (2, 3)
    assert found["measures/kde_log_likelihood"] == (2, -1.5)
    assert "measures/modes_captured" not in found
    assert found["mixture/rows_moved"] == (2, 4)
    assert found["clustering/purity"][1] == pytest.approx(7 / 8)


def test_events_are_as_tensorboard_writes_them(tmp_path):
    """Record by record the bytes of a library's writer, clock times aside."""
    events = Events(Storage.at(tmp_path), [])
    events.append(round_record(STATE, info()))
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
    storage, line = Storage.at(tmp_path), round_record(STATE, info())
    lines = [replace(line, round=round) for round in range(4)]
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
