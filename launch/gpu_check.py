"""Everything that only a GPU can tell, in at most eight minutes on one of them.

    python -m launch.gpu_check --out FOLDER [--data-dir DIR] [--parts equal steps memory whole]

Each part runs in a process of its own, with a bound on its time, and leaves FOLDER/PART.json and FOLDER/PART.log; one
that fails or takes too long does not keep the others from running. Needs raymix's own packages, and for `whole` the
four files of MNIST. Without a GPU it does the same on the processor; `--quick` does little of it, as a trial.

    equal    replayed steps against eager ones, for every family and for discriminators: bits under `deterministic`,
             differences of arrays as a share of their norm otherwise, and what was said of work that is not replayed
    steps    milliseconds for one step of every component: plain loop, pack eager and replayed, in each precision; how
             busy the GPU is
    memory   what GPU and process hold after 20 and after 300 rounds
    whole    `mnist` by the command line, twice with `deterministic`: seconds by part, digests; its evaluation
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch
import tyro
from numpy.typing import NDArray

from raymix.bench.gpu import gpu_use
from raymix.bench.machine import machine
from raymix.bench.timing import timings
from raymix.bench.ways import Shape, local, plain, shapes
from raymix.config import Config, DataConfig, DiscriminatorConfig, ScheduleConfig
from raymix.config_values import replaced
from raymix.data.source import DataSpec
from raymix.errors import ConfigError
from raymix.models import discriminators
from raymix.models.base import ClosedForm
from raymix.models.registry import FAMILIES
from raymix.recipes.catalogue import recipe
from raymix.recipes.packing import packed
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.runs.record import read_record
from raymix.seeds import Phase
from raymix.session import start
from raymix.storage import Storage
from raymix.training import replay
from raymix.training.batches import RowView
from raymix.training.discriminators import DiscriminatorPack
from raymix.training.generators import GeneratorPack
from raymix.training.setting import Setting

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # has to be there before CUDA's first use
ON_GPU = torch.cuda.is_available()
SECONDS = {"equal": 80, "steps": 190, "memory": 60, "whole": 150}
STEPS = {"mlp": (1, 15, 32, 128), "conv": (1, 15, 32, 128), "dcgan64": (3,), "dcgan": (3,)}
QUICK_STEPS = {"mlp": (1, 3), "conv": (2,)}
PRECISIONS = ("float32", "tf32", "bfloat16")
CONVOLUTIONS = ("grouped", "unfolded")


@dataclass(frozen=True)
class Arguments:
    """Check and measure raymix on one GPU."""

    out: Path
    """Folder for what is found."""
    data_dir: str | None = None
    """Where the files of MNIST lie."""
    parts: tuple[str, ...] = tuple(SECONDS)
    """What is done."""
    quick: bool = False
    """Do little of each, as a trial of this script."""
    here: bool = False
    """Do the parts in this process, without bounds."""


def main(arguments: Arguments) -> int:
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for part in arguments.parts:
        began = time.perf_counter()
        if arguments.here:
            found = PARTS[part](arguments)
            (arguments.out / f"{part}.json").write_text(json.dumps({"machine": machine(), **found}, indent=1))
            continue
        command = [sys.executable, "-m", "launch.gpu_check", "--here", "--out", str(arguments.out), "--parts", part]
        command += ["--data-dir", arguments.data_dir] if arguments.data_dir else []
        command += ["--quick"] if arguments.quick else []
        with (arguments.out / f"{part}.log").open("w") as log:
            try:
                code = subprocess.run(
                    command, stdout=log, stderr=log, timeout=SECONDS[part] * (1 if ON_GPU else 6)
                ).returncode
            except subprocess.TimeoutExpired:
                code = 124
        failed += [part] if code else []
        print(
            f"{part}: {'done' if not code else f'failed ({code})'} in {time.perf_counter() - began:.0f} s", flush=True
        )
    return 1 if failed else 0


# ---- equal


def equal(arguments: Arguments) -> dict[str, Any]:
    """Two packs of each kind, one replayed, through rounds in which members leave."""
    said: list[str] = []
    replay.log.addHandler(Heard(said))
    found: dict[str, Any] = {}
    for deterministic in (False, True):
        for name, family in FAMILIES.items():
            for row_shape in ((3,), (1, 28, 28), (3, 32, 32)):
                if not issubclass(family.build, ClosedForm):
                    key = f"{name} {row_shape} {'deterministic' if deterministic else ''}"
                    found[key] = compared(partial(of_family, name, row_shape, deterministic))
        for trunk in TRUNKS:
            key = f"discriminators {trunk} {'deterministic' if deterministic else ''}"
            found[key] = compared(partial(of_discriminators, trunk, deterministic))
        if arguments.quick:
            break
    torch.use_deterministic_algorithms(False)
    return {"equal": found, "said": said, "captured": ON_GPU}


class Heard(logging.Handler):
    """Keeps what is said."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


Arrays = dict[str, NDArray[Any]]
Trunk = Literal["separate", "shared"]
TRUNKS: tuple[Trunk, ...] = ("separate", "shared")


def compared(arrays_of: Callable[[bool], Arrays]) -> Any:
    """The largest difference of any array, as a share of its norm; 0 for equal bits. None for rows that the family
    cannot make, words for what failed."""
    try:
        eager, replayed = arrays_of(False), arrays_of(True)
    except ConfigError:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    norms = [
        float(np.linalg.norm(eager[name] - replayed[name]) / (np.linalg.norm(eager[name]) + 1e-12))
        for name in eager
        if eager[name].tobytes() != replayed[name].tobytes()
    ]
    return max(norms, default=0.0)


def of_family(name: str, row_shape: tuple[int, ...], deterministic: bool, graphs: bool) -> Arrays:
    rows = np.random.default_rng(0).random((600, *row_shape)).astype(np.float32)
    spec = DataSpec("random", len(rows), row_shape, "float32")
    config = base(spec, name, graphs, deterministic)
    pack = GeneratorPack(Setting.of(config, spec, ON_GPU), config.components)
    pack.initialise([rows])
    for round in (1, 2):
        shards = {k: RowView([rows], [np.arange(100 * k, 300 + 100 * k)]) for k in config.components}
        fits = pack.train(Phase.TRAIN_GENERATOR, round, shards, {0: 20, 1: 14, 2: 23})
        samples = pack.samples(config.components, 64, [1, 2, 3], round)
    states = {f"{k} {name}": value for k in config.components for name, value in pack.state(k).items()}
    losses = {f"loss {fit.component}": np.array([fit.loss]) for fit in fits}
    return states | losses | {f"samples {k}": value for k, value in samples.items()}


def of_discriminators(trunk: Trunk, deterministic: bool, graphs: bool) -> Arrays:
    rng = np.random.default_rng(0)
    rows = rng.random((3000, 1, 28, 28)).astype(np.float32)
    spec = DataSpec("random", len(rows), rows.shape[1:], "float32")
    settings = DiscriminatorConfig(trunk=trunk, epochs=2.0, guard_loss=0.4)
    changes = {"discriminator": discriminators.resolved(settings, spec)}
    config = base(spec, "vae", graphs, deterministic).model_copy(update=changes)
    pack = DiscriminatorPack(Setting.of(config, spec, ON_GPU), config.components)
    fakes = {k: (rng.random((500, 1, 28, 28)) * (0.3 + 0.3 * k)).astype(np.float32) for k in config.components}
    found: Arrays = {}
    for round in (1, 2):
        fits = pack.train(round, [rows], fakes)
        ratios = pack.score(round, rows, config.components)
        found |= {f"{round} ratios {k}": values for k, (values, _) in ratios.items()}
        found |= {f"{round} fit {fit.component}": np.array([fit.steps, fit.loss]) for fit in fits}
    return found


def base(spec: DataSpec, family: str, graphs: bool, deterministic: bool) -> Config:
    """Three components on scaled rows."""
    model = FAMILIES[family].config().resolved(spec)
    config = Config(
        num_components=3,
        data=DataConfig(offset=(0.0,), scale=(1.0,)),
        model=model.with_width(16) if family.endswith("dcgan") else model,
        schedule=ScheduleConfig(batch_size=32),
    )
    return replaced(config, {"resources.graphs": graphs, "resources.deterministic": deterministic})


# ---- steps


def steps(arguments: Arguments) -> dict[str, Any]:
    """Ratios to the plain loop, of what is eager and of what is replayed."""
    known, found = {shape.name: shape for shape in shapes()}, []
    for name, numbers in (QUICK_STEPS if arguments.quick else STEPS).items():
        found += [of_shape(known[name], num, arguments.quick) for num in numbers]
        print(found[-1], flush=True)
    return {"steps": found}


def of_shape(shape: Shape, num: int, quick: bool) -> dict[str, Any]:
    ways = {"plain": plain(shape, num), "eager": local(shape, num, True, graphs=False)}
    ways |= {
        f"{way} {precision}": local(shape, num, True, precision=precision, convolutions=way)
        for precision in PRECISIONS
        for way in (CONVOLUTIONS if shape.spec.is_image else CONVOLUTIONS[:1])
    }
    times = timings(ways, repeats=1 if quick else 3, timed_s=0.05 if quick else 0.15)
    milliseconds = {name: 1e3 * timing.median for name, timing in times.items()}
    ratios = {name: milliseconds["plain"] / value for name, value in milliseconds.items() if name != "plain"}
    found: dict[str, Any] = {"shape": shape.name, "components": num, "ms": milliseconds, "ratios": ratios}
    if ON_GPU:
        torch.cuda.reset_peak_memory_stats()
        found["use"] = gpu_use(ways["grouped float32"], shape, num)._asdict()
        found["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return found


# ---- memory


def memory(arguments: Arguments) -> dict[str, Any]:
    """Rounds of a small mixture with separate discriminators, of which some stop before others."""
    rounds, early = (30, 10) if arguments.quick else (300, 20)
    changes: dict[str, Any] = {"schedule.rounds": rounds, "schedule.pretrain_epochs": 1.0}
    changes |= {
        "schedule.epochs_per_round": 0.5,
        "data.num_rows": 4000,
        "schedule.steps": "proportional",
        "schedule.report": False,
    }
    config, spec = resolve(replaced(recipe("synthetic-9"), changes))
    config, _ = packed(config, spec, 1)
    held: dict[int, dict[str, float]] = {}

    def watch(status: Any) -> None:
        if status.lines and status.lines[-1].round in (early, rounds):
            held[status.lines[-1].round] = {
                "process_mib": psutil.Process().memory_info().rss / 2**20,
                "gpu_allocated_mib": torch.cuda.memory_allocated() / 2**20 if ON_GPU else 0.0,
                "gpu_reserved_mib": torch.cuda.memory_reserved() / 2**20 if ON_GPU else 0.0,
            }

    with tempfile.TemporaryDirectory(prefix="raymix-gpu-") as folder:
        start(config, spec, f"{folder}/run", workers="local", watch=watch)
    return {"held_by_round": held}


# ---- whole


def whole(arguments: Arguments) -> dict[str, Any]:
    """`mnist`, or `digits` where a little is asked for."""
    name, *data = ("digits",) if arguments.quick else ("mnist", "--data.dir", str(arguments.data_dir))
    raymix = [sys.executable, "-c", "from raymix.cli import main; main()"]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="raymix-gpu-") as folder:
        for run in ("first", "second"):
            out = f"{folder}/{run}"
            command = [*raymix, "train", name, *data, "--out", out, "--resources.deterministic", "true"]
            wall_s = timed(command)
            lines = read_record(Storage.at(out))
            parts = {phase for line in lines for phase in line.seconds}
            by_part = {phase: sum(line.seconds.get(phase, 0.0) for line in lines) for phase in sorted(parts)}
            found[run] = {
                "wall_s": wall_s,
                "seconds": by_part,
                "rest_s": wall_s - sum(by_part.values()),
                "first_round_s": sum(lines[1].seconds.values()),
                "last_round_s": sum(lines[-1].seconds.values()),
                "digest": digest(RunDirectory(Storage.at(out))),
            }
            print(found[run], flush=True)
        found["evaluate_s"] = timed([*raymix, "evaluate", out])
        found["measures"] = json.loads(Path(out, "evaluation.json").read_text())["measures"]
    return found


def timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return time.perf_counter() - began


PARTS: dict[str, Callable[[Arguments], dict[str, Any]]] = {
    "equal": equal,
    "steps": steps,
    "memory": memory,
    "whole": whole,
}

if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=__doc__)))
