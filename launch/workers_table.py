"""One component trained by one worker and by several, on Ray: how far their losses are apart, and seconds per step.

    python -m launch.workers_table --data-dir ... [--workers 2] [--batch-size 256] [--steps 100]

The loss of every step is compared. Rounding alone sets runs apart too, the farther the less calm the training is: `one
rounding` is by how much the loss of one worker changes when its first weights are moved by 1e-7 of their size. Timed
phases are of many steps, in turn by one worker and by all, and with what it takes the workers to meet; `processor ms`
is what each worker computes in a step, which tells what free processors would do. A few minutes on 2 cores.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import tyro
from rich.console import Console
from rich.table import Table

from raymix.bench.timing import enough
from raymix.config import Config
from raymix.config_values import replaced
from raymix.data.blocks import read_blocks
from raymix.data.source import DataSpec, block_bounds
from raymix.recipes.catalogue import recipe
from raymix.recipes.resolve import resolve
from raymix.runtime.actors import GeneratorActor, Meeting
from raymix.runtime.driver import cluster
from raymix.state import Assigned

NETWORKS: dict[str, dict[str, Any]] = {
    "vae mlp": {"family": "vae", "body": "mlp", "encoder": (128,), "decoder": (128,), "learning_rate": 1e-3},
    "vae conv, BatchNorm": {"family": "vae", "encoder": (16, 32, 64), "decoder": (64, 32), "learning_rate": 1e-4},
    "dcgan, BatchNorm": {"family": "dcgan", "filters": 64, "learning_rate": 1e-5},
}
MOVED = 1e-7


@dataclass(frozen=True)
class Arguments:
    """Train one component of some kinds with one worker and with several, at the same batch."""

    data_dir: str | None = None
    """Where the files of MNIST lie."""
    workers: int = 2
    """How many are compared with one."""
    batch_size: int = 256
    """Rows of a batch, whoever computes them."""
    steps: int = 100
    """Steps whose losses are compared."""
    repeats: int = 5
    """Timings of each; the median counts."""
    timed_s: float = 2.0
    """Seconds of each timing, at least."""


class Actor(GeneratorActor):
    """One that also tells the loss of each step, and what it computed."""

    def losses(
        self, steps: int, rows_B: list[Any], assigned_B: list[Any], rank: int, meeting: Meeting | None
    ) -> list[float]:
        """The losses of so many phases of one step."""
        from raymix.seeds import Phase
        from raymix.training.shards import shards

        own = shards(self.fetcher.blocks(rows_B), self.fetcher.each(assigned_B), (0,))
        with self.team(rank, self.config.resources.workers_per_component, meeting, "losses") as team:
            fits = [
                self.pack.train(Phase.TRAIN_GENERATOR, t, own, {0: 1}, self.count, team) for t in range(1, steps + 1)
            ]
        return [fit.loss for (fit,) in fits]

    def processor_s(self) -> float:
        """Processor time of this process."""
        return time.process_time()


class Workers:
    """Actors that train the one component of a config."""

    def __init__(self, config: Config, spec: DataSpec, rows: Any, assigned: Any) -> None:
        actor: Any = ray.remote(num_cpus=0, concurrency_groups={"watch": 1})(Actor)  # type: ignore[call-overload]
        num = config.resources.workers_per_component
        self.actors = [actor.remote(config.model_dump_json(), spec, (0,)) for _ in range(num)]
        self.rows, self.assigned, self.round = [rows], [assigned], 0
        self.initialise()

    def initialise(self, moved: float = 0.0) -> None:
        """Begin with first weights, moved by so much of their size."""
        ray.get([each.initialise.remote(self.rows) for each in self.actors])
        if moved:
            state = ray.get(self.actors[0].state.remote(0))
            ray.get([each.load.remote({"generator-00000.safetensors": nudged(state, moved)}) for each in self.actors])

    def meeting(self) -> Meeting | None:
        """Where they meet; None for one alone."""
        return ray.get(self.actors[0].meeting_point.remote()) if self.actors[1:] else None

    def train(self, steps: int) -> None:
        """Make so many steps in one phase."""
        self.round += 1
        steps_of, meeting = {0: steps}, self.meeting()
        calls = [
            each.train.remote(self.round, steps_of, self.rows, self.assigned, rank, meeting)
            for rank, each in enumerate(self.actors)
        ]
        ray.get(calls)

    def losses(self, steps: int) -> np.ndarray:
        """The loss of each of so many steps."""
        meeting = self.meeting()
        calls = [
            each.losses.remote(steps, self.rows, self.assigned, rank, meeting) for rank, each in enumerate(self.actors)
        ]
        return np.array(ray.get(calls)[0])

    def timed(self, steps: int) -> tuple[float, float]:
        """Seconds per step: that passed, and of each worker's processor."""
        computed, start = ray.get(self.actors[0].processor_s.remote()), time.perf_counter()
        self.train(steps)
        passed_s = time.perf_counter() - start
        return passed_s / steps, (ray.get(self.actors[0].processor_s.remote()) - computed) / steps

    def close(self) -> None:
        for each in self.actors:
            ray.kill(each)


def nudged(state: Mapping[str, np.ndarray], share: float) -> dict[str, np.ndarray]:
    """A component's tensors, the network's weights moved by so much of their size."""
    rng = np.random.default_rng(0)
    return {
        name: value * (1 + share * rng.standard_normal(value.shape)).astype(value.dtype)
        if name.startswith("network/")
        else value
        for name, value in state.items()
    }


def compared(arguments: Arguments, model: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The losses of each step, by one worker, by one that begins a rounding away and by all, and seconds per step,
    (one or all, passed or computed)."""
    changes = {
        "num_components": 1,
        "discriminator.body": "auto",
        "data.dir": arguments.data_dir,
        "model": model,
        "schedule.batch_size": arguments.batch_size,
        "resources.pack": 1,
    }
    config, spec = resolve(replaced(recipe("mnist-small"), changes))
    (block,) = read_blocks(config.data, spec, block_bounds(spec, config.data.block_bytes))
    nobody = np.empty(0, np.int32)
    rows = ray.put(block.rows)
    assigned = ray.put(Assigned(np.zeros(len(block.rows), np.int16), nobody, nobody.astype(np.int16)))
    several = replaced(config, {"resources.workers_per_component": arguments.workers})
    teams = [Workers(each, spec, rows, assigned) for each in (config, several)]
    try:
        one, together = (team.losses(arguments.steps) for team in teams)
        teams[0].initialise(MOVED)
        moved = teams[0].losses(arguments.steps)
        counts = [enough(team.train, arguments.timed_s) for team in teams]
        timings = np.array(
            [[team.timed(n) for team, n in zip(teams, counts, strict=True)] for _ in range(arguments.repeats)]
        )
    finally:
        for team in teams:
            team.close()
    return one, moved, together, np.median(timings, 0)


def main(arguments: Arguments) -> int:
    num = arguments.workers
    titles = ["loss, first and last", "largest difference", "share of the loss", "one rounding", "ms per step of 1"]
    titles += [f"of {num}", "times faster", "processor ms of 1", f"of each of {num}"]
    table = Table("component", *titles, title=f"batches of {arguments.batch_size} rows of MNIST")
    with cluster(None):
        for name, model in NETWORKS.items():
            one, moved, together, seconds = compared(arguments, model)
            apart = np.abs(one - together)
            rounding = (np.abs(one - moved) / np.abs(one)).max()
            (one_s, one_computed_s), (all_s, all_computed_s) = seconds
            cells = [f"{one[0]:.4g}, {one[-1]:.4g}", f"{apart.max():.1e}", f"{(apart / np.abs(one)).max():.1e}"]
            cells += [f"{rounding:.1e}", f"{1e3 * one_s:.1f}", f"{1e3 * all_s:.1f}", f"{one_s / all_s:.2f}"]
            cells += [f"{1e3 * one_computed_s:.1f}", f"{1e3 * all_computed_s:.1f}"]
            table.add_row(name, *cells)
            print(name, *cells, flush=True)
    Console(width=160).print(table)
    return 0


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    raise SystemExit(main(tyro.cli(Arguments, description=__doc__)))
