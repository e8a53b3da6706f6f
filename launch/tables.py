"""Repeat an experiment of `launch.experiments` and write its table into docs/results.md.

    python -m launch.tables table-1-small [--seeds 0 1 2] [--jobs 2] [--data-dir DIR] [--out runs/tables]

A run that is already in the out directory is not trained again, one that was interrupted goes on. Every run is a
process of its own, on one thread.
"""

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import tyro

from launch.experiments import EXPERIMENTS, Experiment, Target
from raymix.config import AssignConfig, Config, DiscriminatorConfig
from raymix.config_values import dump_config, load_config
from raymix.errors import ConfigError, RaymixError
from raymix.evaluation.images import require_measurable
from raymix.models.registry import close
from raymix.recipes.resolve import resolve
from raymix.report import comparison
from raymix.runs.checkpoint import RunDirectory
from raymix.storage import Storage

RESULTS = Path("docs/results.md")


@dataclass(frozen=True)
class Arguments:
    """Train and measure every method on every data set and seed, and write the table."""

    experiment: tyro.conf.Positional[str]
    """Its name in `launch.experiments`."""
    seeds: tuple[int, ...] | None = None
    """Seeds of the runs; unset: the experiment's."""
    data_dir: str | None = None
    """Where the files of the data set lie."""
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Runs at a time."""
    workers: str = "local"
    """Where each run works: local (one process), or ray."""
    out: Path = Path("runs/tables")
    """Where the run directories lie."""
    results: Path = RESULTS
    """File that gets the table."""


def main(arguments: Arguments) -> int:
    if arguments.experiment not in EXPERIMENTS:
        known = ", ".join(EXPERIMENTS)
        print(f"error: unknown experiment {arguments.experiment!r}; one of {known}", file=sys.stderr)
        return 2
    experiment = EXPERIMENTS[arguments.experiment]
    seeds = arguments.seeds or tuple(experiment.seeds)
    try:
        for case in experiment.bases:  # what cannot be measured is not trained
            require_measurable(*resolve(experiment.config(case, "single", seeds[0], arguments.data_dir)))
    except RaymixError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    runs = [(case, method, seed) for seed in seeds for case in experiment.bases for method in experiment.methods]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        codes = list(pool.map(lambda run: carry_out(arguments, experiment, *run), runs))
    if any(codes):
        print(f"error: {sum(map(bool, codes))} runs failed; their logs lie beside them", file=sys.stderr)
        return 1
    text, kept = section(arguments, experiment, seeds)
    write_section(arguments.results, arguments.experiment, text)
    print(text)
    return 0 if kept else 1


# ---- runs


def folder(arguments: Arguments, case: str, method: str, seed: int) -> Path:
    return arguments.out / arguments.experiment / case / f"{method.replace(' ', '-')}-{seed}"


def carry_out(arguments: Arguments, experiment: Experiment, case: str, method: str, seed: int) -> int:
    """Train one run and measure it, as far as that is not done; returns an exit code."""
    out = folder(arguments, case, method, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    settings, config = out.with_suffix(".yaml"), close(experiment.config(case, method, seed, arguments.data_dir))
    if out.exists() and settings.exists() and used(close(load_config(settings))) != used(config):
        print(f"error: {out}: was trained with another config; remove it or give another --out", file=sys.stderr)
        return 2
    settings.write_text(dump_config(config))
    directory, code = RunDirectory(Storage.at(out)), 0
    if not directory.holds_run:
        words = ["train", "--config", str(settings), "--out", str(out)]
        code = call([*words, "--workers", arguments.workers], out.with_suffix(".log"))
    elif not directory.finished(directory.load()[0], directory.last()):
        code = call(["resume", str(out), "--workers", arguments.workers], out.with_suffix(".log"))
    if code == 0 and comparison.entry(str(out)).measures is None:
        code = call(["evaluate", str(out)], out.with_suffix(".log"))
    print(f"{case} {method} {seed}: {'failed' if code else 'done'}", file=sys.stderr, flush=True)
    return code


def used(config: Config) -> Config:
    """The config without what its mode does not use."""
    if config.competes:
        return config
    begin = config.schedule.begin if config.has_cells else "pretrain"
    schedule = config.schedule.model_copy(update={"begin": begin, "settle": 0})
    unused = {"discriminator": DiscriminatorConfig(), "assign": AssignConfig(), "schedule": schedule}
    return config.model_copy(update=unused)


def call(words: list[str], log: Path) -> int:
    """One raymix command in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        command = [sys.executable, "-m", "raymix.cli", *words]
        return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False).returncode


# ---- the table


def section(arguments: Arguments, experiment: Experiment, seeds: tuple[int, ...]) -> tuple[str, bool]:
    """Markdown of one experiment, and whether every target was reached."""
    command = f"python -m launch.tables {arguments.experiment}"
    lines = [f"## {experiment.title}", "", f"`{command}`; seeds {', '.join(map(str, seeds))}; {machine()}.", ""]
    reached = True
    for case in experiment.bases:
        entries = {
            method: [comparison.entry(str(folder(arguments, case, method, seed))) for seed in seeds]
            for method in experiment.methods
        }
        all_repeats = [comparison.Repeats(method, runs) for method, runs in entries.items()]
        table = comparison.compare(all_repeats, experiment.measures, apart=("oracle",))
        lines += [f"### {case}", "", comparison.markdown(table), ""]
        for target in experiment.targets:
            if not target.cases or case in target.cases:
                values = {each.label: each.values(target.measure) for each in all_repeats}
                ours = experiment.methods[0]
                text, holds = verdict(target, ours, values)
                if not holds and "oracle" in values:
                    ceiling, _ = verdict(target, ours, values | {ours: values["oracle"]})
                    text += f"; the oracle, which sees the labels: {ceiling.partition('(')[2].rstrip(')')}"
                lines.append(f"- {'reached' if holds else '**missed**'}: {text}")
                reached &= holds
        lines.append("")
    return "\n".join(lines), reached


def verdict(target: Target, ours: str, values: dict[str, list[float]]) -> tuple[str, bool]:
    """A target of one method in words with what was measured, and whether it was reached."""
    found, name = values[ours], f"{target.measure} of {ours}"
    if not found or (target.over is not None and len(values[target.over]) != len(found)):
        return f"{name}: not every run was measured", False
    if target.over is not None:
        pairs = list(zip(found, values[target.over], strict=True))
        found = [ours / theirs if target.by == "ratio" else ours - theirs for ours, theirs in pairs]
        name += f" {'over' if target.by == 'ratio' else 'minus'} that of {target.over}"
    found = [mean(found)] if target.of == "mean" else found
    bound = f"at least {target.least:g}" if target.least is not None else f"at most {target.most:g}"
    holds = all(
        (target.least is None or value >= target.least) and (target.most is None or value <= target.most)
        for value in found
    )
    told = "mean" if target.of == "mean" else "seed by seed"
    return f"{name} {bound} ({told} {', '.join(f'{value:.3g}' for value in found)})", holds


def machine() -> str:
    """What the minutes were measured on."""
    return f"{os.cpu_count()} processors ({platform.machine()}), one thread per run, {platform.system()}"


def write_section(path: Path, name: str, text: str) -> None:
    """Put a section in the place of the one of the same name, or at the end. Raises `ConfigError`."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    try:
        old = path.read_text() if path.exists() else "# Results\n"
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", str(path), "give another --results") from None
    block = f"{begin}\n{text}\n{end}"
    if begin in old and end in old:
        before, rest = old.split(begin, 1)
        text = before + block + rest.split(end, 1)[1]
    else:
        text = old.rstrip("\n") + f"\n\n{block}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=Arguments.__doc__)))
