"""Ray Tune around trials: what it draws, what it stops early, and how a search goes on after its driver died.

A search's directory holds `search.json` (everything that was asked), `trials/` (a run directory per trial) and `tune/`
(Tune's own state).
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import optuna
import ray
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, PlacementGroupFactory, ResultGrid, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from raymix.config import Config, config_from_mapping
from raymix.data.source import DataSpec
from raymix.errors import CheckpointError, ConfigError, MissingError, ResourceError
from raymix.metrics.catalogue import MEASURES
from raymix.models.registry import close
from raymix.report.trials import WIDTH, described
from raymix.runtime.capacity import cluster_nodes, free_nodes
from raymix.runtime.placement import Group, amounts, groups, homes, require_fit, sum_of, uses_gpus
from raymix.search.match import Terms, cost
from raymix.search.space import Choices, Dimension, Range, Space, applied, points
from raymix.search.trial import Task, packed_whole, run_trial
from raymix.storage import Storage

SEARCH = "search.json"
GRACE_ROUNDS = 3  # before which no scheduler stops a trial
REDUCTION = 3  # ASHA lets one of so many go on past rounds 3, 9, 27, ...
NO_LAST_ROUND = 10**6  # for ASHA: trials end by themselves, after as many rounds as their config says
HELPER_CPUS = 0.02  # of a trial's processor: the coordinator and whoever reports
WRITE_S = "1"  # between writes of Tune's state, so that little is lost with the driver
FAILURES = 3
POLL_S = 0.5
NODE_SHARE = 0.001  # of a resource that stands for a node
Method = Literal["auto", "grid", "random", "optuna", "pbt"]


@dataclass(frozen=True)
class Search:
    """Everything that was asked of a search."""

    metric: str
    """A measure of `raymix.metrics.catalogue`."""
    method: Method = "auto"
    """auto is the full grid of a space of lists, Optuna's TPE where there is a range."""
    scheduler: Literal["asha", "none"] = "asha"
    """Whether ASHA stops trials that fall behind, never before round 3; none lets all end."""
    num_samples: int | None = None
    """Trials to draw; of a grid, how often it is repeated."""
    max_concurrent: int = 0
    """Trials at a time; 0 for as many as fit."""
    time_budget_s: float | None = None
    seed: int = 0
    match: Terms | None = None

    @property
    def mode(self) -> str:
        """As Tune calls the direction."""
        return "max" if MEASURES[self.metric].better == "higher" else "min"

    def resolved(self, metric: str, space: Space, base: Config, spec: DataSpec) -> "Search":
        """For a measure, with what `auto` stands for. Raises `ConfigError` for what cannot be searched so."""
        ranges = [name for name, values in space.items() if isinstance(values, Range)]
        method = ("optuna" if ranges else "grid") if self.method == "auto" else self.method
        if method == "grid" and ranges:
            raise ConfigError(f"{ranges[0]} is a range", "--search grid", "give a list, or another --search")
        if self.match == "params" and WIDTH in space:
            raise ConfigError("fits the width to the parameters, and width is varied", "--match params", "drop one")
        if method == "pbt":
            require_same_shapes(space, base, spec)
        drawn = 1 if method == "grid" else 4 * len(space) + 4
        return replace(self, metric=metric, method=method, num_samples=self.num_samples or drawn)


class News(NamedTuple):
    """A round that a trial reported, or its end."""

    trial: str
    values: Mapping[str, Any]
    round: int
    metric: float | None
    """The search's measure."""
    ended: bool = False
    """It will not go on, by itself or because ASHA stopped it."""
    failure: str = ""


Tell = Callable[[News], None]


def silent(news: News) -> None:
    """For callers who do not watch."""


def begin(task: Task, space: Space, asked: Search, tell: Tell) -> ResultGrid:
    """Run a new search in `task.out` on the connected cluster. Raises `CheckpointError`, `ResourceError`."""
    storage = Storage.at(task.out)
    if storage.exists(SEARCH):
        raise CheckpointError("already holds a search", storage.where(), "go on with `raymix tune --resume`")
    require_room(task, space)
    told = {"base": task.base.model_dump(mode="json"), "data": asdict(task.spec), "search": asdict(asked)}
    storage.write_json(SEARCH, told | {"space": {name: values._asdict() for name, values in space.items()}})
    prepare()
    domains = {name: tune_domain(asked, values) for name, values in space.items()}
    return Tuner(
        trainable(task),
        param_space=None if asked.method == "optuna" else domains,
        tune_config=TuneConfig(
            metric=asked.metric,
            mode=asked.mode,
            scheduler=scheduler_of(asked, task.base, domains),
            search_alg=optuna_of(asked, domains) if asked.method == "optuna" else None,
            num_samples=asked.num_samples or 1,
            max_concurrent_trials=asked.max_concurrent or None,
            time_budget_s=asked.time_budget_s,
            trial_dirname_creator=name_of,
            reuse_actors=True,
        ),
        run_config=RunConfig(
            name="tune",
            storage_path=storage.uri,
            # of a population all, because another trial may still be on its way to one
            checkpoint_config=CheckpointConfig(num_to_keep=None if task.whole_checkpoints else 2),
            failure_config=FailureConfig(max_failures=FAILURES),
            callbacks=[Narrator(asked.metric, tell)],
            verbose=0,
        ),
    ).fit()


def resume(out: str, tell: Tell) -> ResultGrid:
    """Go on with a search whose driver ended, on the connected cluster: trials that ended are not repeated, others go
    on from their last round. Raises `CheckpointError` where there is no search."""
    task, space, asked = read_search(out)
    storage = Storage.at(out)
    path = f"{storage.uri}/tune"
    if not Tuner.can_restore(path):  # it died before Tune wrote anything
        storage.delete(SEARCH)
        storage.delete("trials")
        return begin(task, space, asked, tell)
    require_room(task, space)
    prepare()
    tuner = Tuner.restore(path, trainable=trainable(task), resume_unfinished=True, restart_errored=True)
    results = tuner.get_results()
    known = {os.path.basename(results[i].path) for i in range(len(results))}
    for begun in set(storage.names("trials")) - known:  # in the last second, and Tune begins them again
        storage.delete(f"trials/{begun}")
    return tuner.fit()


def prepare() -> None:
    """Settings that Tune takes from the environment."""
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = WRITE_S
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the other one prints tables to stdout
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # whoever calls a search says what a signal does


def name_of(trial: Trial) -> str:
    """The folder of a trial."""
    return str(trial.trial_id)


class Narrator(tune.Callback):
    """Tells whoever watches what trials do."""

    def __init__(self, metric: str, tell: Tell) -> None:
        self.metric, self.tell = metric, tell

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self.tell(News(trial.trial_id, trial.config, result["round"], result.get(self.metric)))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        last = trial.last_result or {}
        self.tell(News(trial.trial_id, trial.config, last.get("round", -1), last.get(self.metric), ended=True))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        failure = str(trial.get_error() or "failed").strip().splitlines()[-1]
        self.tell(News(trial.trial_id, trial.config, -1, None, ended=True, failure=failure))


def read_search(out: str) -> tuple[Task, Space, Search]:
    """What was asked of a search. Raises `CheckpointError`."""
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
    asked = Search(**told["search"])
    return task_of(base, spec, storage.uri, asked), space, asked


def task_of(base: Config, spec: DataSpec, out: str, asked: Search) -> Task:
    """What the trials of a search share."""
    return Task(base, spec, Storage.at(out).uri, asked.match, whole_checkpoints=asked.method == "pbt")


# ---- what Tune draws and stops


def tune_domain(asked: Search, values: Dimension) -> Any:
    """A dimension as Tune has it: every value of a list for a grid, one of them otherwise."""
    if isinstance(values, Choices):
        listed = [list(value) if isinstance(value, tuple) else value for value in values.values]
        return tune.grid_search(listed) if asked.method == "grid" else tune.choice(listed)
    if values.whole:
        low, high = int(values.low), int(values.high) + 1
        return tune.lograndint(low, high) if values.log else tune.randint(low, high)
    return tune.loguniform(values.low, values.high) if values.log else tune.uniform(values.low, values.high)


def optuna_of(asked: Search, domains: dict[str, Any]) -> Searcher:
    """Optuna's tree-structured Parzen estimator."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return OptunaSearch(domains, metric=asked.metric, mode=asked.mode, seed=asked.seed)


def scheduler_of(asked: Search, base: Config, domains: dict[str, Any]) -> TrialScheduler:
    """What ends trials early, or lets them take over each other's weights."""
    if asked.method == "pbt":
        return PopulationBasedTraining(
            time_attr="round",
            perturbation_interval=GRACE_ROUNDS,
            hyperparam_mutations=domains,
        )
    if asked.scheduler == "none" or base.schedule.rounds <= GRACE_ROUNDS:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="round",
        grace_period=GRACE_ROUNDS,
        reduction_factor=REDUCTION,
        max_t=NO_LAST_ROUND,
    )


def require_same_shapes(space: Space, base: Config, spec: DataSpec) -> None:
    """Raises `ConfigError` for a field whose values give other networks: trials could not take over each other's."""
    own = cost(base, spec).parameters
    for values in points(space):
        if cost(applied(base, values), spec).parameters != own or "num_components" in values:
            what = f"trials take over each other's weights, and {described(values)} gives other networks"
            raise ConfigError(what, "--search pbt", "vary learning rates and the like")


# ---- where trials run


def trainable(task: Task) -> Any:
    """The function of a trial with what it asks for."""
    return tune.with_resources(partial(run_trial, task=task), partial(asking, task))


def asking(task: Task, values: Mapping[str, Any]) -> PlacementGroupFactory:
    """A trial's bundles: one for helpers, then one for each of its groups of actors. A local directory is reached from
    the driver's node only, so helpers are there."""
    bundles = [bundle(group) for group in trial_groups(task.config(values))]
    helpers = {"CPU": HELPER_CPUS}
    if Storage.at(task.out).is_local:
        helpers[f"node:{ray.util.get_node_ip_address()}"] = NODE_SHARE
    return PlacementGroupFactory([helpers, *bundles])


def trial_groups(config: Config) -> list[Group]:
    """The groups of a trial. Where the config leaves it open they share one processor, and one GPU where there are any,
    so that many trials run side by side. Raises `ResourceError` for what could never fit."""
    nodes, resources = cluster_nodes(), config.resources
    asked = groups(packed_whole(config), nodes)
    if resources.cpus_per_component == "auto":
        asked = [replace(group, cpus=(1 - HELPER_CPUS) / len(asked)) for group in asked]
    if resources.gpus_per_component == "auto" and uses_gpus(config, nodes):
        asked = [replace(group, gpus=1 / len(asked)) for group in asked]
    require_fit(asked, nodes)
    return asked


def bundle(group: Group) -> dict[str, float]:
    """All that a group asks for, on one node."""
    return {"CPU": group.cpus} | ({"GPU": group.gpus} if group.gpus else {})


def require_room(task: Task, space: Space) -> None:
    """Raises `ResourceError` for a trial that could never fit, and where nothing is free for the first one within
    `resources.place_s` seconds."""
    for values in points(space):
        try:
            asked = trial_groups(task.config(values))
        except ResourceError as error:
            raise ResourceError(error.what, f"the trial with {described(values)}", error.todo) from None
    deadline = time.monotonic() + task.base.resources.place_s
    while None in homes(asked, free := free_nodes()):
        if time.monotonic() > deadline:
            what = f"{task.base.resources.place_s:g} s passed and {amounts(sum_of(free))} are free of what a trial asks"
            raise ResourceError(what, "the cluster", "wait for other work or end it, or add nodes")
        time.sleep(POLL_S)
