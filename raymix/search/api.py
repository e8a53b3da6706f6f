"""`raymix.tune`: a search from Python."""

import os
from collections.abc import Mapping
from typing import Any

from ray.tune import ResultGrid

from raymix.config import Config
from raymix.config_values import replaced
from raymix.models.registry import close
from raymix.recipes.catalogue import recipe
from raymix.recipes.resolve import resolve
from raymix.runtime.driver import cluster
from raymix.search.asked import Method, Scheduler, Search, Task
from raymix.search.match import Terms
from raymix.search.objective import given, measured_often, with_objective
from raymix.search.outcome import read_trials, write_outcome
from raymix.search.space import Space, check_space, dimension
from raymix.search.tuner import Tell, begin, prepared_environment, silent
from raymix.storage import Storage
from raymix.training.hermetic import hermetic


def prepared(config: Config, space: Space, asked: Search, out: str) -> Task:
    """Read the data and check what is asked; nothing is written. Raises `ConfigError`, `DataError`."""
    often = close(measured_often(config))
    resolved, spec = resolve(often)
    base = often.model_copy(update={"data": resolved.data})
    check_space(space, base, spec)
    metric, base = with_objective(asked.metric, base, spec)
    task = Task(close(base), spec, Storage.at(out).uri, asked, given(config))
    return Task(task.base, spec, task.out, asked.resolved(metric, space, task), task.given)


@hermetic()
def tune(
    recipe_or_config: str | Config,
    space: Mapping[str, Any],
    *,
    out: str | os.PathLike[str],
    metric: str = "auto",
    search: Method = "auto",
    scheduler: Scheduler = "asha",
    num_samples: int | None = None,
    max_concurrent: int = 0,
    time_budget_s: float | None = None,
    match: Terms | None = None,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    address: str | None = None,
    tell: Tell = silent,
) -> ResultGrid:
    """Search over fields of a config with Ray Tune, on the connected Ray, the one at `address` or a local one.

    `space` maps dotted fields (and `width`, of all layers) to lists of choices, `{"range": [low, high]}` or
    `{"log": [low, high]}`; `overrides` maps fields to values that all trials have. What the other arguments mean stands
    in `raymix.search.asked.Search`. `out` gets a run directory per trial, best.yaml and search.html; `tell` is called
    with each round of each trial. The results are Tune's own, with a trial's last measures as its metrics; look at
    their `errors`. Raises `ConfigError`, `DataError`, `ResourceError`, `CheckpointError`.
    """
    base = recipe(recipe_or_config) if isinstance(recipe_or_config, str) else recipe_or_config
    dimensions = {name: dimension(name, values, "space") for name, values in space.items()}
    asked = Search(metric, search, scheduler, num_samples, max_concurrent, time_budget_s, match, seed)
    task = prepared(replaced(base, dict(overrides or {})), dimensions, asked, os.fspath(out))
    with prepared_environment(), cluster(address):
        results = begin(task, dimensions, tell)
    if any(trial.metric is not None for trial in read_trials(task, dimensions)):
        write_outcome(task.out)
    return results
