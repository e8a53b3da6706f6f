"""Ray Tune around trials: what it draws, what it stops early, and how a search goes on after its driver died.

A search's directory holds `search.json` (everything that was asked), `trials/` (a run directory per trial) and `tune/`
(Tune's own state).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import optuna
from ray import tune
from ray.tune import CheckpointConfig, FailureConfig, ResultGrid, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, PopulationBasedTraining, TrialScheduler
from ray.tune.search import BasicVariantGenerator, SearchAlgorithm, Searcher
from ray.tune.search.optuna import OptunaSearch

from raymix.config import Config
from raymix.runs.record import SEARCH
from raymix.search.asked import GRACE_ROUNDS, Search, Task, read_search, write_search
from raymix.search.room import asking, require_room
from raymix.search.space import Choices, Dimension, Space
from raymix.search.trial import run_trial
from raymix.storage import Storage

FAILED = "failed.json"
"""Trials that failed for good, by id, and why."""
REDUCTION = 3  # ASHA lets one of so many go on past rounds 3, 9, 27, ...
NO_LAST_ROUND = 10**6  # for ASHA: trials end by themselves, after as many rounds as their config says
FAILURES = 3
ENVIRONMENT = {
    "TUNE_GLOBAL_CHECKPOINT_S": "1",  # between writes of Tune's state, so that little is lost with the driver
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # for a trial that is stopped, until its process takes the next
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # whoever calls a search says what a signal does
    "RAY_AIR_NEW_OUTPUT": "0",  # the other one prints tables to stdout
}


class News(NamedTuple):
    """A round that a trial reported, or its end."""

    trial: str
    values: Mapping[str, Any]
    round: int
    metric: float | None
    """The search's measure, None where it was not taken."""
    ended: bool = False
    """It will not go on, by itself or because ASHA stopped it."""
    failure: str = ""


Tell = Callable[[News], None]


def silent(news: News) -> None:
    """For callers who do not watch."""


@contextmanager
def prepared_environment() -> Iterator[None]:
    """Settings that Tune takes from the environment, this process's and that of a Ray that is started meanwhile."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def begin(task: Task, space: Space, tell: Tell, wait_s: float = 0) -> ResultGrid:
    """Run a new search in `task.out` on the connected cluster. Raises `CheckpointError`, `ResourceError`."""
    require_room(task, space, wait_s)
    write_search(task, space)
    return run_tuner(tuner_of(task, space), task, tell)


def resume(out: str, tell: Tell) -> ResultGrid:
    """Go on with a search whose driver ended, on the connected cluster: trials that ended are not repeated, others go
    on from their last round. ASHA compares them with those that it sees from now on. Raises `CheckpointError` where
    there is no search."""
    task, space = read_search(out)
    require_room(task, space)
    storage = Storage.at(out)
    if not any(name.startswith("experiment_state") for name in storage.names("tune")):  # it died before any trial
        for name in (SEARCH, "trials", "tune"):
            storage.delete(name)
        return begin(task, space, tell)
    tuner = Tuner.restore(
        storage.below("tune").uri, trainable=trainable(task), resume_unfinished=True, resume_errored=True
    )
    results = tuner.get_results()
    known = {os.path.basename(results[i].path) for i in range(len(results))}
    for begun in set(storage.names("trials")) - known:  # in the last second, and Tune begins them again
        storage.delete(f"trials/{begun}")
    return run_tuner(tuner, task, tell)


def run_tuner(tuner: Tuner, task: Task, tell: Tell) -> ResultGrid:
    """Let all trials end, and keep what failed."""
    Narrator.tell = staticmethod(tell)
    try:
        results = tuner.fit()
    finally:
        Narrator.tell = staticmethod(silent)
    failed = {os.path.basename(each.path): reason(each.error) for each in map(results.__getitem__, range(len(results)))}
    Storage.at(task.out).write_json(FAILED, {trial: why for trial, why in failed.items() if why})
    return results


def reason(error: BaseException | None) -> str:
    """The last line of what a trial failed with; nothing where it did not."""
    return str(error).strip().splitlines()[-1] if error else ""


def tuner_of(task: Task, space: Space) -> Tuner:
    """The tuner of a new search."""
    asked = task.asked
    domains = {name: tune_domain(asked, values) for name, values in space.items()}
    return Tuner(
        trainable(task),
        param_space=None if asked.method == "optuna" else domains,
        tune_config=TuneConfig(
            metric=asked.metric,
            mode=asked.mode,
            scheduler=scheduler_of(asked, task.base, space),
            search_alg=drawing(asked, domains),
            num_samples=asked.num_samples or 1,
            max_concurrent_trials=(asked.max_concurrent or None) if asked.method == "optuna" else None,
            time_budget_s=asked.time_budget_s,
            trial_dirname_creator=name_of,
            reuse_actors=True,
        ),
        run_config=RunConfig(
            name="tune",
            storage_path=task.out,
            # of a population all, because another trial may still be on its way to one
            checkpoint_config=CheckpointConfig(num_to_keep=None if asked.method == "pbt" else 2),
            failure_config=FailureConfig(max_failures=FAILURES),
            callbacks=[Narrator(asked.metric)],
            verbose=0,
        ),
    )


def trainable(task: Task) -> Any:
    """The function of a trial with what it asks for."""
    return tune.with_resources(partial(run_trial, task=task), partial(asking, task))


def name_of(trial: Trial) -> str:
    """The folder of a trial."""
    return str(trial.trial_id)


class Narrator(tune.Callback):
    """Tells whoever watches what trials do. Tune keeps it with its state, so it does not hold whom it tells."""

    tell: Tell = staticmethod(silent)

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self.tell(self.news(trial, result))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.tell(self.news(trial, trial.last_result or {})._replace(ended=True))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.tell(self.news(trial, {})._replace(ended=True, failure=reason(trial.get_error()) or "failed"))

    def news(self, trial: Trial, result: Mapping[str, Any]) -> News:
        value = result.get(self.metric)
        known = value if value is not None and np.isfinite(value) else None
        return News(trial.trial_id, trial.config, result.get("round", -1), known)


# ---- what Tune draws and stops


def tune_domain(asked: Search, values: Dimension) -> Any:
    """A dimension as Tune has it: every value of a list for a grid, one of them otherwise."""
    if isinstance(values, Choices):
        return tune.grid_search(listed(values)) if asked.method == "grid" else tune.choice(listed(values))
    if values.whole:
        low, high = int(values.low), int(values.high) + 1
        return tune.lograndint(low, high) if values.log else tune.randint(low, high)
    return tune.loguniform(values.low, values.high) if values.log else tune.uniform(values.low, values.high)


def listed(values: Choices) -> list[Any]:
    """Plain values, as JSON has them."""
    return [list(value) if isinstance(value, tuple) else value for value in values.values]


def drawing(asked: Search, domains: dict[str, Any]) -> Searcher | SearchAlgorithm:
    """Optuna's tree-structured Parzen estimator, or values one after another."""
    if asked.method != "optuna":
        return BasicVariantGenerator(max_concurrent=asked.max_concurrent, random_state=asked.seed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return OptunaSearch(domains, metric=asked.metric, mode=asked.mode, seed=asked.seed)


def scheduler_of(asked: Search, base: Config, space: Space) -> TrialScheduler:
    """What ends trials early, or lets them take over each other's weights."""
    if asked.method == "pbt":
        return PopulationBasedTraining(
            time_attr="round",
            perturbation_interval=GRACE_ROUNDS,
            hyperparam_mutations={
                name: listed(values) if isinstance(values, Choices) else tune_domain(asked, values)
                for name, values in space.items()
            },
            custom_explore_fn=partial(inside, space),
        )
    if not asked.stops_early(base):
        return FIFOScheduler()
    return ASHAScheduler(time_attr="round", grace_period=GRACE_ROUNDS, reduction_factor=REDUCTION, max_t=NO_LAST_ROUND)


def inside(space: Space, values: dict[str, Any]) -> dict[str, Any]:
    """Values whose ranges were left taken back to their ends: a population multiplies what it has."""
    ranges = {name: each for name, each in space.items() if not isinstance(each, Choices)}
    return values | {name: min(max(values[name], each.low), each.high) for name, each in ranges.items()}
