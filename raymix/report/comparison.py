"""Several runs side by side: seeds together as mean and spread, the best of each measure marked.

Everything comes from the run directories; nothing is computed anew, and torch is not needed.
"""

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.errors import DamagedError, MissingError
from raymix.metrics.catalogue import MEASURES
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.record import EVALUATION, read_record
from raymix.storage import Storage

APART = ("mode", "num_components")  # have columns of their own
BESIDE = (
    "seed",
    "data.dir",
    "data.path",
    "resources.",
    "evaluation.",
    "schedule.evaluate_every",
    "schedule.best_metric",
    "schedule.report",
)
"""Fields that repeats may differ in."""


@dataclass(frozen=True)
class Entry:
    """One run."""

    location: str
    config: Config
    spec: DataSpec
    measures: Mapping[str, Any] | None
    """As `raymix evaluate` found them at the last round, None where it was not asked."""
    num_rows_seen: int
    """Rows that all generators trained on, pre-training included: the budget."""
    minutes: float
    """Wall time of all recorded phases."""
    rounds: int
    num_components: int
    """At the last round."""


class Repeats(NamedTuple):
    """Runs that differ in their seeds alone."""

    label: str
    entries: list[Entry]

    def values(self, name: str) -> list[float]:
        """A measure of every run that has it."""
        found = [entry.measures.get(name) for entry in self.entries if entry.measures]
        return [value for value in found if value is not None]


def entry(location: str) -> Entry:
    """Read one run. Raises `CheckpointError` where there is none, or no complete round."""
    directory = RunDirectory(Storage.at(location))
    config, spec = directory.load()
    last = directory.require_last()
    record = read_record(directory.storage)
    steps = sum(sum(line.generator_steps_K) for line in record)
    seconds = sum(line.total_s for line in record)
    measures = evaluated(directory.storage, last.name) or last.record.measures
    num = len(last.state.components if config.schedule.adapt else config.components)
    rows = steps * config.schedule.batch_size
    return Entry(location, config, spec, measures, rows, seconds / 60, last.state.round, num)


def evaluated(storage: Storage, generation: str) -> dict[str, Any] | None:
    """What `raymix evaluate` found at a generation, if it did."""
    try:
        found = storage.read_json(EVALUATION)
    except (MissingError, DamagedError):
        return None
    measures: dict[str, Any] = found["measures"]
    return measures if found["generation"] == generation else None


def grouped(entries: Sequence[Entry]) -> list[Repeats]:
    """Runs that differ in the seed alone, in the order they are first named: of one config, on the same rows,
    measured at the same round in the same way."""
    together: dict[str, list[Entry]] = {}
    fields = {each.location: compared_fields(each) for each in entries}
    for each in entries:
        together.setdefault(json.dumps(fields[each.location], sort_keys=True), []).append(each)
    differing = differing_fields([fields[same[0].location] for same in together.values()])
    return [Repeats(label(fields[same[0].location], differing), same) for same in together.values()]


def compared_fields(entry: Entry) -> dict[str, Any]:
    """What runs are told apart by: dotted fields of the config, how large the data is, how far the run got, how it was
    measured."""
    flat = flattened(entry.config.model_dump(mode="json"))
    fields = {name: value for name, value in flat.items() if not name.startswith(BESIDE)}
    fields |= {
        "data": Path((entry.config.data.path or entry.spec.name).partition("?")[0]).stem,
        "rows": entry.spec.num_rows,
        "rounds": entry.rounds,
    }
    if entry.measures:
        fields |= {"num_samples": entry.measures["num_samples"], "measures.seed": entry.measures["seed"]}
        fields |= {name: value for name, value in entry.measures["about"].items() if name in ("features", "bandwidth")}
    return fields


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flattened(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def differing_fields(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Fields that are not the same in all, but for those with columns of their own."""
    names = dict.fromkeys(itertools.chain.from_iterable(configs))
    return [name for name in names if name not in APART and len({json.dumps(each.get(name)) for each in configs}) > 1]


def label(fields: Mapping[str, Any], differing: Sequence[str]) -> str:
    """What tells repeats of one config from the others, such as `latent 4, encoder 150-150`."""
    last = Counter(name.rsplit(".", 1)[-1] for name in fields)
    names = {name: word if last[word := name.rsplit(".", 1)[-1]] == 1 else name for name in differing}
    return ", ".join(f"{names[name]} {short(fields[name])}" for name in differing if name in fields)


def short(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    best: bool = False


class Comparison(NamedTuple):
    """A table: repeats share a row."""

    headings: list[str]
    rows: list[list[Cell]]
    notes: list[str]
    """What the measures mean and what they come from."""


def compare(
    all_repeats: Sequence[Repeats], measures: Sequence[str] | None = None, apart: Sequence[str] = ()
) -> Comparison:
    """A row for all repeats of one config: mode, K, parameters, budget, measures and minutes. Modes in `apart` do not
    compete for the best."""
    names = list(measures or [name for name in MEASURES if any(each.values(name) for each in all_repeats)])
    competing = [repeats for repeats in all_repeats if repeats.entries[0].config.mode not in apart]
    means = {name: [mean(values) for repeats in competing if (values := repeats.values(name))] for name in names}
    rows = []
    for repeats in all_repeats:
        config, first = repeats.entries[0].config, repeats.entries[0]
        fixed = [
            repeats.label or "-",
            config.mode,
            numbers(repeats),
            count(first.measures.get("num_parameters") if first.measures else None),
            count(first.num_rows_seen),
            seeds(repeats.entries),
        ]
        cells = [Cell(text) for text in fixed]
        for name in names:
            values = repeats.values(name)
            cells.append(Cell(spread(values), repeats in competing and is_best(name, values, means[name])))
        cells.append(Cell(spread([each.minutes for each in repeats.entries])))
        rows.append(cells)
    headings = ["differs in", "mode", "K", "parameters", "rows seen", "seeds", *names, "minutes"]
    return Comparison(headings, rows, notes(all_repeats, names))


def numbers(repeats: Repeats) -> str:
    """Components of the runs; where they changed, at first and at the end."""
    config = repeats.entries[0].config
    if not config.schedule.adapt:
        return str(len(config.components))
    ends = sorted({each.num_components for each in repeats.entries})
    return f"{config.num_components} to {'-'.join(map(str, dict.fromkeys((ends[0], ends[-1]))))}"


def is_best(name: str, values: Sequence[float], means: Sequence[float]) -> bool:
    """Whether the mean of values is the best of several means."""
    if not values or len(means) < 2:
        return False
    return mean(values) == (max(means) if MEASURES[name].better == "higher" else min(means))


def notes(all_repeats: Sequence[Repeats], names: Sequence[str]) -> list[str]:
    """Definitions, numbers of rows, seeds."""
    told = [f"{name} ({MEASURES[name].better} is better): {MEASURES[name].definition}" for name in names]
    measured = [each.measures for repeats in all_repeats for each in repeats.entries if each.measures]
    for sizes in sorted({(each["num_samples"], each["seed"]) for each in measured}):
        told.append(f"{sizes[0]:,} samples, seed {sizes[1]}")
    told += sorted({f"{name}: {value}" for each in measured for name, value in each["about"].items()})
    real = {name: [value for each in measured if (value := each["real"].get(name)) is not None] for name in names}
    told += [f"real rows in the samples' place: {name} {spread(values)}" for name, values in real.items() if values]
    told.append("mean and standard deviation over seeds")
    return told


def seeds(entries: Sequence[Entry]) -> str:
    """How many seeds, and of how many runs where some have the same."""
    num = len({each.config.seed for each in entries})
    return str(num) if num == len(entries) else f"{num} in {len(entries)} runs"


def spread(values: Sequence[float]) -> str:
    """Mean, and standard deviation where there are several."""
    if not values:
        return "-"
    middle = f"{mean(values):.3g}" if abs(mean(values)) < 100 else f"{mean(values):.1f}"
    return f"{middle} ± {stdev(values):.2g}" if len(values) > 1 else middle


def count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def markdown(table: Comparison) -> str:
    """A table of GitHub's Markdown, best in bold."""
    lines = [table.headings, ["---"] * len(table.headings)]
    lines += [[f"**{cell.text}**" if cell.best else cell.text for cell in row] for row in table.rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return text + "\n\n" + "\n".join(f"- {note}" for note in table.notes)


def latex(table: Comparison) -> str:
    """A `tabular` with booktabs' rules, best in bold; notes as comments."""

    def escaped(text: str) -> str:
        for sign in "_%&#":
            text = text.replace(sign, f"\\{sign}")
        return text.replace("±", r"$\pm$")

    lines = [f"% {note}" for note in table.notes]
    lines += [r"\begin{tabular}{" + "l" * 2 + "r" * (len(table.headings) - 2) + "}", r"\toprule"]
    lines.append(" & ".join(map(escaped, table.headings)) + r" \\")
    lines.append(r"\midrule")
    for row in table.rows:
        cells = (rf"\textbf{{{escaped(cell.text)}}}" if cell.best else escaped(cell.text) for cell in row)
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def as_json(all_repeats: Sequence[Repeats]) -> str:
    """Every run with its measures, repeats together."""
    return json.dumps(
        [
            {
                "differs_in": repeats.label,
                "mode": repeats.entries[0].config.mode,
                "num_components": len(repeats.entries[0].config.components),
                "runs": [
                    {
                        "directory": each.location,
                        "seed": each.config.seed,
                        "num_components": each.num_components,
                        "rounds": each.rounds,
                        "rows_seen": each.num_rows_seen,
                        "minutes": round(each.minutes, 3),
                        "measures": each.measures,
                    }
                    for each in repeats.entries
                ],
            }
            for repeats in all_repeats
        ]
    )
