"""What a round costs beside the tensors' work: seconds, calls, and the coordinator's own time, against K.

    python -m launch.control_plane [--components 32 128 512] [--actors 64] [--nodes 4]

Each number of components is one run of the null family (`launch/null_family.py`) on a cluster of several raylets on
this machine: coordinator, workers, crew, block tasks and commits are the runtime's own, every actor is a process.
Prints a Markdown table; a run of 64 actors takes one to three minutes on 2 cores, most of it to start them.
"""

import logging
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import ray
import tyro
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from launch.null_family import Found, Mark, NullCoordinator
from raymix.config import (
    BalanceConfig,
    Config,
    DataConfig,
    DiscriminatorConfig,
    FamilyConfig,
    ResourcesConfig,
    ScheduleConfig,
)
from raymix.data.open import open_source
from raymix.data.source import DataSpec, block_bounds
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.run import Status
from raymix.runtime.local_ray import KEEP_IDLE_PROCESSES
from raymix.storage import Storage

START_S = 600
STORE_BYTES = 500 * 2**20  # of each node's object store
PHASES = ("train generators", "train discriminators", "score", "assign", "commit")


@dataclass(frozen=True)
class Arguments:
    """Run null components and print what a round costs."""

    components: tuple[int, ...] = (32, 128, 512)
    """Numbers of components."""
    actors: int = 64
    """Processes that hold them: half of them generators, half discriminators."""
    nodes: int = 4
    """Raylets, beside the one with the coordinator."""
    rounds: int = 6
    """Rounds of each run; the median of all but the first two counts."""
    rows: int = 131_072
    """Rows of two float32 numbers."""
    blocks: int = 4
    """Blocks they are cut into."""


@dataclass(frozen=True)
class Measured:
    """One run: medians over its rounds."""

    num_components: int
    num_actors: int
    num_blocks: int
    round_s: float
    phases: dict[str, float]
    cpu_s: float
    """Processor time of the coordinator's process, per round."""
    private_bytes: int
    """Memory of the coordinator's process at the end."""
    calls: Counter[str]
    """Remote calls of a round by name, from the coordinator and from actors."""
    actor_bytes: int
    """Private memory of an actor."""

    @property
    def calls_per_component(self) -> float:
        return self.calls.total() / self.num_components


def null_run(num_components: int, pack: int, num_rows: int, num_blocks: int, rounds: int) -> tuple[Config, DataSpec]:
    """Config and data of a run of null components."""
    data = DataConfig(name="synthetic-9", num_rows=num_rows, offset=(0.0,), scale=(1.0,))
    spec = open_source(data).spec
    data = data.model_copy(update={"block_bytes": math.ceil(num_rows / num_blocks) * spec.row_bytes})
    config = Config(
        num_components=num_components,
        data=data,
        model=FamilyConfig(family="null"),
        discriminator=DiscriminatorConfig(body="mlp", widths=(1,), lowpass=0),
        schedule=ScheduleConfig(rounds=rounds, pretrain_epochs=0, epochs_per_round=1.0, report=False),
        balance=BalanceConfig(),
        resources=ResourcesConfig(pack=pack, fused=False, stall_s=300, place_s=120),
    )
    return config, spec


@contextmanager
def raylets(num_nodes: int, num_cpus: int) -> Iterator[None]:
    """A cluster on this machine that this process is connected to: a head, and nodes that say they have so many
    processors each."""
    # Ray puts its workers behind whatever else the machine does, and a round would be mostly waiting for the processor
    system = {**KEEP_IDLE_PROCESSES, "worker_niceness": 0}
    head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "_system_config": system}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(num_nodes):
            cluster.add_node(num_cpus=num_cpus, object_store_memory=STORE_BYTES)
        ray.init(address=cluster.address, namespace="raymix", log_to_driver=False, logging_level=logging.ERROR)
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def train(config: Config, spec: DataSpec, out: Path) -> tuple[list[Mark], Found, list[Found]]:
    """Do a run of null components on the connected cluster; what its coordinator measured. Raises what the run does."""
    uri = Storage.at(out).uri
    RunDirectory(Storage.at(uri)).create(config, spec, {})
    home = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options: dict[str, Any] = {"num_cpus": 0, "scheduling_strategy": home}
    actor_class: Any = ray.remote(**options)(NullCoordinator)
    coordinator = actor_class.remote(config.model_dump_json(), spec, uri, out.name)
    try:
        while True:
            status: Status = ray.get(coordinator.status.remote(), timeout=START_S)
            if status.failure:
                raise status.failure
            if status.ended:
                found: tuple[list[Mark], Found, list[Found]] = ray.get(coordinator.measured.remote())
                return found
            time.sleep(1.0)
    finally:
        ray.kill(coordinator)


def measured(arguments: Arguments, num_components: int, out: Path) -> Measured:
    """One run. Raises `RuntimeError` when a process has loaded torch, which would measure something else."""
    pack = math.ceil(2 * num_components / arguments.actors)
    config, spec = null_run(num_components, pack, arguments.rows, arguments.blocks, arguments.rounds)
    marks, own, actors = train(config, spec, out)
    if own.torch or any(each.torch for each in actors):
        raise RuntimeError("a process of the run has loaded torch")
    return summary(config, len(block_bounds(spec, config.data.block_bytes)), marks, own, actors)


def summary(config: Config, num_blocks: int, marks: list[Mark], own: Found, actors: list[Found]) -> Measured:
    """Medians over all rounds but the first two: round 0 trains nothing, and in round 1 processes are still started."""
    pairs = list(pairwise(marks[1:]))
    per_round = [later.calls - earlier.calls for earlier, later in pairs]
    nested = sum((each.calls for each in actors), Counter[str]())  # since their start: each round has one commit
    calls = Counter({name: int(median(each[name] for each in per_round)) for name in per_round[-1]})
    calls += Counter({f"{name} of actors": round(num / len(marks)) for name, num in nested.items()})
    return Measured(
        num_components=config.num_components,
        num_actors=len(actors),
        num_blocks=num_blocks,
        round_s=median(later.wall_s - earlier.wall_s for earlier, later in pairs),
        phases={phase: median(mark.seconds[phase] for mark in marks[2:]) for phase in PHASES},
        cpu_s=median(later.cpu_s - earlier.cpu_s for earlier, later in pairs),
        private_bytes=own.private_bytes,
        calls=calls,
        actor_bytes=int(median(each.private_bytes for each in actors)),
    )


def table(found: list[Measured]) -> str:
    """Markdown: a line per run."""
    head = ["K", "actors", "a round", *PHASES, "calls per component", "coordinator CPU", "its memory", "an actor's"]
    lines = [head, ["---"] * len(head)]
    for each in found:
        seconds = [f"{each.round_s:.2f} s", *(f"{each.phases[phase]:.2f}" for phase in PHASES)]
        memory = [f"{each.private_bytes / 2**20:.0f} MiB", f"{each.actor_bytes / 2**20:.0f} MiB"]
        calls = [f"{each.calls_per_component:.2f}", f"{each.cpu_s:.2f} s"]
        lines.append([str(each.num_components), str(each.num_actors), *seconds, *calls, *memory])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def exponent(found: list[Measured], read: Callable[[Measured], float]) -> float:
    """Slope of the log of a value over log K."""
    return float(
        np.polyfit(np.log([each.num_components for each in found]), np.log([read(each) for each in found]), 1)[0]
    )


def main(arguments: Arguments) -> int:
    found: list[Measured] = []
    with raylets(arguments.nodes, math.ceil(arguments.actors / arguments.nodes)):
        for num in arguments.components:
            with tempfile.TemporaryDirectory(prefix="raymix-control-") as folder:
                start = time.monotonic()
                found.append(measured(arguments, num, Path(folder) / f"null-{num}"))
            print(f"K = {num}: {time.monotonic() - start:.0f} s in all, {dict(found[-1].calls)}", file=sys.stderr)
            print(table(found[-1:]), file=sys.stderr, flush=True)
    print(table(found))
    if len(found) > 1:
        print(f"\nSlope over K: a round {exponent(found, lambda each: each.round_s):.2f}, ", end="")
        print(f"coordinator CPU {exponent(found, lambda each: each.cpu_s):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=Arguments.__doc__)))
