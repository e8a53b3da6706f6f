"""The paper's ablation of capacity (Table 4) as one grid of Ray Tune: three GANs that compete, and three that keep the
cells of k-means, against one of the same size, at several widths and seeds, each with the same steps in all; writes its
table into docs/results.md.

    python -m launch.capacity_table table-4-small --data-dir DIR [--out runs/tables] [--address A]

A search that is in the out directory already is gone on with, and its trials that ended are not repeated.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import tyro

from launch.tables import RESULTS, machine, write_section
from raymix import tune
from raymix.config import Config
from raymix.config_values import replaced
from raymix.errors import RaymixError
from raymix.metrics.catalogue import MEASURES
from raymix.recipes.catalogue import recipe
from raymix.report.comparison import spread
from raymix.report.trials import Trial
from raymix.runs.record import SEARCH, read_record
from raymix.runs.rounds import RoundRecord
from raymix.runtime.driver import cluster
from raymix.search.asked import Task, read_search
from raymix.search.outcome import read_trials, write_outcome
from raymix.search.tuner import News, prepared_environment, resume
from raymix.storage import Storage

FEW = 3  # components

Place = tuple[int, str]
"""Width and mode."""


@dataclass(frozen=True)
class Ablation:
    """Widths at which few, by the first mode, are compared with the others."""

    title: str
    base: Config
    widths: Sequence[int]
    metric: str
    modes: Sequence[str] = ("compete", "centroids", "single")
    seeds: Sequence[int] = (0, 1, 2)

    @property
    def space(self) -> dict[str, Any]:
        """The grid."""
        return {"width": list(self.widths), "mode": list(self.modes), "seed": list(self.seeds)}


SMALL = replaced(
    recipe("gan-mnist-small"),
    {
        "num_components": FEW,
        "data.num_rows": None,
        "model.ema": 0.99,
        # three copies of one that has had two thirds of the steps
        "schedule.begin": "centroids",
        "schedule.pretrain_on": "one",
        "schedule.rounds": 4,
        "schedule.pretrain_epochs": 3.0,
        "schedule.epochs_per_round": 0.375,
        "schedule.settle": 2,
        "assign.margin": 0.3,
        "evaluation.num_samples": 5_000,
        "resources.fused": True,
    },
)
ABLATIONS = {
    "table-4": Ablation(
        title="Table 4: capacity of SN-DCGANs on CelebA with the paper's settings",
        base=replaced(recipe("gan-celeba"), {"schedule.pretrain_budget": "shared", "schedule.pretrain_epochs": 30}),
        widths=(64, 128, 256, 512),
        metric="fid",
        modes=("compete", "single"),
    ),
    "table-4-small": Ablation(
        title="Table 4, small: capacity of DCGANs on MNIST",
        base=SMALL,
        widths=(8, 16, 32, 64),
        metric="fd_classifier",
    ),
    "table-4-long": Ablation(
        title="Table 4, small, one width trained four times as long",
        base=replaced(
            SMALL, {"schedule.rounds": 8, "schedule.pretrain_epochs": 12.0, "schedule.epochs_per_round": 0.75}
        ),
        widths=(16,),
        metric="fd_classifier",
    ),
}


@dataclass(frozen=True)
class Arguments:
    """Search the grid of an ablation and write its table."""

    ablation: tyro.conf.Positional[str]
    """table-4, or for 2 cores table-4-small and table-4-long."""
    data_dir: str | None = None
    """Where the files of the data set lie."""
    out: Path = Path("runs/tables")
    """Where the search's directory lies."""
    address: str | None = None
    """A running Ray cluster; unset: a local one."""
    results: Path = RESULTS
    """File that gets the table."""


def main(arguments: Arguments) -> int:
    if arguments.ablation not in ABLATIONS:
        print(f"error: unknown ablation {arguments.ablation!r}; one of {', '.join(ABLATIONS)}", file=sys.stderr)
        return 2
    try:
        text = section(arguments.ablation, searched(arguments))
        write_section(arguments.results, arguments.ablation, text)
    except RaymixError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


def searched(arguments: Arguments) -> str:
    """The search's directory, once all trials have ended."""
    ablation, out = ABLATIONS[arguments.ablation], str(arguments.out / arguments.ablation)
    if Storage.at(out).exists(SEARCH):
        with prepared_environment(), cluster(arguments.address):
            resume(out, tell)
        write_outcome(out)
    else:
        tune(
            ablation.base,
            ablation.space,
            out=out,
            metric=ablation.metric,
            scheduler="none",
            overrides={"data.dir": arguments.data_dir} if arguments.data_dir else {},
            address=arguments.address,
            tell=tell,
        )
    return out


def tell(news: News) -> None:
    print(f"{dict(news.values)} round {news.round}: {news.metric} {news.failure}", file=sys.stderr, flush=True)


# ---- the table


def section(name: str, out: str) -> str:
    """Markdown of a search that ended."""
    task, space = read_search(out)
    trials = read_trials(task, space)
    ablation, metric = ABLATIONS[name], task.asked.metric
    missing = [trial.id for trial in trials if not trial.ended or trial.metric is None]
    lines = [
        f"## {ablation.title}",
        "",
        f"`python -m launch.capacity_table {name}`; seeds {', '.join(map(str, ablation.seeds))}; {machine()}.",
        f"{FEW} GANs that compete and others against one of the same size, with the same generator steps in all.",
        "",
        *table(ablation, {place: values(place, trials) for place in places(ablation)}, losses(task, trials)),
        "",
        f"- {metric} ({MEASURES[metric].better} is better): {MEASURES[metric].definition}",
        f"- ratios: {FEW} that compete over the others, seed by seed, then of the means; below 1 is better",
        "- losses at the last round: the critics' own, and the discriminators' in nats (chance is 0.693)",
        f"- rows seen by all generators of a trial: {', '.join(sorted({f'{trial.rows:,}' for trial in trials}))}",
        f"- minutes of all {len(trials)} trials: {sum(trial.seconds for trial in trials) / 60:.0f}",
        *about(task, trials),
    ]
    if missing:
        lines.append(f"- **not finished**: {', '.join(missing)}")
    return "\n".join([*lines, ""])


def places(ablation: Ablation) -> list[Place]:
    return [(width, mode) for width in ablation.widths for mode in ablation.modes]


def values(place: Place, trials: Sequence[Trial]) -> list[float]:
    """The metrics of a width and a mode, by seed."""
    found = [trial for trial in trials if (trial.values["width"], trial.values["mode"]) == place]
    return [trial.metric for trial in sorted(found, key=lambda trial: trial.values["seed"]) if trial.metric is not None]


def losses(task: Task, trials: Sequence[Trial]) -> dict[Place, str]:
    """Mean loss of the critics at the last round, and of the discriminators where there are any."""
    found: dict[Place, list[RoundRecord]] = {}
    for trial in trials:
        line = read_record(task.run_directory(trial.id).storage)[-1]
        found.setdefault((trial.values["width"], trial.values["mode"]), []).append(line)

    def average(values: Iterable[Sequence[float | None]]) -> str:
        numbers = [value for values_K in values for value in values_K if value is not None]
        return f"{mean(numbers):.2f}" if numbers else "-"

    return {
        place: f"{average(line.term_K('critic') for line in lines)}, "
        f"{average(line.discriminator_loss_K for line in lines)}"
        for place, lines in found.items()
    }


def table(ablation: Ablation, found: Mapping[Place, Sequence[float]], losses: Mapping[Place, str]) -> list[str]:
    """A line per width: what each mode reaches, ratios and losses."""
    ours, *others = ablation.modes
    headings = ["widest layer", named(ours)]
    for mode in others:
        headings += [named(mode), "ratio to it"]
    headings.append("losses of critics, discriminators: " + " / ".join(ablation.modes))
    lines = [f"| {' | '.join(headings)} |", f"|{' --- |' * len(headings)}"]
    for width in ablation.widths:
        few = found[width, ours]
        if not all(found[width, mode] for mode in ablation.modes):
            continue
        cells = [str(width), spread(few)]
        for mode in others:
            other = found[width, mode]
            each = ", ".join(f"{a / b:.2f}" for a, b in zip(few, other, strict=False))
            cells += [spread(other), f"{each}; {mean(few) / mean(other):.2f}"]
        cells.append(" / ".join(losses[width, mode] for mode in ablation.modes))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def named(mode: str) -> str:
    return "one GAN" if mode == "single" else f"{FEW} GANs, {mode}"


def about(task: Task, trials: Sequence[Trial]) -> list[str]:
    """What the measure was taken on."""
    measures = read_record(task.run_directory(trials[0].id).storage)[-1].measures
    assert measures  # a search measures every round
    real = measures["real"].get(task.asked.metric)
    known = [f"{measures['num_samples']:,} samples, seed {measures['seed']}"]
    known += [f"{name}: {value}" for name, value in measures["about"].items()]
    return [f"- {text}" for text in (*known, f"real rows in the samples' place: {real:.3g}")]


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=Arguments.__doc__)))
