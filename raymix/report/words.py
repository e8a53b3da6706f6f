"""What a run did, in sentences and measures, from its record."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from raymix.config import Config
from raymix.data.faults import listing
from raymix.data.source import DataSpec
from raymix.metrics.catalogue import MEASURES
from raymix.runs.rounds import RoundRecord

HOW = {
    "compete": "trained by competition",
    "bag": "each trained on a fixed random subset (the control `bag`)",
    "single": "trained alone on all rows (the control `single`)",
    "random": "trained on a new random assignment in each round (the control `random`)",
    "oracle": "trained on the true classes (the control `oracle`)",
    "centroids": "each trained on its cell of k-means (the control `centroids`)",
}


class Measure(NamedTuple):
    """A number with what it means and what it was computed from."""

    name: str
    value: str
    definition: str
    basis: str


def title(lines: Sequence[RoundRecord], config: Config, spec: DataSpec) -> str:
    num = len(lines[-1].components if config.schedule.adapt else config.components)
    return f"{num} component{'s' if num > 1 else ''} on {spec.name}"


def subtitle(config: Config) -> str:
    return f"raymix: family {config.model.family}, mode {config.mode}, seed {config.seed}"


def standing(lines: Sequence[RoundRecord], config: Config) -> str:
    """Where the run stands."""
    round, rounds = lines[-1].round, config.schedule.rounds
    if round >= rounds:
        return f"All rounds are done ({round} of {rounds})."
    return f"Round {round} of {rounds}: the run is still going on, or was stopped (`raymix resume` goes on with it)."


def summary(lines: Sequence[RoundRecord], config: Config, spec: DataSpec) -> list[str]:
    """The run in a few sentences."""
    last = lines[-1]
    num = len(config.components)
    shape = " × ".join(map(str, spec.row_shape))
    names = f": {listing(spec.columns)}" if spec.columns else ""
    rows = f"{spec.num_rows:,} rows of {shape} {'pixels' if spec.is_image else 'columns'} ({spec.name}{names})"
    who = f"{num} component{'s' if num > 1 else ''} of the family {config.model.family} {'were' if num > 1 else 'was'}"
    spent = duration(sum(line.total_s for line in lines))
    sentences = [f"{who} {HOW[config.mode]} on {rows}, with seed {config.seed}, in {spent}.", standing(lines, config)]
    if config.competes and config.has_cells:
        of = "the given features" if config.schedule.begin == "features" else "the rows"
        sentences.append(f"They began with the cells of a k-means of {of}.")
    if config.schedule.adapt:
        num_changes = sum(len(line.changes) for line in lines)
        sentences.append(f"Their number follows the modes of their rows: {num_changes} changes so far.")
    competing = len(last.components)
    share = f"{competing} component{'s' if competing > 1 else ''} share the {spec.num_rows:,} rows"
    sentences.append(
        f"{share}; the effective number is {last.effective_components:.1f}."
        if competing > 1
        else f"One component has all {spec.num_rows:,} rows."
    )
    if last.clustering:
        agreement = f"NMI {last.clustering['nmi']:.2f}, purity {last.clustering['purity']:.2f}"
        sentences.append(f"Against the {len(spec.classes)} classes, which training never saw: {agreement}.")
    if len(lines) > 1 and competing > 1:
        settled = ", after rounds in which none did" if config.schedule.settles(last.round - 1) else ""
        sentences.append(f"Rows still moving in the last round: {percent(last.moved_share)}{settled}.")
    return sentences


def measures(lines: Sequence[RoundRecord], found: Mapping[str, Any] | None = None) -> list[Measure]:
    """Every number of the last round and of an evaluation, with its definition.

    `found` is what `raymix evaluate` found at the last round; where it is None the last line that was evaluated counts.
    """
    last = lines[-1]
    rows = f"{last.num_rows:,} training rows"
    of_rows = {**last.clustering, "effective_components": last.effective_components}
    round = last.round
    if found is None:
        found, round = next(((line.measures, line.round) for line in reversed(lines) if line.measures), ({}, 0))
    told = []
    for name, about in MEASURES.items():
        if name in of_rows:
            told.append(Measure(plain(name), f"{of_rows[name]:.3f}", about.definition, rows))
        elif found.get(name) is not None:
            basis = f"{found['num_samples']:,} samples, seed {found['seed']}, round {round}"
            if name in found["real"]:
                basis += f"; training rows in the samples' place reach {found['real'][name]:.4g}"
            told.append(Measure(plain(name), f"{found[name]:.4g}", about.definition, basis))
    return told


def plain(name: str) -> str:
    """A measure's name for people."""
    return name.replace("_", " ")


def percent(share: float) -> str:
    """One decimal below 10 %, none above."""
    return f"{share:.1%}" if 0 < share < 0.0995 else f"{share:.0%}"


def quantity(value: float) -> str:
    """Three digits, or whole numbers."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def measured(value: float, unit: str) -> str:
    """A quantity with its unit, where it has one."""
    return f"{quantity(value)} {unit}".rstrip()


def duration(seconds: float) -> str:
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
