"""`raymix.tune`: a search from Python."""

import os
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from ray.tune import ResultGrid

from raymix.config import Config, replaced
from raymix.data.source import DataSpec
from raymix.recipes import recipe
from raymix.resolve import resolve
from raymix.runtime.driver import cluster
from raymix.search.match import Terms
from raymix.search.objective import measured_often, with_objective
from raymix.search.outcome import write_outcome
from raymix.search.space import Space, check_space, dimension
from raymix.search.tuner import Method, Search, Tell, begin, silent, task_of


class Prepared(NamedTuple):
    """A search that may begin."""

    config: Config
    """Resolved; what trials start from."""
    spec: DataSpec
    asked: Search


def prepared(config: Config, space: Space, asked: Search) -> Prepared:
    """Read the data and check what is asked; `asked.metric` may be auto. Raises `ConfigError`, `DataError`."""
    config, spec = resolve(measured_often(config))
    check_space(space, config, spec)
    metric, config = with_objective(asked.metric, config, spec)
    return Prepared(config, spec, asked.resolved(metric, space, config, spec))


def tune(
    recipe_or_config: str | Config,
    space: Mapping[str, Any],
    *,
    out: str | os.PathLike[str],
    metric: str = "auto",
    search: Method = "auto",
    scheduler: Literal["asha", "none"] = "asha",
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
    in `raymix.search.tuner.Search`. `out` gets a run directory per trial, best.yaml and search.html; `tell` is called
    with each round of each trial. The results are Tune's own, with a trial's last measures as its metrics.
    Raises `ConfigError`, `DataError`, `ResourceError`, `CheckpointError`.
    """
    base = recipe(recipe_or_config) if isinstance(recipe_or_config, str) else recipe_or_config
    dimensions = {name: dimension(name, values, "space") for name, values in space.items()}
    asked = Search(metric, search, scheduler, num_samples, max_concurrent, time_budget_s, seed, match)
    config, spec, asked = prepared(replaced(base, dict(overrides or {})), dimensions, asked)
    with cluster(address):
        results = begin(task_of(config, spec, str(out), asked), dimensions, asked, tell)
    write_outcome(str(out))
    return results
