"""The record of a run: one JSON line per round, and the same numbers as TensorBoard events."""

import functools
import json
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Protocol

from raymix.errors import DamagedError, MissingError
from raymix.metrics.health import SATURATED
from raymix.runs.checkpoint import finite_or_none
from raymix.runs.rounds import RoundRecord, TermValues
from raymix.state import Fit, RoundInfo, State
from raymix.storage import FileStamp, Storage

EVALUATION = "evaluation.json"  # in a run directory: what `raymix evaluate` found last
SEARCH = "search.json"  # in a search's directory: everything that was asked of it
MOST_FLOWS = 1000  # pairs of components in a line


def round_record(state: State, info: RoundInfo, mendings: Sequence[tuple[str, str]] = ()) -> RoundRecord:
    """What is kept of a round once it has ended; what its commit adds comes later.

    `mendings`: what failed before the round could be committed, and what was done about it.
    """
    components, generators = state.components, {fit.component: fit for fit in info.generators}
    discriminators = {fit.component: fit for fit in info.discriminators}
    contingency = None if info.contingency_KC is None else info.contingency_KC.tolist()
    record = RoundRecord(
        round=info.round,
        components=components,
        won_K=state.won_K,
        loads_K=state.loads_K,
        rows_moved=info.moved,
        generator_steps_K=_steps(generators, components),
        terms=_terms(generators, components),
        discriminator_steps_K=_steps(discriminators, components),
        discriminator_loss_K=tuple(
            finite_or_none(discriminators[k].loss) if k in discriminators else None for k in components
        ),
        seconds={phase: round(seconds, 3) for phase, seconds in info.seconds.items()},
        flow_F3=tuple((source, target, rows) for source, target, rows in info.flow_F3[:MOST_FLOWS].tolist()),
        reseeded=dict(info.reseeded),
        mendings=tuple(mendings),
        changes=info.changes,
        contingency_KC=contingency and tuple(map(tuple, contingency)),
        saturated_critics=tuple(fit.component for fit in info.generators if fit.saturated),
    )
    return replace(record, warnings=warnings_of(record))


def _steps(fits: Mapping[int, Fit], components: Sequence[int]) -> tuple[int, ...]:
    return tuple(fits[k].steps if k in fits else 0 for k in components)


def _terms(fits: Mapping[int, Fit], components: Sequence[int]) -> dict[str, TermValues]:
    """Each term of those who are left."""
    found = {k: fits[k].terms for k in components if k in fits}
    units = {name: term.unit for terms in found.values() for name, term in terms.items()}

    def value(component: int, name: str) -> float | None:
        term = found.get(component, {}).get(name)
        return None if term is None else finite_or_none(term.value)

    return {name: TermValues(unit, tuple(value(k, name) for k in components)) for name, unit in units.items()}


def warnings_of(record: RoundRecord) -> tuple[str, ...]:
    """What a reader of the numbers should not have to find."""
    pairs = zip(record.components, record.discriminator_loss_K, strict=True)
    saturated = [k for k, loss in pairs if loss is not None and loss < SATURATED]
    found = []
    if saturated:
        found.append(
            f"saturated discriminators (loss below {SATURATED} nats): {saturated}; raise discriminator.guard_loss"
        )
    if record.saturated_critics:
        critics = list(record.saturated_critics)
        found.append(f"saturated critics: {critics}; lower model.learning_rate, or choose a family with spectral norm")
    return tuple(found)


class Place(Protocol):
    """A run directory, which lets its one writer write, or any folder."""

    def write(self, name: str, content: bytes) -> FileStamp: ...


class Record:
    """`record.jsonl`, rewritten whole at each round so that no round can appear twice."""

    def __init__(self, place: Place, lines: Sequence[RoundRecord]) -> None:
        self.place, self.lines = place, list(lines)
        self.content = b"".join(map(_as_text, lines))
        self._write()

    def append(self, line: RoundRecord) -> None:
        self.lines.append(line)
        self.content += _as_text(line)
        self._write()

    def _write(self) -> None:
        self.place.write("record.jsonl", self.content)


def _as_text(line: RoundRecord) -> bytes:
    return f"{json.dumps(line.as_json())}\n".encode()


def read_record(storage: Storage) -> list[RoundRecord]:
    """The lines of `record.jsonl`; none when it is not there yet. Raises `DamagedError`."""
    try:
        lines = storage.read("record.jsonl").decode().splitlines()
        return [RoundRecord.of_json(json.loads(line)) for line in lines]
    except MissingError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError):  # the last three of other JSON than a round's
        advice = "the same lines are in the manifests of generations/"
        raise DamagedError("is not one round per line", storage.where("record.jsonl"), advice) from None


class Events:
    """TensorBoard events of a run: one file, rewritten whole as the record is."""

    def __init__(self, place: Place, lines: Sequence[RoundRecord]) -> None:
        self.place = place
        self.content = framed(_tensorboard().Event(wall_time=time.time(), file_version="brain.Event:2"))
        for line in lines:
            self.content += framed(event_of(line))
        self._write()

    def append(self, line: RoundRecord) -> None:
        self.content += framed(event_of(line))
        self._write()

    def _write(self) -> None:
        self.place.write("events/events.out.tfevents.0.raymix", self.content)


def event_of(line: RoundRecord) -> Any:
    """The numbers of a record line, under their tags."""
    of_components: dict[str, Sequence[float | None]] = {
        **{f"terms/{name}": term.values_K for name, term in line.terms.items()},
        "discriminator_loss": line.discriminator_loss_K,
        "loads": line.loads_K,
        "weights": line.weights_K,
    }
    tagged: dict[str, Any] = {
        f"{name}/{k}": value
        for name, values_K in of_components.items()
        for k, value in zip(line.components, values_K, strict=True)
    }
    tagged |= {"mixture/rows_moved": line.rows_moved, "mixture/effective_components": line.effective_components}
    for group, found in (("clustering", line.clustering), ("measures", line.measures or {}), ("seconds", line.seconds)):
        tagged |= {f"{group}/{name}": value for name, value in found.items()}
    values = [{"tag": tag, "simple_value": value} for tag, value in tagged.items() if isinstance(value, int | float)]
    return _tensorboard().Event(wall_time=time.time(), step=line.round, summary={"value": values})


def framed(event: Any) -> bytes:
    """An event as event files hold it: length, its checksum, the event, its checksum."""
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    checksum = _tensorboard().masked_crc32c
    return b"".join([length, struct.pack("<I", checksum(length)), data, struct.pack("<I", checksum(data))])


@functools.cache
def _tensorboard() -> Any:
    """The format of events. tensorboardX imports torch whenever it can, which would triple a coordinator's memory;
    scalars do without it."""
    held_back = "torch" not in sys.modules
    if held_back:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import masked_crc32c
    finally:
        if held_back:
            del sys.modules["torch"]
    return SimpleNamespace(Event=Event, masked_crc32c=masked_crc32c)
