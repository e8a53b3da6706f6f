"""What `raymix bench` measures: steps over shapes and numbers of components, a whole round, and one component alone."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raymix import session
from raymix.bench.gpu import GPUUse, gpu_use
from raymix.bench.plain import PlainLoop, plain_round
from raymix.bench.timing import REPEATS, TIMED_S, Timing, timings
from raymix.bench.ways import Actors, Shape, Way, local, plain
from raymix.config_values import replaced
from raymix.data.blocks import read_blocks
from raymix.data.source import block_bounds
from raymix.families.vae import VAEConfig
from raymix.recipes.catalogue import recipe
from raymix.recipes.resolve import resolve
from raymix.runs.run import Status

COMPONENTS = (1, 3, 9, 15, 32)
LONGEST_S = 4.0  # of one step of every component, above which a case is left out
ROUNDS = 8
ALONE_S = 20.0  # of work of one component

PLAIN, THREADS, COMPILED, LOOP, FUSED, ACTORS, PACKS = (
    "plain loop",
    "plain, all cores",
    "plain, compiled",
    "loop",
    "fused",
    "Ray actors",
    "Ray packs",
)
WAYS = (PLAIN, THREADS, COMPILED, LOOP, FUSED, ACTORS, PACKS)
Say = Callable[[str], None]


@dataclass
class Found:
    """Everything that was measured."""

    steps: dict[tuple[str, int], dict[str, Timing]] = field(default_factory=dict)
    """Seconds per step of every component, by shape, number of components and way."""
    round_s: dict[str, Timing] = field(default_factory=dict)
    alone_s: dict[str, Timing] = field(default_factory=dict)
    use: dict[tuple[str, int], GPUUse] = field(default_factory=dict)
    """Of fused steps on a GPU, as `steps`."""

    @property
    def ratios(self) -> dict[str, float]:
        """How many times faster than the plain loop; `k1_overhead` is what Ray adds for one component."""
        found: dict[str, float] = {}

        def ratio(name: str, times: dict[str, Timing], before: str, after: str) -> None:
            if before in times and after in times:
                found[name] = times[before].median / times[after].median

        for (shape, num), times in self.steps.items():
            ratio(f"{shape}_k{num}_fused", times, PLAIN, FUSED)
            ratio(f"{shape}_k{num}_packs", times, PLAIN, PACKS)
            ratio(f"{shape}_k{num}_actors", times, PLAIN, ACTORS)
            ratio(f"{shape}_k{num}_fused_to_compiled", times, COMPILED, FUSED)
            ratio(f"{shape}_k{num}_actors_to_all_cores", times, THREADS, ACTORS)
            ratio(f"{shape}_k{num}_packs_to_all_cores", times, THREADS, PACKS)
        if "conv_k15_packs" in found:  # the better of what `resources.pack: auto` chooses between
            found["conv_k15_two_actors"] = max(found["conv_k15_actors"], found["conv_k15_packs"])
        ratio("round_ray_synthetic9", self.round_s, PLAIN, PACKS)
        if self.alone_s:
            found["k1_overhead"] = self.alone_s[ACTORS].median / self.alone_s[PLAIN].median - 1
        return found

    @property
    def steady(self) -> bool:
        times = [timing for each in self.steps.values() for timing in each.values()]
        return all(timing.steady for timing in (*times, *self.round_s.values(), *self.alone_s.values()))


def measure_steps(found: Found, shape: Shape, components: Sequence[int], say: Say, repeats: int = REPEATS) -> None:
    """Steps of every number of components, each way, on the connected Ray."""
    cores = os.cpu_count() or 1
    components = [num for num in components if num in (shape.components or components)]
    one = timings({PLAIN: plain(shape, 1)}, repeats=1, timed_s=TIMED_S / 3)[PLAIN].median
    fitting = [num for num in components if one * num <= LONGEST_S]
    for num in set(components) - set(fitting):
        say(f"{shape.name} K = {num} is left out: a step of the plain loop takes about {one * num:.0f} s")
    if not fitting:
        return
    most = max(fitting)
    with (
        actors_of(shape, most, min(most, cores), fused=False) as alone,
        actors_of(shape, most, min(most, cores), fused=True) as packs,
    ):
        for num in fitting:
            ways: dict[str, Way] = {PLAIN: plain(shape, num)}
            if not torch.cuda.is_available():
                ways[THREADS] = plain(shape, num, cores)
            elif num == 1 and isinstance(shape.config.model, VAEConfig):  # each model is compiled by itself
                ways[COMPILED] = plain(shape, num, compiled=True)
            ways |= {
                LOOP: local(shape, num, fused=False),
                FUSED: local(shape, num, fused=True),
                ACTORS: alone.way(num),
                PACKS: packs.way(num),
            }
            found.steps[shape.name, num] = timings(ways, repeats)
            if torch.cuda.is_available():
                found.use[shape.name, num] = gpu_use(ways[FUSED], shape, num)
            say(f"{shape.name} K = {num}")


@contextmanager
def actors_of(shape: Shape, num: int, num_actors: int, fused: bool) -> Iterator[Actors]:
    """Actors that end with the block."""
    actors = Actors(shape, num, num_actors, fused)
    try:
        yield actors
    finally:
        actors.close()


def measure_round(found: Found, say: Say, repeats: int = REPEATS) -> None:
    """Whole rounds of synthetic-9: training, discriminators, scoring, assignment, and on Ray the commit too."""
    config, spec = resolve(replaced(recipe("synthetic-9"), {"schedule.rounds": ROUNDS}))
    assert isinstance(config.model, VAEConfig)
    blocks = list(read_blocks(config.data, spec, block_bounds(spec, config.data.block_bytes)))
    assert config.data.offset and config.data.scale
    rows = torch.from_numpy(np.concatenate([block.rows for block in blocks]) - np.array(config.data.offset))
    rows = (rows * torch.tensor(config.data.scale)).float()
    num, batch_size = config.num_components, config.schedule.batch_size
    steps = round(config.schedule.epochs_per_round * spec.num_rows / batch_size / num)
    loop, fakes = PlainLoop(config.model, rows, num, batch_size), config.discriminator.fakes
    found.round_s = {PLAIN: Timing(), PACKS: Timing()}

    def some_plain_rounds(count: int) -> None:
        for _ in range(count):
            start = time.perf_counter()
            loop.shards = tuple(plain_round(loop, rows, config.discriminator, steps, int(fakes)))
            found.round_s[PLAIN].seconds.append(time.perf_counter() - start)

    some_plain_rounds(-(-repeats // 2))
    ends: list[float] = []

    def watch(status: Status) -> None:
        ends.extend([time.perf_counter()] * len(status.lines))

    with tempfile.TemporaryDirectory(prefix="raymix-bench-") as folder:
        session.start(config, spec, str(Path(folder) / "run"), watch=watch)
    # rounds are looked at now and then, so only their mean is known; the first ones wait for processes to start
    found.round_s[PACKS].seconds = [(ends[-1] - ends[1]) / (len(ends) - 2)]
    some_plain_rounds(-(-repeats // 2))
    say("a round of synthetic-9")


def measure_alone(found: Found, shape: Shape, say: Say, work_s: float = ALONE_S, repeats: int = REPEATS) -> None:
    """One component through Ray against the bare loop."""
    with actors_of(shape, 1, 1, fused=False) as actor:
        found.alone_s = timings({PLAIN: plain(shape, 1), ACTORS: actor.way(1)}, repeats, work_s / repeats)
    say("one component alone")


def as_json(found: Found) -> dict[str, Any]:
    """Medians in milliseconds and ratios."""
    steps = [
        {"shape": shape, "components": num, "ms_per_step": {way: 1e3 * t.median for way, t in times.items()}}
        for (shape, num), times in found.steps.items()
    ]
    rounds = {way: timing.median for way, timing in found.round_s.items()}
    use = [{"shape": shape, "components": num, **each._asdict()} for (shape, num), each in found.use.items()]
    return {"steps": steps, "round_synthetic9_s": rounds, "gpu": use}
