"""Who runs where: packs, what they ask for, and whether the cluster can hold them. Nothing here touches Ray.

A pack's generator and discriminator actors work in turn, so they share the pack's ask in halves, on one node.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from raymix.config import Config
from raymix.errors import ResourceError

SLACK = 1e-6  # of rounding in sums of fractions
UNITS = 10_000  # Ray counts processors and GPUs in ten-thousandths


@dataclass(frozen=True)
class Node:
    """What one node of the cluster has in all, or what is free on it."""

    cpus: float
    gpus: float = 0.0
    id: str = ""
    """Ray's name of the node."""

    @property
    def devices(self) -> list[float]:
        """Its GPUs one by one: an actor's fraction lies on one of them."""
        whole = math.floor(self.gpus + SLACK)
        rest = self.gpus - whole
        return [1.0] * whole + ([rest] if rest > SLACK else [])


@dataclass(frozen=True)
class Group:
    """Actors that are placed together on one node."""

    name: str
    generators: tuple[int, ...]
    """Components whose generators share one actor; empty for the shared trunk's group."""
    discriminators: tuple[int, ...]
    """Components whose discriminators share one actor; empty where there is none."""
    cpus: float
    gpus: float
    rank: int = 0
    """Number of its generator actor among the workers that train the same component."""

    @property
    def num_actors(self) -> int:
        return bool(self.generators) + bool(self.discriminators)

    @property
    def bundle(self) -> dict[str, float]:
        """The ask of each actor: they work in turn, so they share the group's."""
        asked = {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})
        return {name: _in_units(amount / self.num_actors) for name, amount in asked.items()}


def uses_gpus(config: Config, nodes: Sequence[Node]) -> bool:
    """Whether the run's actors sit on GPUs."""
    return config.resources.gpus_per_component != 0 and any(node.gpus for node in nodes)


def slots(config: Config, nodes: Sequence[Node]) -> int:
    """How many actors can work at once: a GPU each, or without GPUs a processor."""
    on_gpus = uses_gpus(config, nodes)
    return max(1, sum(math.floor(node.gpus if on_gpus else node.cpus) for node in nodes))


def groups(config: Config, nodes: Sequence[Node]) -> list[Group]:
    """The placement groups of a run; where K may change, for as many components as there may be.

    Raises `ResourceError` when they cannot all be placed.
    """
    resources = config.resources
    assert resources.pack != "auto"
    everyone = tuple(range(config.most_components))
    members = config.packs(everyone)
    judged = config.judges and not config.own_density
    trunks = config.discriminator.workers if judged and config.discriminator.trunk == "shared" else 0
    workers = resources.workers_per_component
    num = len(members) * workers + trunks

    def asking(cpus: float, gpus: float) -> list[Group]:
        """The groups, when each asks for so much where the config leaves it open."""

        def ask(explicit: float | str, equal: float, num_members: int) -> float:
            return equal if explicit == "auto" else float(explicit) * num_members

        def group(name: str, generators: tuple[int, ...], discriminators: tuple[int, ...], size: int) -> Group:
            asked = ask(resources.cpus_per_component, cpus, size), ask(resources.gpus_per_component, gpus, size)
            return Group(name, generators, discriminators, *asked)

        paired = judged and not trunks
        found = []
        for i, pack in enumerate(members):
            found.append(group(f"pack-{i}", pack, pack if paired else (), len(pack)))
            others = [(rank, group(f"pack-{i}-worker-{rank}", pack, (), len(pack))) for rank in range(1, workers)]
            found += [replace(each, rank=rank) for rank, each in others]
        names = [f"trunk-{i}" if trunks > 1 else "trunk" for i in range(trunks)]
        return found + [group(name, (), everyone, 1) for name in names]

    gpus = equal_fraction([device for node in nodes for device in node.devices], num)
    asked = largest_that_fit(lambda cpus: asking(cpus, gpus), equal_asks([node.cpus for node in nodes], num), nodes)
    require_fit(asked, nodes)
    return asked


def in_bundles(asked: Sequence[Group], bundles: Sequence[Mapping[str, float]]) -> list[Group]:
    """The groups with what the bundles hold that were reserved for them, one for each."""
    pairs = zip(asked, bundles, strict=True)
    return [replace(group, cpus=bundle.get("CPU", 0.0), gpus=bundle.get("GPU", 0.0)) for group, bundle in pairs]


def largest_that_fit(
    asking: Callable[[float], list[Group]], asks: Sequence[float], nodes: Sequence[Node]
) -> list[Group]:
    """The groups with the first ask, of falling ones, that can be placed; with the very first where none can.

    Where the GPUs are decides which processors count, so this is more than dividing what all nodes have.
    """
    low, high = 0, len(asks) - 1
    while low < high:
        middle = (low + high) // 2
        if None in homes(asking(asks[middle]), nodes):
            low = middle + 1
        else:
            high = middle
    found = asking(asks[low])
    return asking(asks[0]) if None in homes(found, nodes) else found


def equal_fraction(held: Sequence[float], num: int) -> float:
    """The largest ask of at most 1 that `num` groups can make of nodes that hold so much; 0 where nothing is held."""
    return equal_asks(held, num)[0]


def equal_asks(held: Sequence[float], num: int) -> list[float]:
    """Asks of at most 1, falling, that `num` groups can make of nodes that hold so much; 0 alone where there is none.

    They are the ones at which one node more or less can take a group.
    """
    candidates = {1.0} | {amount / parts for amount in set(held) if amount for parts in range(1, num + 1)}
    asks = [
        _in_units(ask)
        for ask in sorted(candidates, reverse=True)
        if ask <= 1 and sum(math.floor(amount / ask + SLACK) for amount in held) >= num
    ]
    return [ask for ask in asks if ask > 0] or [0.0]


def homes(asked: Sequence[Group], nodes: Sequence[Node]) -> list[Node | None]:
    """The node of each group, None where there is no room left: largest first, each to the node it fills best.

    A group lies on one node, whole; an actor's fraction of a GPU on one device.
    """
    free = [(node.cpus, node.devices) for node in nodes]
    found: list[Node | None] = [None] * len(asked)
    for i in largest_first(asked):
        rest = {n: left for n, held in enumerate(free) if (left := _left(asked[i], *held)) is not None}
        if rest:
            n = min(rest, key=lambda n: (sum(rest[n][1]), rest[n][0]))
            found[i], free[n] = nodes[n], rest[n]
    return found


def largest_first(asked: Sequence[Group]) -> list[int]:
    """Positions of the groups in the order in which they are to be placed."""
    return sorted(range(len(asked)), key=lambda i: (-asked[i].gpus, -asked[i].cpus, i))


def _left(group: Group, cpus: float, devices: Sequence[float]) -> tuple[float, list[float]] | None:
    """What a node has left beside the group; None when the group does not fit."""
    left = list(devices)
    for _ in range(group.num_actors):
        cpus -= group.bundle["CPU"]
        need = group.bundle.get("GPU", 0.0)
        fitting = [amount for amount in left if amount + SLACK >= need]
        if cpus < -SLACK or (need and not fitting):
            return None
        if need:
            left[left.index(min(fitting))] -= need
    return cpus, left


def require_fit(asked: Sequence[Group], nodes: Sequence[Node]) -> None:
    """Raises `ResourceError` when the groups cannot all be placed on nodes that hold nothing else."""
    bundles = [group.bundle for group in asked]
    if any(group.cpus == 0 for group in asked):
        raise ResourceError("the cluster has no processors for actors", "resources", "add a node that has")
    if any(amount * UNITS < 1 for bundle in bundles for amount in bundle.values()):
        what = f"an actor would ask for less than {1 / UNITS:g} of a processor or GPU, which Ray does not count"
        raise ResourceError(what, "resources", _ADVICE)
    if any(bundle.get("GPU", 0) > 1 for bundle in bundles):
        what = "an actor would ask for more than one GPU and can use one only"
        raise ResourceError(what, "resources", "lower resources.gpus_per_component or resources.pack")
    missing = [group for group, home in zip(asked, homes(asked, nodes), strict=True) if home is None]
    if missing:
        raise ResourceError(_shortage(asked, missing, nodes), "resources", _ADVICE)


_ADVICE = "lower resources.cpus_per_component or resources.gpus_per_component, or change resources.pack"


def _shortage(asked: Sequence[Group], missing: Sequence[Group], nodes: Sequence[Node]) -> str:
    names = ", ".join(group.name for group in missing[:3]) + (" and more" if len(missing) > 3 else "")
    largest = max(nodes, key=lambda node: (node.gpus, node.cpus), default=Node(0))
    bundle, actors = missing[0].bundle, missing[0].num_actors
    need = " and ".join(f"{amount:g} {name}" for name, amount in bundle.items())
    where = "on one node, a share of a GPU on one device" if "GPU" in bundle else "on one node"
    return (
        f"{len(asked)} placement groups ask for {amounts(demand(asked))} in all; no room for {names} "
        f"({actors} x {need} {where}); the largest node has {amounts(largest)}, the cluster {amounts(sum_of(nodes))}"
    )


def demand(asked: Sequence[Group]) -> Node:
    """What the groups ask for in all, as if one node had it."""
    bundles = [group.bundle for group in asked for _ in range(group.num_actors)]
    return Node(sum(bundle["CPU"] for bundle in bundles), sum(bundle.get("GPU", 0) for bundle in bundles))


def sum_of(nodes: Sequence[Node]) -> Node:
    return Node(sum(node.cpus for node in nodes), sum(node.gpus for node in nodes))


def amounts(node: Node) -> str:
    """As a person reads it."""
    return f"{node.cpus:g} CPUs and {node.gpus:g} GPUs"


def _in_units(amount: float) -> float:
    return math.floor(amount * UNITS + SLACK) / UNITS
