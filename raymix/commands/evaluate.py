"""`raymix evaluate`."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from raymix import evaluation
from raymix.commands.directory import run_directory
from raymix.commands.parsing import parse
from raymix.errors import ConfigError
from raymix.mixture import Mixture


@dataclass(frozen=True)
class Evaluate:
    """Measure a trained mixture: likelihood of held-out rows, coverage of known modes, agreement with known classes.

    A measure that the data set does not allow is null.
    """

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """Run directory."""
    json: bool = False
    """Print one JSON object."""
    num_samples: int = evaluation.NUM_SAMPLES
    """Rows drawn from the mixture."""
    seed: int = 0
    """Seed of these rows."""


def evaluate(argv: list[str]) -> None:
    arguments = parse(Evaluate, argv, "evaluate")
    if arguments.num_samples < 1:
        raise ConfigError(f"is {arguments.num_samples}", "--num-samples", "draw one row at least")
    check_seed(arguments.seed)
    measures = measured(arguments)
    if arguments.json:
        print(json.dumps(measures))
        return
    for name, value in measures.items():
        print(f"{name}: {plain(value)}")


def measured(arguments: Evaluate) -> dict[str, Any]:
    mixture = Mixture.load(run_directory(arguments.directory).storage.uri)
    return mixture.evaluate(num_samples=arguments.num_samples, seed=arguments.seed)


def check_seed(seed: int) -> None:
    if seed < 0:
        raise ConfigError(f"is {seed}", "--seed", "give 0 or more")


def plain(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return " ".join(plain(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
