"""The record of a run: one JSON line per round, and the same numbers as TensorBoard events."""

import functools
import json
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar

import numpy as np

from raymix.checkpoint import finite_or_none
from raymix.errors import DamagedError, MissingError
from raymix.metrics import clustering
from raymix.metrics.health import SATURATED, effective_components
from raymix.state import Fit, RoundInfo, State
from raymix.storage import FileStamp, Storage

EVALUATION = "evaluation.json"  # in a run directory: what `raymix evaluate` found last
T = TypeVar("T")
SEARCH = "search.json"  # in a search's directory: everything that was asked of it
MOST_FLOWS = 1000  # pairs of components in a line


def record_line(state: State, info: RoundInfo, mendings: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """One round as plain JSON values. Lists are in the order of `components`; losses in nats.

    `flow`: [from component, to component, rows] for the pairs between which most rows moved, the largest first.
    `changes`, where K may change: what happened to the set of components at the end of the round; losses and steps of
    those who came to be by it are None and 0.
    A run whose rows outgrow the cluster's memory adds `spilled_bytes`, those that lay on disks when it committed.
    `mendings`: what failed before the round could be committed, and what was done about it.
    """
    ids = state.components if state.lineage else ()
    line: dict[str, Any] = {
        "round": info.round,
        "components": list(state.components),
        "won": list(state.won_K),
        "loads": list(state.loads_K),
        "weights": [round(weight, 6) for weight in state.weights_K],
        "effective_components": effective_components(np.array(state.weights_K)),
        "rows_moved": info.moved,
        "flow": info.flow_F3[:MOST_FLOWS].tolist(),
        "starved": list(state.starved),
        "reseeded": {str(k): donor for k, donor in info.reseeded.items()},
        "mendings": [list(mending) for mending in mendings],
        "generator_loss": _values(info.generators, ids, _loss, None),
        "generator_steps": _values(info.generators, ids, _steps, 0),
        "critic_loss": _values(info.generators, ids, _critic_loss, None),
        "discriminator_loss": _values(info.discriminators, ids, _loss, None),
        "discriminator_steps": _values(info.discriminators, ids, _steps, 0),
        "seconds": {phase: round(seconds, 3) for phase, seconds in info.seconds.items()},
    }
    if state.lineage:
        line["changes"] = [change._asdict() for change in info.changes]
    if info.contingency_KC is not None:
        line["clustering"] = {
            "nmi": clustering.nmi(info.contingency_KC),
            "ari": clustering.ari(info.contingency_KC),
            "purity": clustering.purity(info.contingency_KC),
        }
        line["contingency"] = info.contingency_KC.tolist()
    line["saturated_critics"] = [fit.component for fit in info.generators if fit.saturated]
    line["warnings"] = warnings_of(line)
    return line


def warnings_of(line: Mapping[str, Any]) -> list[str]:
    """What a reader of the numbers should not have to find."""
    pairs = zip(line["components"], line["discriminator_loss"], strict=False)
    saturated = [k for k, loss in pairs if loss is not None and loss < SATURATED]
    found = []
    if saturated:
        found.append(f"saturated discriminators (loss below {SATURATED}): {saturated}; raise discriminator.guard_loss")
    if critics := line["saturated_critics"]:
        found.append(f"saturated critics: {critics}; lower model.learning_rate, or choose a family with spectral norm")
    return found


def _values(fits: Sequence[Fit], ids: Sequence[int], read: Callable[[Fit], T], missing: T) -> list[T]:
    """What is read from each fit, in the order of the fits, or of some components."""
    found = {fit.component: read(fit) for fit in fits}
    return [found.get(k, missing) for k in ids or found]


def _loss(fit: Fit) -> float | None:
    return finite_or_none(fit.loss)


def _critic_loss(fit: Fit) -> float | None:
    return fit.terms["critic"].value if "critic" in fit.terms else None


def _steps(fit: Fit) -> int:
    return fit.steps


class Place(Protocol):
    """A run directory, which lets its one writer write, or any folder."""

    def write(self, name: str, content: bytes) -> FileStamp: ...


class Record:
    """`record.jsonl`, rewritten whole at each round so that no round can appear twice."""

    def __init__(self, place: Place, lines: list[dict[str, Any]]) -> None:
        self.place, self.lines = place, list(lines)
        self.content = b"".join(map(_as_text, lines))
        self._write()

    def append(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        self.content += _as_text(line)
        self._write()

    def _write(self) -> None:
        self.place.write("record.jsonl", self.content)


def _as_text(line: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(line)}\n".encode()


def read_record(storage: Storage) -> list[dict[str, Any]]:
    """The lines of `record.jsonl`; none when it is not there yet. Raises `DamagedError`."""
    try:
        return [json.loads(line) for line in storage.read("record.jsonl").decode().splitlines()]
    except MissingError:
        return []
    except ValueError:
        advice = "the same lines are in the manifests of generations/"
        raise DamagedError("is not one JSON object per line", storage.where("record.jsonl"), advice) from None


class Events:
    """TensorBoard events of a run: one file, rewritten whole as the record is."""

    def __init__(self, place: Place, lines: Sequence[Mapping[str, Any]]) -> None:
        self.place = place
        self.content = framed(_tensorboard().Event(wall_time=time.time(), file_version="brain.Event:2"))
        for line in lines:
            self.content += framed(event_of(line))
        self._write()

    def append(self, line: Mapping[str, Any]) -> None:
        self.content += framed(event_of(line))
        self._write()

    def _write(self) -> None:
        self.place.write("events/events.out.tfevents.0.raymix", self.content)


def event_of(line: Mapping[str, Any]) -> Any:
    """The numbers of a record line, under their tags."""
    tagged: dict[str, Any] = {}
    for name in ("generator_loss", "critic_loss", "discriminator_loss", "loads", "weights"):
        values_K = line.get(name, ())  # older lines know no critics
        tagged |= {f"{name}/{k}": value for k, value in zip(line["components"], values_K, strict=False)}
    tagged |= {f"mixture/{name}": line[name] for name in ("rows_moved", "effective_components")}
    for group in ("clustering", "measures", "seconds"):
        tagged |= {f"{group}/{name}": value for name, value in (line.get(group) or {}).items()}
    values = [{"tag": tag, "simple_value": value} for tag, value in tagged.items() if isinstance(value, int | float)]
    return _tensorboard().Event(wall_time=time.time(), step=line["round"], summary={"value": values})


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
