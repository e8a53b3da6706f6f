"""Seconds per round against the number of components, at a fixed number of rows.

    python -m launch.scaling_table [--recipe mnist-small] [--components 1 2 4 8 16 32] [--trunks shared separate]

Every run gives each round the same epochs of generator training, shared by all components, so that only what grows with
K grows: separate discriminators see all rows once each. `exponent` is the slope of log seconds over log K; `15 to 1`
compares K = 15 with K = 1 where both were run. About 15 minutes on 2 cores.
"""

import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

PHASES = ("train generators", "train discriminators", "score", "assign", "commit")


@dataclass(frozen=True)
class Arguments:
    """Train a recipe for a few rounds with each number of components, and print seconds per round."""

    recipe: str = "mnist-small"
    """Whose data, networks and budgets are taken."""
    data_dir: str | None = None
    """Where the files of its data set lie."""
    components: tuple[int, ...] = (1, 2, 4, 8, 15, 16, 32)
    """Numbers of components."""
    trunks: tuple[str, ...] = field(default=("shared", "separate"))
    """Forms of the discriminator."""
    rounds: int = 3
    """Timed rounds of each run; the median counts."""
    workers: str = "ray"
    """Where it runs: ray or local."""


def seconds(arguments: Arguments, trunk: str, num: int) -> dict[str, float]:
    """Median seconds of each phase of a round, and of the whole round."""
    from raymix import session
    from raymix.config_values import replaced
    from raymix.recipes.catalogue import recipe
    from raymix.recipes.resolve import resolve
    from raymix.runs.record import read_record
    from raymix.storage import Storage

    changes: dict[str, Any] = {
        "num_components": num,
        "discriminator.body": "auto",
        "discriminator.trunk": trunk,
        "discriminator.guard_loss": 0.0,  # so that every run makes its full number of steps
        "schedule.pretrain_epochs": 0.1,
        "schedule.rounds": arguments.rounds,
        "schedule.settle": 0,
        "data.dir": arguments.data_dir,
    }
    config, spec = resolve(replaced(recipe(arguments.recipe), changes))
    with tempfile.TemporaryDirectory(prefix="raymix-scaling-") as folder:
        session.start(config, spec, str(Path(folder) / "run"), workers=arguments.workers)  # type: ignore[arg-type]
        lines = read_record(Storage.at(Path(folder) / "run"))[1:]
    found = {phase: median(line.seconds[phase] for line in lines) for phase in PHASES}
    return found | {"round": sum(found.values())}


def main(arguments: Arguments) -> int:
    os.environ["OMP_NUM_THREADS"] = "1"
    console = Console(width=120)
    for trunk in arguments.trunks:
        found: dict[int, dict[str, float]] = {}
        for num in arguments.components:
            found[num] = seconds(arguments, trunk, num)
            print(trunk, num, found[num], file=sys.stderr, flush=True)
        console.print(table(arguments, trunk, found))
        judging = {num: each["train discriminators"] + each["score"] for num, each in found.items()}
        console.print(
            f"{trunk}: exponent of a round {exponent({k: each['round'] for k, each in found.items()}):.2f}, ", end=""
        )
        console.print(f"of judging {exponent(judging):.2f}")
        if {1, 15} <= found.keys():
            console.print(f"{trunk}: judging with 15 to 1: {judging[15] / judging[1]:.2f}x")
    return 0


def table(arguments: Arguments, trunk: str, found: dict[int, dict[str, float]]) -> Table:
    """A row per number of components."""
    shown = Table("K", *PHASES, "round", title=f"{arguments.recipe}, {trunk}: seconds per round (median)")
    for num, each in found.items():
        shown.add_row(str(num), *(f"{each[phase]:.3g}" for phase in (*PHASES, "round")))
    return shown


def exponent(values: dict[int, float]) -> float:
    """Slope of log values over log K."""
    return float(np.polyfit(np.log(list(values)), np.log(list(values.values())), 1)[0])


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=Arguments.__doc__)))
