"""What is asked of a search, and `search.json`, which keeps it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from raymix.config import Config
from raymix.config_values import config_from_mapping
from raymix.data.source import DataSpec
from raymix.errors import CheckpointError, ConfigError, MissingError
from raymix.metrics.catalogue import MEASURES
from raymix.models.registry import close
from raymix.report.trials import WIDTH, described
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.record import SEARCH
from raymix.search.match import Terms, cost, matched
from raymix.search.space import Choices, Range, Space, applied, points
from raymix.storage import Storage

Method = Literal["auto", "grid", "random", "optuna", "pbt"]
Scheduler = Literal["asha", "none"]
GRACE_ROUNDS = 3  # before which no trial is stopped, or goes on from another
FITTED = {
    "params": (WIDTH, "model.encoder", "model.decoder"),
    "steps": ("schedule.rounds",),
    "flops": ("schedule.rounds",),
}
"""Fields that equal terms decide."""


@dataclass(frozen=True)
class Search:
    """How to search. Raises `ConfigError` for numbers out of bounds."""

    metric: str = "auto"
    """A measure of `raymix.metrics.catalogue`; auto is the usual one for the data."""
    method: Method = "auto"
    """auto is the full grid of a space of lists, Optuna's TPE where there is a range."""
    scheduler: Scheduler = "asha"
    """Whether ASHA stops trials that fall behind, never before round 3; none lets all end."""
    num_samples: int | None = None
    """Trials to draw; of a grid, how often it is repeated."""
    max_concurrent: int = 0
    """Trials at a time; 0 for as many as fit."""
    time_budget_s: float | None = None
    """Seconds after which trials that go on are stopped; they begin anew when a search is resumed."""
    match: Terms | None = None
    """Make trials equal to the base config in parameters (by width), or in steps or arithmetic (by rounds)."""
    seed: int = 0
    """Seed of what grid, random and optuna draw; pbt draws by Python's own generator."""

    def __post_init__(self) -> None:
        bounds = {"num_samples": 1, "max_concurrent": 0, "time_budget_s": 0}
        for name, least in bounds.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= least):
                raise ConfigError(f"is {value}", f"--{name.replace('_', '-')}", f"give {least} or more")
        for name, values in (("method", Method), ("scheduler", Scheduler)):
            if getattr(self, name) not in get_args(values):
                raise ConfigError(f"is {getattr(self, name)!r}", name, f"choose from {', '.join(get_args(values))}")

    @property
    def mode(self) -> str:
        """As Tune calls the direction."""
        return "max" if MEASURES[self.metric].better == "higher" else "min"

    def stops_early(self, base: Config) -> bool:
        """Whether ASHA has anything to do."""
        return self.scheduler == "asha" and self.method != "pbt" and base.schedule.rounds > GRACE_ROUNDS

    def num_trials(self, space: Space) -> int:
        """How many trials a resolved search has."""
        grid = math.prod(len(values.values) for values in space.values() if isinstance(values, Choices))
        return (self.num_samples or 1) * (grid if self.method == "grid" else 1)

    def resolved(self, metric: str, space: Space, task: "Task") -> "Search":
        """For a measure, with what `auto` stands for. Raises `ConfigError` for what cannot be searched so."""
        ranges = [name for name, values in space.items() if isinstance(values, Range)]
        method = ("optuna" if ranges else "grid") if self.method == "auto" else self.method
        if method == "grid" and ranges:
            raise ConfigError(f"{ranges[0]} is a range", "--search grid", "give a list, or another --search")
        for name in FITTED[self.match] if self.match else ():
            if name in space:
                raise ConfigError(f"decides {name}, which is varied", f"--match {self.match}", "drop one of them")
        if method == "pbt":
            require_same_shapes(space, task)
        drawn = 1 if method == "grid" else 4 * len(space) + 4
        return replace(self, metric=metric, method=method, num_samples=self.num_samples or drawn)


@dataclass(frozen=True)
class Task:
    """What all trials of a search share."""

    base: Config
    """With its data resolved; trials replace some of its fields and fit the rest to the data."""
    spec: DataSpec
    out: str
    """The search's directory."""
    asked: Search
    given: Mapping[str, Any] = field(default_factory=dict)
    """What the fields of `objective.ONCE` were before the search."""

    def config(self, values: Mapping[str, Any]) -> Config:
        """The config of one trial. Raises `ConfigError`."""
        config, terms = applied(self.base, values, self.spec), self.asked.match
        return matched(config, self.spec, applied(self.base, {}, self.spec), terms) if terms else config

    def run_directory(self, trial: str) -> RunDirectory:
        return RunDirectory(Storage.at(self.out).below(f"trials/{trial}"))


def require_same_shapes(space: Space, task: Task) -> None:
    """Raises `ConfigError` for a field whose values give other networks: trials could not take over each other's."""
    own = cost(task.config({}), task.spec).parameters
    for values in points(space):
        if "num_components" in values or cost(task.config(values), task.spec).parameters != own:
            what = f"trials take over each other's weights, and {described(values)} gives other networks"
            raise ConfigError(what, "--search pbt", "vary learning rates and the like")


def write_search(task: Task, space: Space) -> None:
    """Keep what is asked. Raises `CheckpointError` where a search is kept already."""
    storage = Storage.at(task.out)
    if storage.exists(SEARCH):
        raise CheckpointError("already holds a search", storage.where(), "go on with `raymix tune --resume`")
    told = {"base": task.base.model_dump(mode="json"), "data": asdict(task.spec), "search": asdict(task.asked)}
    told |= {"given": dict(task.given), "space": {name: values._asdict() for name, values in space.items()}}
    storage.write_json(SEARCH, told)


def read_search(out: str) -> tuple[Task, Space]:
    """What was asked of a search. Raises `CheckpointError` where there is none."""
    storage = Storage.at(out)
    try:
        told = storage.read_json(SEARCH)
    except MissingError:
        raise CheckpointError("holds no search", storage.where(), "name the --out of a `raymix tune`") from None
    data = told["data"]
    spec = DataSpec(**{**data, "row_shape": tuple(data["row_shape"]), "classes": tuple(data["classes"])})
    base = close(config_from_mapping(told["base"], storage.where(SEARCH)))
    space = {
        name: Choices(tuple(tuple(v) if isinstance(v, list) else v for v in values["values"]))
        if "values" in values
        else Range(**values)
        for name, values in told["space"].items()
    }
    return Task(base, spec, storage.uri, Search(**told["search"]), told["given"]), space
