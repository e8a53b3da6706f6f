"""`raymix bench`."""

import json
import sys
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from raymix.bench.cases import COMPONENTS, WAYS, Found, as_json, measure_alone, measure_round, measure_steps
from raymix.bench.machine import BUSY_SHARE, busy_share, machine
from raymix.bench.ways import shapes
from raymix.commands.parsing import parse
from raymix.errors import ConfigError
from raymix.runtime.driver import cluster


@dataclass(frozen=True)
class Bench:
    """Compare a plain PyTorch loop with packs in one process and with Ray actors on this machine.

    Steps are of every component once. Ratios come last, and only from a machine that is quiet.
    """

    shapes: tuple[str, ...] = ("mlp", "conv", "dcgan64", "dcgan")
    """Kinds of components: the paper's 2-D and MNIST models, a convolutional one for 64 x 64 images, and its smallest
    SN-DCGAN (at K = 3)."""
    components: tuple[int, ...] = COMPONENTS
    """Numbers of components."""
    steps_only: bool = False
    """Leave out whole rounds of synthetic-9 and one component alone."""
    json: bool = False
    """Print one JSON object."""
    even_if_busy: bool = False
    """Print ratios whatever else the machine is doing."""


def bench(argv: list[str]) -> None:
    arguments = parse(Bench, argv, "bench")
    known = {shape.name: shape for shape in shapes()}
    unknown = [name for name in arguments.shapes if name not in known]
    if unknown:
        raise ConfigError(f"unknown shape {unknown[0]!r}", "--shapes", f"some of {', '.join(known)}")
    if not arguments.components or min(arguments.components) < 1:
        raise ConfigError("holds no number of at least 1", "--components", f"such as {COMPONENTS}")
    busy, found = busy_share(), Found()
    with cluster(None):
        for name in arguments.shapes:
            measure_steps(found, known[name], arguments.components, say)
        if not arguments.steps_only:
            measure_round(found, say)
            measure_alone(found, known["conv"], say)
    busy = max(busy, busy_share())
    doubts = [f"other work takes {busy:.0%} of the processors"] if busy > BUSY_SHARE else []
    doubts += [] if found.steady else ["timings of one thing differ too much"]
    report(found, doubts, arguments)


def say(text: str) -> None:
    print(f"raymix: measured {text}", file=sys.stderr)


def report(found: Found, doubts: list[str], arguments: Any) -> None:
    """One JSON object, or tables for people; ratios where they can be trusted."""
    trusted = not doubts or arguments.even_if_busy
    ratios = {name: round(value, 3) for name, value in found.ratios.items()} if trusted else None
    if arguments.json:
        print(json.dumps({"machine": machine(), **as_json(found), "ratios": ratios, "doubts": doubts}))
        return
    console = Console(width=120)
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()))
    ways = [way for way in WAYS if any(way in times for times in found.steps.values())]
    table = Table("shape", "K", *ways, title="milliseconds for one step of every component (medians)")
    for (shape, num), times in found.steps.items():
        table.add_row(shape, str(num), *(f"{1e3 * times[way].median:.3g}" if way in times else "" for way in ways))
    console.print(table)
    for (shape, num), use in found.use.items():
        console.print(f"{shape} K = {num} fused on the GPU: {use}")
    for way, timing in found.round_s.items():
        console.print(f"a round of synthetic-9, {way}: {timing.median:.3g} s")
    if ratios is None:
        console.print(f"no ratios: {'; '.join(doubts)} (--even-if-busy prints them)")
        return
    for name, value in ratios.items():
        console.print(f"{name}: {value:.3g}")
