"""`raymix evaluate`."""

import json
import logging
import sys
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from raymix.commands.directory import run_directory
from raymix.commands.parsing import parse
from raymix.errors import CheckpointError
from raymix.evaluation.evaluate import evaluate_generation
from raymix.metrics.catalogue import MEASURES
from raymix.runs.record import EVALUATION

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluate:
    """Measure a trained mixture at its last round: samples against real rows, shards against known classes.

    A measure that the data set does not allow is null. The answer is kept in DIR/evaluation.json, where `raymix
    compare` and `raymix report` find it. What is not given here is as the run's config has it.
    """

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """Run directory."""
    json: bool = False
    """Print one JSON object."""
    num_samples: int | None = None
    """Rows drawn from the mixture, and at most so many real rows that they are compared with."""
    seed: int | None = None
    """Seed of these rows."""
    features: Literal["auto", "classifier", "inception", "pixels", "none"] | None = None
    """What images are compared by; auto is a classifier where the data has labels (trained at the first time), else
    Inception where its weights are, else nothing."""
    inception_weights: str | None = None
    """File of pytorch-fid's Inception weights; unset: where pytorch-fid keeps them."""
    bandwidth: float | None = None
    """Standard deviation of the kernel density's Gaussians, in data units."""
    inversions: int | None = None
    """Held-out rows whose nearest sample is looked for by descent on the latent (IvOM)."""


def evaluate(argv: list[str]) -> None:
    arguments = parse(Evaluate, argv, "evaluate")
    measures = measured(arguments.directory, **settings_of(arguments))
    if arguments.json:
        print(json.dumps(measures))
    else:
        print_measures(measures)


def settings_of(arguments: Evaluate) -> dict[str, Any]:
    """What was given on the command line."""
    given = asdict(arguments)
    return {name: given[name] for name in given if name not in ("directory", "json") and given[name] is not None}


def measured(location: str, **settings: Any) -> dict[str, Any]:
    """The measures of a run at its last round, kept in its directory."""
    directory = run_directory(location)
    directory.load()  # before anything else: is there a run?
    generation, measures = directory.look(lambda last: evaluate_generation(directory, last, **settings))
    try:
        directory.storage.write_json(EVALUATION, {"generation": generation.name, "measures": measures})
    except CheckpointError as error:
        log.warning("the answer cannot be kept: %s", error)
    return measures


def print_measures(measures: dict[str, Any]) -> None:
    """A line per measure, with the value of real rows and what it means; then what was compared, and the components."""
    console = Console(file=sys.stdout)
    known = [name for name in MEASURES if measures[name] is not None]
    rows = [
        (name, plain(measures[name]), plain(measures["real"].get(name)), MEASURES[name].definition) for name in known
    ]
    if console.is_terminal:
        table = Table("measure", "value", "real rows", "definition")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    else:
        for name, value, real, definition in rows:
            print(
                f"{name}: {value}  (real rows: {real}) {definition}"
                if real != "-"
                else f"{name}: {value}  {definition}"
            )
    print(f"num_samples: {measures['num_samples']}, seed: {measures['seed']}")
    for name, value in measures["about"].items():
        print(f"{name}: {plain(value)}")
    for each in measures["components"]:
        own = ", ".join(f"{name} {plain(value)}" for name, value in each.items() if name != "component")
        print(f"component {each['component']}: {own}")


def plain(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
