"""Who runs where: packs, what they ask for, and whether the cluster can hold them. Nothing here touches Ray.

A pack's generator and discriminator actors work in turn, so they share the pack's ask in halves, on one node.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from raymix.config import Config
from raymix.errors import ResourceError

SLACK = 1e-6  # of rounding in sums of fractions


@dataclass(frozen=True)
class Node:
    """What one node of the cluster has in all."""

    cpus: float
    gpus: float = 0.0


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

    @property
    def num_actors(self) -> int:
        return bool(self.generators) + bool(self.discriminators)

    @property
    def bundle(self) -> dict[str, float]:
        """The ask of each actor: they work in turn, so they share the group's."""
        return {"CPU": self.cpus / self.num_actors} | ({"GPU": self.gpus / self.num_actors} if self.gpus else {})


def packs(components: Sequence[int], pack: int) -> list[tuple[int, ...]]:
    """Cut the components into packs of at most `pack`, as equal as can be."""
    num = math.ceil(len(components) / pack)
    cuts = [len(components) * i // num for i in range(num + 1)]
    return [tuple(components[a:b]) for a, b in itertools.pairwise(cuts)]


def resolved_pack(config: Config, nodes: Sequence[Node]) -> int:
    """Components per actor: as few as fill the GPUs, or without GPUs the processors."""
    pack = config.resources.pack
    if pack != "auto":
        return pack
    uses_gpus = config.resources.gpus_per_component != 0 and any(node.gpus for node in nodes)
    slots = sum(math.floor(node.gpus if uses_gpus else node.cpus) for node in nodes)
    return math.ceil(len(config.components) / max(1, slots))


def groups(config: Config, nodes: Sequence[Node]) -> list[Group]:
    """The placement groups of a run. Raises `ResourceError` when they cannot all be placed."""
    resources = config.resources
    assert resources.pack != "auto"
    members = packs(config.components, resources.pack)
    judged = config.judges and not config.own_density
    trunk = judged and config.discriminator.trunk == "shared"
    cpus_held = [node.cpus for node in nodes]
    gpus_held = [1.0 for node in nodes for _ in range(int(node.gpus))]  # a fraction lies on one device

    def ask(explicit: float | str, held: Sequence[float], num_members: int) -> float:
        if explicit != "auto":
            return float(explicit) * num_members
        return equal_fraction(held, len(members) + trunk)

    result = []
    for i, pack in enumerate(members):
        cpus = ask(resources.cpus_per_component, cpus_held, len(pack))
        gpus = ask(resources.gpus_per_component, gpus_held, len(pack))
        result.append(Group(f"pack-{i}", pack, pack if judged and not trunk else (), cpus, gpus))
    if trunk:
        cpus = ask(resources.cpus_per_component, cpus_held, 1)
        gpus = ask(resources.gpus_per_component, gpus_held, 1)
        result.append(Group("trunk", (), config.components, cpus, gpus))
    require_fit(result, nodes)
    return result


def equal_fraction(held: Sequence[float], num: int) -> float:
    """The largest ask of at most 1 that `num` groups can make of nodes that hold so much; 0 where nothing is held."""
    candidates = {1.0} | {amount / parts for amount in held if amount for parts in range(1, num + 1)}
    for ask in sorted(candidates, reverse=True):
        if ask <= 1 and sum(math.floor(amount / ask + SLACK) for amount in held) >= num:
            return math.floor(ask * 10_000) / 10_000  # Ray counts in ten-thousandths
    return 0.0


def require_fit(asked: Sequence[Group], nodes: Sequence[Node]) -> None:
    """First fit, largest first, each group whole on one node. Raises `ResourceError`."""
    if any(group.bundle["CPU"] < 1e-4 for group in asked):
        raise ResourceError("the cluster has no processors for actors", "resources", "add a node that has")
    if any(group.bundle.get("GPU", 0) > 1 for group in asked):
        what = "an actor would ask for more than one GPU and can use one only"
        raise ResourceError(what, "resources", "lower resources.gpus_per_component or resources.pack")
    free = [[node.cpus, node.gpus] for node in nodes]
    for group in sorted(asked, key=lambda group: (group.gpus, group.cpus), reverse=True):
        need = [amount * group.num_actors for name in ("CPU", "GPU") for amount in (group.bundle.get(name, 0.0),)]
        home = next((left for left in free if all(a + SLACK >= n for a, n in zip(left, need, strict=True))), None)
        if home is None:
            raise ResourceError(_shortage(asked, group, nodes), "resources", _ADVICE)
        home[0] -= need[0]
        home[1] -= need[1]


_ADVICE = "lower resources.cpus_per_component or resources.gpus_per_component, or raise resources.pack"


def _shortage(asked: Sequence[Group], group: Group, nodes: Sequence[Node]) -> str:
    total = (
        sum(g.bundle["CPU"] * g.num_actors for g in asked),
        sum(g.bundle.get("GPU", 0) * g.num_actors for g in asked),
    )
    largest = max(nodes, key=lambda node: (node.gpus, node.cpus), default=Node(0))
    held = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    return (
        f"{len(asked)} placement groups ask for {total[0]:g} CPUs and {total[1]:g} GPUs in all and {group.name} does "
        f"not fit; the largest node has {largest.cpus:g} CPUs and {largest.gpus:g} GPUs, the cluster {held[0]:g} and "
        f"{held[1]:g}"
    )
