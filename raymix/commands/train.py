"""`raymix train` and `raymix resume`.

What trains is imported when something is to be trained: torch and Ray take seconds, and neither help nor mistakes need
them.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, make_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from raymix.commands.directory import RUNS, new_directory, run_directory
from raymix.commands.outcome import print_outcome
from raymix.commands.parsing import WHERE, option, options, parse
from raymix.commands.progress import watching
from raymix.commands.settings import config_of, option_names, options_of, with_family
from raymix.commands.signals import interruptible
from raymix.config import Config
from raymix.config_values import dump_config, load_config
from raymix.data.source import DataSpec
from raymix.data.written import require_apart
from raymix.errors import ConfigError
from raymix.recipes.catalogue import recipe, with_data
from raymix.storage import Storage

if TYPE_CHECKING:
    from raymix.runtime.actors import Process

DEFAULT_RECIPE = "digits"
DETACHED_VERBS = {"status": "state", "logs": "read along", "resume": "wait for its end", "stop": "end it"}


@dataclass(frozen=True)
class Train:
    """Train a mixture on a recipe's data or on a file.

    Every field of the config is an option; what is shown as its default is the recipe's value.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[RECIPE]")] = DEFAULT_RECIPE
    """A complete config to start from, as `raymix recipes` lists them; comes first."""
    config: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Start from a YAML file instead, such as config.yaml of another run."""
    data: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Train on the rows of a file or folder; all other settings stay, the networks are fitted to its shape."""
    out: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """Run directory; unset: a new folder runs/RECIPE-001."""
    workers: Literal["ray", "local"] = "ray"
    """Ray actors, or everything in this process."""
    address: Annotated[str | None, tyro.conf.arg(metavar="A")] = None
    """A running Ray cluster (auto, host:port or ray://...); unset: a local Ray starts by itself."""
    detach: bool = False
    """Start the run on the cluster of --address and return at once: it goes on by itself."""
    wait_for_resources: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0
    """Wait so long for nodes that the cluster lacks, as one that autoscales does at first."""
    dry_run: bool = False
    """Read the data, print the resolved config and what would run; write nothing."""


@dataclass(frozen=True)
class Resume:
    """Go on with a run from its last complete round; of a finished run nothing is done."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """Run directory."""
    workers: Literal["ray", "local"] = "ray"
    """Ray actors, or everything in this process."""
    address: Annotated[str | None, tyro.conf.arg(metavar="A")] = None
    """A running Ray cluster (auto, host:port or ray://...); unset: a local Ray starts by itself."""
    detach: bool = False
    """Start the run on the cluster of --address and return at once: it goes on by itself."""
    wait_for_resources: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0
    """Wait so long for nodes that the cluster lacks, as one that autoscales does at first."""


def train(argv: list[str]) -> None:
    started = time.monotonic()
    arguments, config, name = parse_train(argv, Train, "train")
    check_address(arguments, arguments.out)
    if arguments.out is not None:
        run_directory(arguments.out).require_new()  # before all rows are read
    require_apart(arguments.out or str(RUNS / name), config.data)
    from raymix import session
    from raymix.recipes.resolve import resolve

    config, spec = resolve(config)
    if arguments.dry_run:
        print(dump_config(config), end="")
        for line in plan_lines(config, spec, arguments.workers, arguments.out or f"a new folder runs/{name}-..."):
            print(f"# {line}")
        return
    with new_directory(arguments.out, name) as out:
        say(f"run directory {out}")
        with interruptible(), resumable(out), watching(config.schedule.rounds, spec.num_rows) as watch:
            session.start(config, spec, out, **where_to(arguments, out), watch=watch)
    if not arguments.detach:
        tell_end(config, out, time.monotonic() - started)


def resume(argv: list[str]) -> None:
    started = time.monotonic()
    arguments = parse(Resume, argv, "resume")
    out = arguments.directory
    check_address(arguments, out)
    directory = run_directory(out)
    config, spec = directory.load()
    last = directory.last()
    done = last.state.round if last else -1
    from raymix import session

    with interruptible(), resumable(out), watching(config.schedule.rounds, spec.num_rows, done) as watch:
        did_anything = session.resume(out, **where_to(arguments, out), watch=watch)
    if not did_anything:
        say("the run was finished already")
    if not (arguments.detach and did_anything):
        tell_end(config, out, time.monotonic() - started)


def parse_train(argv: list[str], kind: type, command: str) -> tuple[Any, Config, str]:
    """The arguments, the config they describe, and a name for the run. `kind` holds the options of a command beside the
    config's.

    What decides the defaults (recipe, file, data, family) is looked up first; the options are then those of the
    resulting config.
    """
    named, base, name = base_config(argv)
    options = options_of(base)
    # An empty name lifts the config's fields to the top: --seed, not --settings.seed.
    settings = ("settings", Annotated[options, tyro.conf.arg(name="")], field(default_factory=options))
    whole = make_dataclass(kind.__name__, [settings], bases=(kind,), frozen=True, namespace={"__doc__": kind.__doc__})
    arguments: Any = parse(whole, argv, command, option_names(base))
    if named is None and arguments.recipe != DEFAULT_RECIPE:
        raise ConfigError("the recipe does not come first", WHERE, f"write `raymix {command} {arguments.recipe} ...`")
    return arguments, config_of(arguments.settings, WHERE), name


def base_config(argv: list[str]) -> tuple[str | None, Config, str]:
    """The recipe that comes first, if one does; the config that the options change, with the data and family that they
    name; a name for the run. Raises `ConfigError`, `DataError`."""
    named = argv[0] if argv and not argv[0].startswith("-") else None
    base, name = starting_config(named, option(argv, "config"))
    data = option(argv, "data")
    if data is not None:
        links_within, columns = option(argv, "data.links-within"), options(argv, "data.columns")
        base, name = with_data(base, data, links_within=links_within, columns=columns), Path(data).resolve().stem
    return named, with_family(base, option(argv, "model.family"), WHERE), name


def starting_config(named: str | None, file: str | None) -> tuple[Config, str]:
    """What the options change: a recipe or a file, and a name for the run. Raises `ConfigError`."""
    if file is None:
        return recipe(named or DEFAULT_RECIPE), named or DEFAULT_RECIPE
    if named is not None:
        raise ConfigError(f"both a recipe ({named}) and --config {file} are given", WHERE, "give one of them")
    return load_config(file), Path(file).resolve().stem


def check_address(arguments: Any, out: str | None) -> None:
    """Raises `ConfigError` where workers, address and run directory do not go together."""
    address: str | None = arguments.address
    if arguments.workers == "local" and address is not None:
        raise ConfigError("an address is given and --workers local uses no cluster", "--address", "drop one of them")
    if arguments.detach and address is None:
        raise ConfigError("a run cannot outlive a Ray that ends with this command", "--detach", "add --address A")
    if address is not None and address.startswith("ray://") and (out is None or Storage.at(out).is_local):
        todo = "name one that every machine reaches, such as s3://BUCKET/RUN"
        raise ConfigError("a local run directory is not on the cluster that ray:// leads to", out or "--out", todo)


def where_to(arguments: Any, out: str) -> dict[str, Any]:
    """The arguments that say where a run goes."""
    detached = partial(tell_detached, out, arguments.address) if arguments.detach else None
    where = {"workers": arguments.workers, "address": arguments.address, "wait_s": arguments.wait_for_resources}
    return where | {"detached": detached}


def tell_detached(out: str, address: str, process: "Process") -> None:
    """How to go on with a run that goes on by itself."""
    place = Storage.at(out)
    print(f"run: {place.uri}\ncoordinator: process {process.pid} on {process.node_ip}")
    for verb, more in (("status", ""), ("logs", " --follow"), ("resume", ""), ("stop", "")):
        print(f"{DETACHED_VERBS[verb]}: raymix {verb} {place.uri} --address {address}{more}")
    if place.is_local:
        say(f"a local run directory ties the run, and the commands above, to this node ({process.node_ip})")


def tell_end(config: Config, out: str, seconds: float) -> None:
    """How a run ended that this command has watched."""
    done = print_outcome(out, seconds)
    if done < config.schedule.rounds:
        say(f"stopped after round {done} of {config.schedule.rounds}; go on with `raymix resume {out}`")


def plan_lines(config: Config, spec: DataSpec, workers: str, out: str) -> list[str]:
    """What would run, in a few lines."""
    return [
        f"would train {numbers(config)} x {config.model.family} (mode {config.mode}, seed {config.seed})",
        f"on {spec.num_rows:,} rows of {spec.row_shape} {spec.dtype} ({spec.name})",
        f"for {config.schedule.rounds} rounds with --workers {workers} into {out}",
    ]


def numbers(config: Config) -> str:
    """How many components."""
    schedule, num = config.schedule, len(config.components)
    return f"{num} ({schedule.min_components} to {schedule.max_components})" if schedule.adapt else str(num)


@contextmanager
def resumable(out: str) -> Iterator[None]:
    """Tells whoever interrupts a run how to go on with it."""
    try:
        yield
    except KeyboardInterrupt:
        if run_directory(out).holds_run:
            say(f"go on with `raymix resume {out}`")
        raise


def say(text: str) -> None:
    print(f"raymix: {text}", file=sys.stderr)
