"""What a search found, from its directory alone, so that it can be told while trials go on: the best config, a page."""

from typing import Any

from raymix.config import Config
from raymix.config_values import dump_config, replaced
from raymix.errors import CheckpointError, MissingError
from raymix.metrics.catalogue import MEASURES
from raymix.models.registry import close
from raymix.report.search_page import render_search
from raymix.report.trials import WIDTH, Trial, ranked
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.record import read_record
from raymix.search.asked import Task, read_search
from raymix.search.match import of_one
from raymix.search.space import Space
from raymix.search.tuner import FAILED
from raymix.storage import Storage

BEST, PAGE = "best.yaml", "search.html"


def outcome_files(out: str) -> tuple[list[Trial], dict[str, bytes]]:
    """The trials, the best first, and what to write beside them by name. Raises `CheckpointError` where there is no
    search, or no trial was measured."""
    task, space = read_search(out)
    trials = read_trials(task, space)
    if not trials or trials[0].metric is None:
        raise CheckpointError("no trial was measured yet", out, "look at what the trials said, or wait")
    page = render_search(trials, task.asked.metric, task.base, task.spec, task.asked.match)
    best, _ = task.run_directory(trials[0].id).load()
    return trials, {BEST: best_config(best, task).encode(), PAGE: page.encode()}


def write_outcome(out: str) -> list[Trial]:
    """Write the files of `outcome_files`, and return the trials. Raises `CheckpointError`."""
    trials, files = outcome_files(out)
    for name, content in files.items():
        Storage.at(out).write(name, content)
    return trials


def failures(out: str) -> dict[str, str]:
    """Trials that failed for good, and why."""
    try:
        return Storage.at(out).read_json(FAILED)
    except MissingError:
        return {}


def read_trials(task: Task, space: Space) -> list[Trial]:
    """Every trial with a committed round, the best first."""
    failed = failures(task.out)
    directories = {name: task.run_directory(name) for name in Storage.at(task.out).names("trials")}
    begun = {name: each for name, each in directories.items() if read_record(each.storage)}
    trials = [read_trial(name, each, task, space, failed.get(name, "")) for name, each in begun.items()]
    return ranked(trials, MEASURES[task.asked.metric].better == "higher")


def read_trial(name: str, directory: RunDirectory, task: Task, space: Space, failure: str) -> Trial:
    config, lines = close(directory.load()[0]), read_record(directory.storage)
    parameters, flops_per_row = of_one(config, task.spec)
    rows = sum(sum(line.generator_steps_K) for line in lines) * config.schedule.batch_size
    return Trial(
        id=name,
        values={field: value_of(config, field) for field in space},
        rounds=lines[-1].round,
        rounds_asked=config.schedule.rounds,
        metric=(lines[-1].measures or {}).get(task.asked.metric),
        num_components=len(lines[-1].components),
        parameters=parameters * len(lines[-1].components),
        rows=rows,
        flops=rows * flops_per_row,
        seconds=sum(line.total_s for line in lines),
        failure=failure,
    )


def value_of(config: Config, field: str) -> Any:
    """What a config has for a field of a space."""
    if field == WIDTH:
        return config.model.width
    value: Any = config
    for part in field.split("."):
        value = getattr(value, part)
    return value


def best_config(best: Config, task: Task) -> str:
    """YAML of a trial's config with what was given before the search, to be trained on all rows and packed anew."""
    packing = {f"resources.{name}": getattr(task.base.resources, name) for name in ("pack", "fused")}
    return dump_config(replaced(best, {**task.given, **packing}))
