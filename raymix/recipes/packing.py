"""How the components of a run share actors: measured on this machine's hardware, for the run's own shapes.

A component may have an actor of its own or share one; those that share one may train as one batched model or one after
another. What is fastest depends on the networks and on the hardware, so a few steps of each are timed.
"""

import hashlib
import json
import math
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from raymix.budgets import equal_steps, pretrain_steps
from raymix.cache import cache_file, keep_whole
from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.models.base import ClosedForm
from raymix.models.registry import close, family_of
from raymix.models.stacked import Convolution
from raymix.seeds import Phase
from raymix.training.batches import RowView
from raymix.training.discriminators import DiscriminatorPack
from raymix.training.generators import GeneratorPack
from raymix.training.replay import first_calls
from raymix.training.setting import Setting, sees_gpu

START_S = 3.0  # of a processor's time until an actor has torch
TIMED_S = 0.1  # at least, for a figure to count
ROWS = 512  # random ones, that timed steps draw from


class Pace(NamedTuple):
    """Seconds that one step of a stack takes."""

    generators_s: float
    discriminators_s: float


class Packing(NamedTuple):
    """A way to share actors."""

    pack: int
    """Components per actor."""
    fused: bool
    """Whether they train as one batched model."""
    unfolded: bool = False
    """Whether that convolves by matrix products."""


Measure = Callable[[Config, DataSpec, Sequence[Packing]], list[Pace]]


def packed(
    config: Config, spec: DataSpec, slots: int, measure: Measure | None = None, on_gpu: bool = False
) -> tuple[Config, str]:
    """The config with `resources.pack`, `resources.fused` and `resources.convolutions` resolved for so many processors
    (or GPUs), and why.

    `measure` times stacks where the actors will run; here when it is not given.
    """
    config = close(config)
    candidates = choices(config, slots, on_gpu and convolves(config, spec))
    if len(candidates) == 1:
        return with_packing(config, candidates[0]), ""
    stacks = [each._replace(pack=each.pack if each.fused else 1) for each in candidates]
    unique = sorted(set(stacks))
    paces = dict(zip(unique, (measure or cached_paces)(config, spec, unique), strict=True))
    seconds = {each: run_seconds(config, spec, slots, each, paces) for each in candidates}
    in_order = sorted(candidates, key=lambda each: seconds[each])
    told = ", ".join(f"{described(each)} {seconds[each]:.3g} s" for each in in_order)
    return with_packing(config, in_order[0]), f"estimated for the whole run: {told}"


def choices(config: Config, slots: int, both_ways: bool = False) -> list[Packing]:
    """What `auto` may choose from: one actor, or as many as there are processors; fused or one after another; and
    perhaps two ways to convolve."""
    num, resources = config.most_components, config.resources
    family = family_of(config.model).build
    many, exact = math.ceil(num / max(1, slots)), issubclass(family, ClosedForm)  # which has no step to time
    packs = [num, many] if not config.schedule.adapt else [num]  # so that actors stay while K changes
    packs = [resources.pack] if resources.pack != "auto" else [many] if exact else packs
    packs = [1] if resources.workers_per_component > 1 else packs
    fused = [resources.fused] if resources.fused != "auto" else [True] if exact else [True, False]
    ways = {"grouped": [False], "unfolded": [True], "auto": [False, True] if both_ways else [False]}
    found = {
        Packing(pack, wanted and pack > 1, way)
        for pack in packs
        for wanted in fused
        for way in ways[resources.convolutions]
    }
    return sorted(found, reverse=True)


def convolves(config: Config, spec: DataSpec) -> bool:
    """Whether its generators have convolutions."""
    with torch.device("meta"):
        network = family_of(config.model).build(config.model, spec.row_shape)
    return any(isinstance(layer, Convolution) for layer in network.modules())


def with_packing(config: Config, packing: Packing) -> Config:
    """The config that asks for it."""
    convolutions = "unfolded" if packing.unfolded else "grouped"
    update = {"pack": packing.pack, "fused": packing.fused, "convolutions": convolutions}
    return config.model_copy(update={"resources": config.resources.model_copy(update=update)})


def described(packing: Packing) -> str:
    """As a person reads it."""
    return f"{packing.pack} per actor{' fused' if packing.fused else ''}{' unfolded' if packing.unfolded else ''}"


def run_seconds(config: Config, spec: DataSpec, slots: int, packing: Packing, paces: dict[Packing, Pace]) -> float:
    """Estimated seconds of training of a whole run, and of starting its actors."""
    schedule, num = config.schedule, len(config.components)
    packs = math.ceil(num / packing.pack)
    at_once = min(packs, max(1, slots))
    in_turn = math.ceil(packs / at_once)
    pace = paces[packing if packing.fused else packing._replace(pack=1)]
    times = in_turn * (1 if packing.fused else packing.pack)
    rows = schedule.epochs_per_round * spec.num_rows
    steps = schedule.rounds * equal_steps(rows, config, config.components)[0]
    steps += pretrain_steps(config, spec.num_rows, config.components)[0]
    separate = has_separate_discriminators(config)
    other_steps = (schedule.rounds + 1) * config.discriminator.steps(spec.num_rows) if separate else 0
    actors = packs * (2 if separate else 1)
    trained_s = steps * pace.generators_s + other_steps * pace.discriminators_s
    return times * trained_s + START_S * actors / max(1, slots)


def has_separate_discriminators(config: Config) -> bool:
    """Whether discriminators are packed as generators are."""
    return config.competes and not config.own_density and config.discriminator.trunk == "separate"


def paces(config: Config, spec: DataSpec, stacks: Sequence[Packing]) -> list[Pace]:
    """Time stacks of so many members in this process, on a GPU where there is one and the config wants it."""
    return [_pace(config, spec, each, sees_gpu(config)) for each in stacks]


def _pace(config: Config, spec: DataSpec, stack: Packing, use_gpu: bool) -> Pace:
    members, separate = tuple(range(stack.pack)), has_separate_discriminators(config)
    settings = config.discriminator.model_copy(update={"trunk": "separate", "epochs": 1.0, "guard_loss": 0.0})
    data = config.data.model_copy(update={"offset": (0.0,), "scale": (1.0,)})  # rows of 0 and 1 stay what they are
    changes = {"num_components": stack.pack, "discriminator": settings, "data": data}
    config = with_packing(config, stack).model_copy(update=changes)
    setting = Setting.of(config, spec, use_gpu)
    rows = np.random.default_rng(0).integers(0, 2, (ROWS, *spec.row_shape)).astype(spec.dtype)
    generators = GeneratorPack(setting, members)
    shards = dict.fromkeys(members, RowView([rows], None))
    generators_s = timed(lambda steps: generators.train(Phase.PRETRAIN, 0, shards, dict.fromkeys(members, steps)))
    if not separate:
        return Pace(generators_s, 0.0)
    discriminators, fakes = DiscriminatorPack(setting, members), generators.fakes(members, ROWS, 0)
    batch = settings.batch_size
    few = np.concatenate([rows] * math.ceil(64 * batch / ROWS))
    return Pace(generators_s, timed(lambda steps: discriminators.train(0, [few[: steps * batch]], fakes), most=64))


def timed(work: Callable[[int], object], most: int = 1024) -> float:
    """Seconds per step, from as many steps as take long enough; the first ones are not counted."""
    work(first_calls())
    steps = 2
    while True:
        start = time.perf_counter()
        work(steps)
        took = time.perf_counter() - start
        if took >= TIMED_S or steps >= most:
            return took / steps
        steps = min(most, steps * 4)


def cached_paces(config: Config, spec: DataSpec, stacks: Sequence[Packing]) -> list[Pace]:
    """What `paces` measures, or measured before on the same hardware."""
    path = cache_file("paces.json")
    try:
        known: dict[str, list[float]] = json.loads(path.read_text()) if path else {}
    except (OSError, ValueError):
        known = {}
    keys = [_key(config, spec, each) for each in stacks]
    missing = [each for key, each in zip(keys, stacks, strict=True) if key not in known]
    if missing:
        found = zip(missing, paces(config, spec, missing), strict=True)
        known |= {_key(config, spec, each): list(pace) for each, pace in found}
        keep_whole(path, json.dumps(known).encode())
    return [Pace(*known[key]) for key in keys]


def _key(config: Config, spec: DataSpec, stack: Packing) -> str:
    """Everything a pace depends on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else processor()
    shapes = [config.model.model_dump_json(), config.discriminator.model_dump_json(), spec.row_shape, spec.dtype]
    resources = config.resources
    arithmetic = resources.threads, resources.precision, resources.graphs, resources.deterministic, resources.compile
    told = [device, torch.__version__, arithmetic, config.schedule.batch_size, *shapes, stack]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
