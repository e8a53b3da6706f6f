"""The record of a run: one JSON line per round, and the same numbers as TensorBoard events."""

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from raymix.checkpoint import finite_or_none
from raymix.metrics import clustering
from raymix.metrics.health import effective_components
from raymix.state import Fit, RoundInfo, State
from raymix.storage import Storage

SATURATED = 0.1  # discriminator loss (chance 0.693) below which its log ratios say little


def record_line(state: State, info: RoundInfo) -> dict[str, Any]:
    """One round as plain JSON values. Lists are in the order of `components`; losses in nats."""
    line: dict[str, Any] = {
        "round": info.round,
        "components": list(state.components),
        "won": list(state.won_K),
        "loads": list(state.loads_K),
        "weights": [round(weight, 6) for weight in state.weights_K],
        "effective_components": effective_components(np.array(state.weights_K)),
        "rows_moved": info.moved,
        "starved": list(state.starved),
        "generator_loss": _losses(info.generators),
        "generator_steps": [fit.steps for fit in info.generators],
        "discriminator_loss": _losses(info.discriminators),
        "discriminator_steps": [fit.steps for fit in info.discriminators],
        "seconds": {phase: round(seconds, 3) for phase, seconds in info.seconds.items()},
    }
    if info.contingency_KC is not None:
        line["clustering"] = {
            "nmi": clustering.nmi(info.contingency_KC),
            "ari": clustering.ari(info.contingency_KC),
            "purity": clustering.purity(info.contingency_KC),
        }
        line["contingency"] = info.contingency_KC.tolist()
    line["warnings"] = warnings_of(line)
    return line


def warnings_of(line: Mapping[str, Any]) -> list[str]:
    """What a reader of the numbers should not have to find."""
    pairs = zip(line["components"], line["discriminator_loss"], strict=False)
    saturated = [k for k, loss in pairs if loss is not None and loss < SATURATED]
    if not saturated:
        return []
    return [f"saturated discriminators (loss below {SATURATED}): {saturated}; raise discriminator.guard_loss"]


def _losses(fits: tuple[Fit, ...]) -> list[float | None]:
    return [finite_or_none(fit.loss) for fit in fits]


class Record:
    """`record.jsonl`, rewritten whole at each round so that no round can appear twice."""

    def __init__(self, storage: Storage, lines: list[dict[str, Any]]) -> None:
        self.storage, self.lines = storage, list(lines)
        self._write()

    def append(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        self._write()

    def _write(self) -> None:
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        self.storage.write("record.jsonl", text.encode())


def read_record(storage: Storage) -> list[dict[str, Any]]:
    """The lines of `record.jsonl`; none when it is not there yet."""
    if not storage.exists("record.jsonl"):
        return []
    return [json.loads(line) for line in storage.read("record.jsonl").decode().splitlines()]


class Events:
    """TensorBoard events of a run, in `events/`. Works for local run directories only."""

    def __init__(self, storage: Storage, first_round: int) -> None:
        # Rounds that an interrupted run wrote but did not commit are purged by TensorBoard from here on.
        self.writer = _summary_writer()(f"{storage.uri}/events", purge_step=first_round)

    def append(self, line: dict[str, Any]) -> None:
        step = line["round"]
        per_component = ("generator_loss", "discriminator_loss", "loads", "weights")
        for name in per_component:
            for k, value in zip(line["components"], line[name], strict=False):
                if value is not None:
                    self.writer.add_scalar(f"{name}/{k}", value, step)
        self.writer.add_scalar("mixture/rows_moved", line["rows_moved"], step)
        self.writer.add_scalar("mixture/effective_components", line["effective_components"], step)
        for group in ("clustering", "measures", "seconds"):
            for name, value in (line.get(group) or {}).items():
                if isinstance(value, int | float):
                    self.writer.add_scalar(f"{group}/{name}", value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def _summary_writer() -> type:
    """tensorboardX imports torch whenever it can, which would triple a coordinator's memory; scalars do without it."""
    held_back = "torch" not in sys.modules
    if held_back:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from tensorboardX import SummaryWriter
    finally:
        if held_back:
            del sys.modules["torch"]
    writer: type = SummaryWriter
    return writer
