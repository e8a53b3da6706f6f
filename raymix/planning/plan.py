"""What would run where, what that takes, and what limits it."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.planning import estimate
from raymix.planning.estimate import DataPlane, Memory, Resident, Traffic, Work
from raymix.planning.footprint import Footprint, discriminator_footprint, generator_footprint
from raymix.recipes.packing import choices, packed, with_packing
from raymix.runs.checkpoint import KEPT
from raymix.runtime.machines import GIB, Machine
from raymix.runtime.placement import Group, Node, groups, homes, slots, uses_gpus

ROOM = 0.9  # of a node's memory that may be in use: above it Ray's memory monitor may soon end processes


@dataclass(frozen=True)
class ActorPlan:
    """One actor."""

    kind: Literal["generators", "discriminators"]
    """What it holds."""
    group: str
    rank: int
    """Its number among the actors that train the same, of which the first alone draws samples and writes files."""
    node: str
    components: tuple[int, ...]
    cpus: float
    gpus: float
    memory: Memory

    @property
    def name(self) -> str:
        return f"{self.kind} of {self.group}"


@dataclass(frozen=True)
class NodePlan:
    """One node of those that have something to do."""

    machine: Machine
    actors: tuple[ActorPlan, ...]
    resident: Resident
    is_home: bool
    """Whether the coordinator is here, and with it the tasks that read blocks and the evaluator."""
    memory_bytes: int
    """Processes, libraries, Ray, and the object store as far as it is filled."""
    store_bytes: int

    @property
    def name(self) -> str:
        return self.machine.node.id

    @property
    def gpu_bytes(self) -> int:
        """Memory of its fullest GPU, where actors share one as the config asks."""
        shares = [(actor.memory.gpu_bytes, actor.gpus) for actor in self.actors if actor.gpus]
        return max((math.floor(1 / gpus + 1e-6) * each for each, gpus in shares), default=0)


@dataclass(frozen=True)
class Plan:
    """A run that has not begun."""

    config: Config
    spec: DataSpec
    machines: tuple[Machine, ...]
    why_packed: str
    nodes: tuple[NodePlan, ...]
    data: DataPlane
    traffic: Traffic
    work: Work
    generation_bytes: int
    """Size of one checkpoint."""
    kept_generations: int
    limits: tuple[str, ...]
    """What limits the run, the worst first."""

    @property
    def actors(self) -> list[ActorPlan]:
        return [actor for node in self.nodes for actor in node.actors]


def packed_for(config: Config, spec: DataSpec, nodes: Sequence[Node]) -> tuple[Config, str]:
    """The config with `resources.pack` and `resources.fused`, and why; without GPUs as a run on this machine would time
    them, with GPUs as many actors as there are GPUs, because nothing is timed there before a run."""
    if not uses_gpus(config, nodes):
        return packed(config, spec, slots(config, nodes))
    found = choices(config, slots(config, nodes))
    smallest = min(found, key=lambda each: (each.pack, not each.fused))
    told = "one actor per GPU is assumed; a run times a few steps on a GPU first" if len(found) > 1 else ""
    return with_packing(config, smallest), told


def plan(config: Config, spec: DataSpec, machines: Sequence[Machine], local_storage: bool = True) -> Plan:
    """For a resolved config on some nodes, of which the first has the coordinator. Raises `ResourceError` when they
    cannot hold the run."""
    nodes = [machine.node for machine in machines]
    config, why = packed_for(config, spec, nodes)
    asked = groups(config, nodes)
    has_discriminators = config.competes and not config.own_density
    generator = generator_footprint(config, spec)
    discriminator = discriminator_footprint(config, spec) if has_discriminators else None
    actors = [
        actor
        for group, home in zip(asked, homes(asked, nodes), strict=True)
        if home is not None
        for actor in actors_of(config, spec, group, home, generator, discriminator)
    ]
    data, home = estimate.data_plane(config, spec), nodes[0].id
    found = node_plans(config, machines, actors, data, generator, discriminator)
    short = [node.name for node in found if node.store_bytes > node.machine.store_bytes]
    traffic = estimate.traffic(config, data, [node.resident for node in found], home, short, local_storage)
    result = Plan(
        config=config,
        spec=spec,
        machines=tuple(machines),
        why_packed=why,
        nodes=tuple(found),
        data=data,
        traffic=traffic,
        work=estimate.round_work(config, spec, generator, discriminator),
        generation_bytes=estimate.generation_bytes(config, spec, generator, discriminator),
        kept_generations=KEPT + (config.schedule.evaluate_every > 0),
        limits=(),
    )
    return Plan(**{**vars(result), "limits": tuple(limits(result))})


def actors_of(
    config: Config, spec: DataSpec, group: Group, home: Node, generator: Footprint, discriminator: Footprint | None
) -> list[ActorPlan]:
    """The actors of one group."""
    each, on_gpu = (group.bundle["CPU"], group.bundle.get("GPU", 0.0)), bool(group.gpus)
    found = []
    if group.generators:
        memory = estimate.generator_memory(config, spec, generator, len(group.generators), group.rank, on_gpu)
        found.append(ActorPlan("generators", group.name, group.rank, home.id, group.generators, *each, memory))
    if group.discriminators and discriminator is not None:
        memory = estimate.discriminator_memory(config, spec, discriminator, len(group.discriminators), on_gpu)
        found.append(ActorPlan("discriminators", group.name, group.rank, home.id, group.discriminators, *each, memory))
    return found


def resident(
    config: Config,
    node: str,
    actors: Sequence[ActorPlan],
    data: DataPlane,
    generator: Footprint,
    discriminator: Footprint | None,
) -> Resident:
    """What the actors of one node do."""
    K, num_blocks, shared = config.most_components, data.num_blocks, config.discriminator.trunk == "shared"
    trainers, discriminators = of_kind("generators", actors), of_kind("discriminators", actors)
    firsts = [actor for actor in trainers if actor.rank == 0]
    drawn = sum(len(actor.components) for actor in firsts)
    files = drawn * generator.file_bytes
    if discriminator is not None:
        own = (1 if shared else len(actor.components) for actor in discriminators if actor.rank == 0)
        files += sum(own) * discriminator.file_bytes
    # without discriminators generators judge by their own density; the workers of a trunk share the blocks
    scorers, parts = (discriminators, config.discriminator.workers) if discriminator else (firsts, 1)
    scored = sum(len(actor.components) * len(range(actor.rank, num_blocks, parts)) for actor in scorers)
    return Resident(
        node=node,
        trains=bool(trainers),
        trunk=shared and bool(discriminators),
        fakes=data.fakes * drawn // K,
        log_ratios=data.log_ratios * scored // (K * num_blocks),
        files=files,
    )


def of_kind(kind: str, actors: Sequence[ActorPlan]) -> list[ActorPlan]:
    """The actors of a kind."""
    return [actor for actor in actors if actor.kind == kind]


def node_plans(
    config: Config,
    machines: Sequence[Machine],
    actors: Sequence[ActorPlan],
    data: DataPlane,
    generator: Footprint,
    discriminator: Footprint | None,
) -> list[NodePlan]:
    """The coordinator's node, and those that have actors."""
    found = []
    for number, machine in enumerate(machines):
        here, is_home = tuple(actor for actor in actors if actor.node == machine.node.id), number == 0
        if not here and not is_home:
            continue
        does = resident(config, machine.node.id, here, data, generator, discriminator)
        store = estimate.store_on(does, data, is_home)
        memory = sum(actor.memory.host_bytes for actor in here) + estimate.DAEMONS_BYTES
        memory += min(store, machine.store_bytes) + (estimate.LIBRARIES_BYTES if here or is_home else 0)
        if is_home:
            helpers = min(data.num_blocks, max(estimate.FEWEST_HELPERS, math.floor(machine.node.cpus)))
            memory += estimate.PROCESS_BYTES + helpers * estimate.helper_bytes(data)
            memory += estimate.EVALUATOR_BYTES if config.schedule.evaluate_every else 0
        found.append(NodePlan(machine, here, does, is_home, memory, store))
    return found


# ---- what limits


def limits(plan: Plan) -> list[str]:
    """The worst first: what does not fit, what waits, what lies idle, and what is written."""
    return [*short_memory(plan), *short_store(plan), *short_gpus(plan), *waits(plan), *shares(plan), *written(plan)]


def short_memory(plan: Plan) -> list[str]:
    """Nodes whose memory is too small."""
    short = [node for node in plan.nodes if node.memory_bytes > ROOM * node.machine.memory_bytes]
    if not short:
        return []
    worst = max(short, key=lambda node: node.memory_bytes / node.machine.memory_bytes)
    return [
        f"memory: {worst.name} needs {size(worst.memory_bytes)} of {size(worst.machine.memory_bytes)}"
        f"{others(short)}; raise resources.pack for fewer processes, or take nodes with more"
    ]


def short_store(plan: Plan) -> list[str]:
    """Nodes whose object store is too small."""
    short = [node for node in plan.nodes if node.store_bytes > node.machine.store_bytes]
    if not short:
        return []
    worst = max(short, key=lambda node: node.store_bytes / max(1, node.machine.store_bytes))
    return [
        f"object store: {worst.name} needs {size(worst.store_bytes)} of {size(worst.machine.store_bytes)}"
        f"{others(short)}; the rest is spilled to disk and read again in each round"
    ]


def short_gpus(plan: Plan) -> list[str]:
    """GPUs whose memory is too small."""
    short = [node for node in plan.nodes if node.machine.gpu_bytes and node.gpu_bytes > node.machine.gpu_bytes]
    if not short:
        return []
    worst = max(short, key=lambda node: node.gpu_bytes / node.machine.gpu_bytes)
    return [
        f"GPU memory: a GPU of {worst.name} needs {size(worst.gpu_bytes)} of {size(worst.machine.gpu_bytes)}"
        f"{others(short)}; lower resources.pack, schedule.batch_size or the widths"
    ]


def others(nodes: Sequence[NodePlan]) -> str:
    return f" (and {len(nodes) - 1} more nodes)" if nodes[1:] else ""


def waits(plan: Plan) -> list[str]:
    """Which of the two halves of a round takes longer, by the arithmetic of its busiest actor; they work in turn."""
    config, work = plan.config, plan.work
    total = work.generators + work.discriminators
    if not total:
        return []
    packs = [len(pack) for pack in config.packs(tuple(range(config.most_components)))]
    largest, shared = max(packs) / sum(packs), config.discriminator.trunk == "shared"
    of_workers = (work.generators - work.samples) / config.resources.workers_per_component
    of_generators = (of_workers + work.samples) * largest
    of_discriminators = work.discriminators * (1 / config.discriminator.workers if shared else largest)
    share, path = work.discriminators / total, of_generators + of_discriminators
    told = f"{flops(total)} a round, {share:.0%} of it the discriminators'"
    if of_discriminators >= of_generators and shared:
        return [
            f"discriminator work: {told}; all K x N are judged by one trunk on {config.discriminator.workers} "
            f"actor(s), which is {of_discriminators / path:.0%} of what a round waits for; raise "
            "discriminator.workers, or choose discriminator.trunk separate"
        ]
    if of_discriminators >= of_generators:
        return [
            f"discriminator work: {told}, because each of them sees and scores all N rows (K x N in all); "
            "it grows with K, and is divided over packs; lower discriminator.epochs"
        ]
    todo = "more GPUs or processors make smaller packs" if max(packs) > 1 else "raise resources.workers_per_component"
    return [
        f"generators: {told}; the largest pack has {max(packs)} of {sum(packs)} components, which is "
        f"{of_generators / path:.0%} of what a round waits for; {todo}"
    ]


def shares(plan: Plan) -> list[str]:
    """Too few GPUs or processors for the actors, or more than they use."""
    config, nodes = plan.config, [machine.node for machine in plan.machines]
    num, on_gpus = slots(config, nodes), uses_gpus(config, nodes)
    kind = "GPU" if on_gpus else "processor"
    work_at_once = of_kind("generators", plan.actors)
    trunks = of_kind("discriminators", plan.actors) if config.discriminator.trunk == "shared" else []
    packs, used = len(work_at_once), len(work_at_once) + len(trunks)
    sizes = Counter(len(actor.components) for actor in work_at_once)
    if packs < config.most_components:
        each = " and ".join(str(size) for size in sorted(sizes))
        why = f"{kind}s: {config.most_components} components share {packs} actors ({each} each)"
        found = [f"{why}; {num} {kind}(s) are there"]
    elif used > num:
        found = [f"{kind}s: {used} actors share {num} {kind}(s)"]
    else:
        found = []
    if num > used:
        idle = len(plan.machines) - len([node for node in plan.nodes if node.actors])
        nodes_too = f", {idle} of {len(plan.machines)} nodes among them" if idle else ""
        todo = "lower resources.pack" if packs < config.most_components else "raise num_components"
        found.append(f"idle: {num - used} of {num} {kind}s have no actor{nodes_too}; {todo} to use them")
    return found


def written(plan: Plan) -> list[str]:
    """What is committed."""
    kept = f"{plan.kept_generations} of {size(plan.generation_bytes)} are kept"
    return [f"storage: {size(plan.generation_bytes)} are written in each round; {kept}"]


def size(num_bytes: float) -> str:
    """As a person reads it."""
    for unit, bytes_each in (("TiB", 1024 * GIB), ("GiB", GIB), ("MiB", 2**20)):
        if num_bytes >= bytes_each:
            return f"{num_bytes / bytes_each:.3g} {unit}"
    return f"{num_bytes / 2**10:.3g} KiB"


def flops(number: float) -> str:
    """As a person reads it."""
    for unit, each in (("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9)):
        if number >= each:
            return f"{number / each:.3g} {unit}"
    return f"{number / 1e6:.3g} MFLOP"
