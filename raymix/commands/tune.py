"""`raymix tune`."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from raymix.commands.directory import RUNS, new_directory
from raymix.commands.parsing import WHERE, option, parse
from raymix.commands.settings import SHORT, config_of, option_names, options_of
from raymix.commands.signals import interruptible
from raymix.commands.train import base_config
from raymix.config import Config
from raymix.config_values import dump_config, known_fields
from raymix.data.written import require_apart
from raymix.errors import ConfigError, RaymixError
from raymix.report.trials import WIDTH, described, shown, trial_table
from raymix.runs.record import SEARCH
from raymix.runtime.driver import cluster
from raymix.search.api import prepared
from raymix.search.asked import Method, Scheduler, Search, Task, read_search
from raymix.search.match import Terms
from raymix.search.outcome import BEST, PAGE, failures, write_outcome
from raymix.search.space import Choices, Dimension, Space, option_dimension, read_space
from raymix.search.tuner import News, begin, prepared_environment, resume
from raymix.storage import Storage

PLACES = (  # may hold a comma or two dots
    "data.path",
    "data.dir",
    "data.labels",
    "data.links_within",
    "evaluation.inception_weights",
)


@dataclass(frozen=True)
class Tune:
    """Search over any fields of the config with Ray Tune; every trial is an ordinary run.

    A field becomes part of the search by a list (--num-components 1,2,4,8), a range (--model.latent 2..32) or a
    logarithmic range (--model.learning-rate log:1e-4..1e-2), or in the file of --space. Lists alone are a full grid,
    one trial each. --width scales all layers of a generator.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[RECIPE]")] = "digits"
    """A complete config to start from, as `raymix recipes` lists them; comes first."""
    config: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Start from a YAML file instead, such as config.yaml of a run."""
    data: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Train on the rows of a file or folder."""
    space: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """YAML file with the fields to vary: lists, {range: [low, high]} or {log: [low, high]}."""
    out: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """The search's directory; unset: a new folder runs/RECIPE-tune-001."""
    resume: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """Go on with a search whose driver ended; nothing else is asked then."""
    address: Annotated[str | None, tyro.conf.arg(metavar="A")] = None
    """A running Ray cluster; unset: a local Ray starts by itself."""
    metric: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """The measure to make best, on rows never trained on; auto is the likelihood of vectors and the Fréchet distance of
    images."""
    search: Method = "auto"
    """How trials are drawn; auto is the full grid of lists, Optuna's TPE where there is a range."""
    scheduler: Scheduler = "asha"
    """Whether ASHA stops trials that fall behind, never before round 3."""
    num_samples: int | None = None
    """Trials to draw; of a grid, how often it is repeated."""
    max_concurrent: int = 0
    """Trials at a time; 0 for as many as fit."""
    time_budget: Annotated[float | None, tyro.conf.arg(metavar="SECONDS")] = None
    """Start no trial after so many seconds, and stop those that go on."""
    wait_for_resources: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0
    """Wait so long for nodes that the cluster lacks, as one that autoscales does at first."""
    dry_run: bool = False
    """Read the data, print what trials start from and what is varied; write nothing."""
    match: Terms | None = None
    """Make trials equal to the base config in parameters (by width), or in steps or arithmetic (by rounds)."""


def tune(argv: list[str]) -> None:
    started = time.monotonic()
    if (directory := option(argv, "resume")) is not None:
        check_alone(argv)
        arguments = parse(Tune, argv, "tune")
        task = read_search(directory)[0]
        with interruptible(), resumable(directory), prepared_environment(), cluster(arguments.address):
            resume(directory, Teller(task.asked.metric))
        return finish(directory, time.monotonic() - started)
    arguments, config, space, name = parse_tune(argv)
    if arguments.dry_run:
        return print_plan(prepared(config, space, asked_of(arguments, config), arguments.out or "runs"), space)
    require_apart(arguments.out or str(RUNS / name), config.data)
    with new_directory(arguments.out, f"{name}-tune") as out:
        task = prepared(config, space, asked_of(arguments, config), out)
        print(f"raymix: search directory {out}; {plan(space, task)}", file=sys.stderr)
        with interruptible(), resumable(out), prepared_environment(), cluster(arguments.address):
            begin(task, space, Teller(task.asked.metric), arguments.wait_for_resources)
    finish(out, time.monotonic() - started)


def check_alone(argv: Sequence[str]) -> None:
    """Raises `ConfigError` for an option that a search has kept already."""
    others = [word for word in argv if word.startswith("--") and word.split("=")[0] not in ("--resume", "--address")]
    if others:
        raise ConfigError(f"is given with {others[0]}", "--resume", "a search goes on as it was asked: drop the rest")


def parse_tune(argv: list[str]) -> tuple[Any, Config, Space, str]:
    """The arguments, the config that trials start from, the fields they vary, and a name for the search.

    Raises `ConfigError`.
    """
    _, base, name = base_config(argv)
    listed, rest = listed_options(argv)
    file = option(rest, "space")
    space = (read_space(file) if file else {}) | listed
    options = options_of(base)
    settings = ("settings", Annotated[options, tyro.conf.arg(name="")], field(default_factory=options))
    kind = make_dataclass("Tune", [settings], bases=(Tune,), frozen=True, namespace={"__doc__": Tune.__doc__})
    arguments: Any = parse(kind, rest, "tune", option_names(base))
    return arguments, config_of(arguments.settings, WHERE), space, name


def listed_options(argv: Sequence[str]) -> tuple[Space, list[str]]:
    """The fields that the command line varies, and the words that do not. Raises `ConfigError`."""
    long = {short: name for name, short in SHORT.items()}
    space: Space = {}
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        name, given, value = word.removeprefix("--").partition("=")
        field = long.get(name, name).replace("-", "_")
        if not word.startswith("--") or field in PLACES or not (field == WIDTH or is_field(field)):
            rest.append(word)
            continue
        text = value if given else words[0] if words else ""
        values = option_dimension(field, text, f"--{name}")
        if values is None:
            rest.append(word)
            continue
        space[field] = values
        if not given:
            words.pop(0)
    return space, rest


def is_field(name: str) -> bool:
    """Whether a config may have such a field; those of a family are looked at later."""
    return name in known_fields() or name.startswith("model.")


def asked_of(arguments: Tune, config: Config) -> Search:
    """What the options ask of the search."""
    return Search(
        metric=arguments.metric,
        method=arguments.search,
        scheduler=arguments.scheduler,
        num_samples=arguments.num_samples,
        max_concurrent=arguments.max_concurrent,
        time_budget_s=arguments.time_budget,
        match=arguments.match,
        seed=config.seed,
    )


def plan(space: Space, task: Task) -> str:
    """What will be searched, in a line."""
    asked = task.asked
    how = f"{asked.method}{', ASHA' if asked.stops_early(task.base) else ''}"
    return f"{asked.num_trials(space)} trials ({how}), {asked.metric} is made best"


def print_plan(task: Task, space: Space) -> None:
    """What all trials start from, and what is varied."""
    print(dump_config(task.base), end="")
    for name, values in space.items():
        print(f"# varies {name}: {told(values)}")
    print(f"# would run {plan(space, task)}")


def told(values: Dimension) -> str:
    """A dimension as a person writes it."""
    if isinstance(values, Choices):
        return ", ".join(map(shown, values.values))
    return f"{'log:' if values.log else ''}{values.low:g}..{values.high:g}"


class Teller:
    """Prints what trials do, a line for each round of each."""

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def __call__(self, news: News) -> None:
        print(f"raymix: trial {news.trial} ({described(news.values)}): {self.said(news)}", file=sys.stderr, flush=True)

    def said(self, news: News) -> str:
        if news.failure:
            return f"failed: {news.failure}"
        if news.ended:
            return f"ended after round {news.round}"
        measured = "not measured" if news.metric is None else f"{self.metric} {news.metric:.4g}"
        return f"round {news.round}, {measured}"


@contextmanager
def resumable(out: str) -> Iterator[None]:
    """Tells whoever interrupts a search how to go on with it."""
    try:
        yield
    except KeyboardInterrupt:
        if Storage.at(out).exists(SEARCH):
            print(f"raymix: go on with `raymix tune --resume {out}`", file=sys.stderr)
        raise


def finish(out: str, seconds: float) -> None:
    """Write what the search found, and print it. Raises `CheckpointError` where no trial was measured, `RaymixError`
    where one failed."""
    trials, failed = write_outcome(out), failures(out)
    table = trial_table(trials, read_search(out)[0].asked.metric)
    console = Console(file=sys.stdout)
    if console.is_terminal:
        shown = Table(*table[0])
        for row in table[1:]:
            shown.add_row(*row)
        console.print(shown)
    else:
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            print("  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)))
    print(f"best: {described(trials[0].values)} (trial {trials[0].id}), in {out}/{BEST}")
    print(f"train it: raymix train --config {out}/{BEST}")
    print(f"page: {out}/{PAGE}")
    print(f"seconds: {seconds:.1f}")
    if failed:
        raise RaymixError(f"{len(failed)} trials failed", out, f"try them again with `raymix tune --resume {out}`")
