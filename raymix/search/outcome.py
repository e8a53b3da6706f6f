"""What a search found, from its directory alone, so that it can be told while trials go on: the best config, a page."""

from typing import Any

from raymix.checkpoint import RunDirectory
from raymix.config import Config, dump_config, replaced
from raymix.data.source import DataSpec
from raymix.errors import CheckpointError
from raymix.metrics.catalogue import MEASURES
from raymix.models.registry import close
from raymix.record import read_record
from raymix.report.search_page import render_search
from raymix.report.trials import WIDTH, Trial, ranked
from raymix.search.match import cost
from raymix.search.space import Space
from raymix.search.tuner import read_search
from raymix.storage import Storage

BEST, PAGE = "best.yaml", "search.html"


def outcome_files(out: str) -> tuple[list[Trial], dict[str, bytes]]:
    """The trials, the best first, and what to write beside them by name. Raises `CheckpointError` where there is no
    search, or no trial was measured."""
    task, space, asked = read_search(out)
    trials = ranked(read_trials(out, task.spec, space, asked.metric), MEASURES[asked.metric].better == "higher")
    if not trials or trials[0].metric is None:
        raise CheckpointError("no trial was measured yet", out, "look at what the trials said, or wait")
    page = render_search(trials, asked.metric, task.base, task.spec, asked.match)
    best, _ = trial_directory(out, trials[0].id).load()
    return trials, {BEST: best_config(best, task.base).encode(), PAGE: page.encode()}


def write_outcome(out: str) -> list[Trial]:
    """Write the files of `outcome_files`, and return the trials. Raises `CheckpointError`."""
    trials, files = outcome_files(out)
    for name, content in files.items():
        Storage.at(out).write(name, content)
    return trials


def trial_directory(out: str, name: str) -> RunDirectory:
    return RunDirectory(Storage.at(f"{Storage.at(out).uri}/trials/{name}"))


def read_trials(out: str, spec: DataSpec, space: Space, metric: str) -> list[Trial]:
    """Every trial with a committed round."""
    directories = {name: trial_directory(out, name) for name in Storage.at(out).names("trials")}
    return [
        read_trial(name, each, spec, space, metric) for name, each in directories.items() if read_record(each.storage)
    ]


def read_trial(name: str, directory: RunDirectory, spec: DataSpec, space: Space, metric: str) -> Trial:
    config = close(directory.load()[0])
    lines, spent = read_record(directory.storage), cost(config, spec)
    return Trial(
        id=name,
        values={field: value_of(config, field) for field in space},
        rounds=lines[-1]["round"],
        rounds_asked=config.schedule.rounds,
        metric=(lines[-1].get("measures") or {}).get(metric),
        num_components=len(lines[-1]["components"]),
        parameters=spent.parameters,
        rows=spent.rows,
        flops=spent.flops,
        seconds=sum(sum(line["seconds"].values()) for line in lines),
    )


def value_of(config: Config, field: str) -> Any:
    """What a config has for a field of a space."""
    if field == WIDTH:
        return config.model.width
    value: Any = config
    for part in field.split("."):
        value = getattr(value, part)
    return value


def best_config(best: Config, base: Config) -> str:
    """YAML of a trial's config, to be trained on all rows and packed anew."""
    changes = {"data.holdout": 0.0, "schedule.evaluate_every": 0, "schedule.best_metric": "auto"}
    changes |= {"schedule.report": True}
    packing = {f"resources.{name}": getattr(base.resources, name) for name in ("pack", "fused")}
    return dump_config(replaced(best, changes | packing))
