"""`raymix plan`."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import tyro

from raymix.commands.train import Train, numbers, parse_train
from raymix.errors import ConfigError
from raymix.planning.estimate import Traffic
from raymix.planning.plan import Plan, size
from raymix.planning.plan import plan as planned
from raymix.recipes.resolve import resolve
from raymix.runtime.capacity import cluster_machines, this_machine
from raymix.runtime.driver import cluster
from raymix.runtime.machines import Machine, machines_of
from raymix.storage import Storage

SHOWN = 10  # actors and nodes that are printed one by one; of more, those that are alike share a line


@dataclass(frozen=True)
class PlanRun(Train):
    """Say who would run where, what it takes and what limits it; nothing is started.

    Takes every option that `raymix train` takes. With --address it plans for that cluster, with neither --address nor
    --nodes for this machine.

    The nodes of a cluster that is not there are written 8xH200 for one node with eight of these GPUs,
    64x(cpus=16,gpus=1,memory=64G) for 64 nodes, 2x(8xH200,cpus=192,memory=2T)+(cpus=8,memory=32G) for nodes of
    two kinds; the first node has the coordinator. type, store (of the object store) and gpu_memory can be given too.
    """

    nodes: Annotated[str | None, tyro.conf.arg(metavar="SPEC")] = None
    """Nodes to plan for, such as 8xH200."""
    json: bool = False
    """Print one JSON object, all sizes in bytes."""


def plan(argv: list[str]) -> None:
    arguments, config, _ = parse_train(argv, PlanRun, "plan")
    if arguments.workers == "local":
        raise ConfigError("all is in one process then", "--workers local", "drop it to plan for Ray actors")
    if arguments.nodes is not None and arguments.address is not None:
        raise ConfigError("an address is given too", "--nodes", "drop one of them")
    local = arguments.out is None or Storage.at(arguments.out).is_local
    there = machines(arguments.nodes, arguments.address)  # before all rows are read
    config, spec = resolve(config)
    found = planned(config, spec, there, local)
    print(json.dumps(as_json(found)) if arguments.json else "\n".join(lines(found)))


def machines(nodes: str | None, address: str | None) -> list[Machine]:
    """Those described, those of a running cluster, or this one."""
    if nodes is not None:
        return machines_of(nodes)
    if address is None:
        return [this_machine()]
    with cluster(address):
        return cluster_machines()


def as_json(found: Plan) -> dict[str, Any]:
    """Plain values."""
    resources = found.config.resources
    return {
        "components": found.config.most_components,
        "pack": resources.pack,
        "fused": resources.fused,
        "packing": found.why_packed,
        "actors": [{"name": actor.name} | asdict(actor) for actor in found.actors],
        "nodes": [
            {
                "name": node.name,
                "about": node.machine.about,
                "actors": len(node.actors),
                "memory_bytes": node.memory_bytes,
                "memory_bytes_there": node.machine.memory_bytes,
                "store_bytes": node.store_bytes,
                "store_bytes_there": node.machine.store_bytes,
                "gpu_bytes": node.gpu_bytes,
                "gpu_bytes_there": node.machine.gpu_bytes,
            }
            for node in found.nodes
        ],
        "idle_nodes": len(found.machines) - len(found.nodes),
        "store": asdict(found.data) | {"peak": found.data.peak},
        "network": asdict(found.traffic) | {"later": found.traffic.later},
        "work": asdict(found.work),
        "checkpoint": {"generation_bytes": found.generation_bytes, "kept": found.kept_generations},
        "limits": list(found.limits),
    }


def lines(found: Plan) -> list[str]:
    """As a person reads it."""
    config, spec, data = found.config, found.spec, found.data
    resources, kept = config.resources, found.kept_generations
    fused = ", trained as one batched model" if resources.fused else ""
    return [
        f"{numbers(config)} x {config.model.family} on {spec.num_rows:,} rows of {spec.row_shape} {spec.dtype}, "
        f"{config.schedule.rounds} rounds",
        f"{resources.pack} component(s) per actor{fused}{f' ({found.why_packed})' if found.why_packed else ''}",
        "",
        *table(("node", "has", "actors", "memory", "object store", "each GPU"), node_rows(found)),
        "",
        *table(("actor", "node", "components", "CPUs", "GPUs", "memory", "GPU memory"), actor_rows(found)),
        "",
        f"object store, all nodes' data once: {size(data.peak)} at most ({data.num_blocks} blocks "
        f"{size(data.rows)}, log ratios {size(data.log_ratios)}, samples {size(data.fakes)}, labels "
        f"{size(data.labels)})",
        *network_lines(found.traffic),
        f"checkpoint: {size(found.generation_bytes)} a round; {kept} are kept: {size(kept * found.generation_bytes)}",
        "",
        "what limits, the worst first:",
        *(f"  {limit}" for limit in found.limits),
    ]


def network_lines(network: Traffic) -> list[str]:
    """What passes between nodes."""
    if not network.first_rows + network.later:
        return ["network: nothing, all is on one node"]
    parts = {
        "blocks": network.rows,
        "samples": network.fakes,
        "log ratios": network.log_ratios,
        "labels": network.labels,
        "summaries at most": network.summaries,
        "checkpoint": network.checkpoint,
    }
    told = ", ".join(f"{name} {size(num)}" for name, num in parts.items() if num)
    again = network.first_rows + network.later - network.rows
    return [
        f"network, first round: {size(again)}, because each node fetches the blocks once ({size(network.first_rows)})",
        f"network, each later round: {size(network.later)} ({told})",
    ]


def node_rows(found: Plan) -> list[tuple[str, ...]]:
    rows = [
        (
            f"{node.name[:12]}{' (coordinator)' if node.is_home else ''}",
            node.machine.about,
            str(len(node.actors)),
            f"{size(node.memory_bytes)} of {size(node.machine.memory_bytes)}",
            f"{size(node.store_bytes)} of {size(node.machine.store_bytes)}",
            of(node.gpu_bytes, node.machine.gpu_bytes),
        )
        for node in found.nodes
    ]
    idle = len(found.machines) - len(found.nodes)
    return gathered(rows, 1) + ([(f"{idle} more", "", "0", "", "", "")] if idle else [])


def actor_rows(found: Plan) -> list[tuple[str, ...]]:
    rows = [
        (
            actor.name,
            actor.node[:12],
            str(len(actor.components)) if len(actor.components) > 4 else " ".join(map(str, actor.components)),
            f"{actor.cpus:g}",
            f"{actor.gpus:g}",
            size(actor.memory.host_bytes),
            size(actor.memory.gpu_bytes) if actor.gpus else "-",
        )
        for actor in found.actors
    ]
    return gathered(rows, 3)


def gathered(rows: Sequence[tuple[str, ...]], first: int) -> list[tuple[str, ...]]:
    """The rows; of too many, those that are alike from cell `first` on as one with their number."""
    if len(rows) <= SHOWN:
        return list(rows)
    alike: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for row in rows:
        alike.setdefault(row[first:], []).append(row)
    return [several[0] if len(several) == 1 else _as_one(several, first) for several in alike.values()]


def _as_one(rows: Sequence[tuple[str, ...]], first: int) -> tuple[str, ...]:
    spans = [f"{a} .. {b}" for a, b in zip(rows[0][:first], rows[-1][:first], strict=True)]
    return (f"{spans[0]} ({len(rows)})", *spans[1:], *rows[0][first:])


def of(needed: int, there: int) -> str:
    """A need of a GPU's memory, and what it has where that is known."""
    if not needed:
        return "-"
    return f"{size(needed)} of {size(there)}" if there else size(needed)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Aligned columns."""
    cells = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
