"""Who runs where: packs, what they ask for, and whether the cluster can hold them. Nothing here touches Ray.

A pack's generator and discriminator actors work in turn, so they share the pack's ask in halves, on one node.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from raymix.config import Config
from raymix.errors import ResourceError

SLACK = 1e-6  # of rounding in sums of fractions
UNITS = 10_000  # Ray counts processors and GPUs in ten-thousandths
MARK = "accelerator_type:"  # what Ray calls the resource of which a node with GPUs of a type has 1
MARK_SHARE = 0.001  # of it that a bundle asks for, as Ray itself does for a task


@dataclass(frozen=True)
class Node:
    """What one node of the cluster has in all, or what is free on it."""

    cpus: float
    gpus: float = 0.0
    id: str = ""
    """Ray's name of the node."""
    accelerator_type: str = ""
    """Ray's name of the type of its GPUs, where it is known."""

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
    accelerator_type: str = ""
    """The type that its GPUs must have; empty for any."""
    rank: int = 0
    """Its number among the groups whose actors train the same component, or the same trunk."""

    @property
    def num_actors(self) -> int:
        return bool(self.generators) + bool(self.discriminators)

    @property
    def bundle(self) -> dict[str, float]:
        """The ask of each actor: they work in turn, so they share the group's."""
        asked = {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})
        return {name: _in_units(amount / self.num_actors) for name, amount in asked.items()} | self.mark

    @property
    def mark(self) -> dict[str, float]:
        """What a bundle asks for beside, so that Ray puts it on a node with GPUs of the type."""
        return {f"{MARK}{self.accelerator_type}": MARK_SHARE} if self.gpus and self.accelerator_type else {}

    @property
    def ask(self) -> str:
        """What each actor asks for, as a person reads it."""
        asked = " and ".join(f"{self.bundle[name]:g} {name}" for name in ("CPU", "GPU") if name in self.bundle)
        return f"{asked} of type {self.accelerator_type}" if self.mark else asked

    def may_use(self, node: Node) -> bool:
        """Whether the node's GPUs, if the group asks for any, are of its type."""
        return not self.mark or self.accelerator_type == node.accelerator_type


def usable_gpus(config: Config, nodes: Sequence[Node]) -> list[Node]:
    """The nodes whose GPUs the run may use."""
    wanted = config.resources.accelerator_type
    if config.resources.gpus_per_component == 0:
        return []
    return [node for node in nodes if node.gpus and wanted in (None, node.accelerator_type)]


def uses_gpus(config: Config, nodes: Sequence[Node]) -> bool:
    """Whether the run's actors sit on GPUs."""
    return bool(usable_gpus(config, nodes))


def slots(config: Config, nodes: Sequence[Node]) -> int:
    """How many actors can work at once: a GPU each, or without GPUs a processor."""
    on_gpus = usable_gpus(config, nodes)
    held = [node.gpus for node in on_gpus] or [node.cpus for node in nodes]
    return max(1, sum(math.floor(amount) for amount in held))


def groups(config: Config, nodes: Sequence[Node]) -> list[Group]:
    """The placement groups of a run; where K may change, for as many components as there may be.

    Raises `ResourceError` when they cannot all be placed.
    """
    resources = config.resources
    assert resources.pack != "auto"
    require_type(config, nodes)
    devices = [device for node in usable_gpus(config, nodes) for device in node.devices]
    everyone = tuple(range(config.most_components))
    members = config.packs(everyone)
    has_discriminators = config.competes and not config.own_density
    trunks = config.discriminator.workers if has_discriminators and config.discriminator.trunk == "shared" else 0
    workers = resources.workers_per_component
    num = len(members) * workers + trunks

    def asking(cpus: float, gpus: Sequence[float]) -> list[Group]:
        """The groups, when each asks for so much where the config leaves it open."""
        shares = iter(gpus)

        def ask(explicit: float | str, equal: float, num_members: int) -> float:
            return equal if explicit == "auto" else float(explicit) * num_members

        def group(name: str, generators: tuple[int, ...], discriminators: tuple[int, ...], rank: int = 0) -> Group:
            size = len(generators) or 1
            asked = ask(resources.cpus_per_component, cpus, size), ask(resources.gpus_per_component, next(shares), size)
            return Group(name, generators, discriminators, *asked, resources.accelerator_type or "", rank)

        paired = has_discriminators and not trunks
        found = []
        for i, pack in enumerate(members):
            found.append(group(f"pack-{i}", pack, pack if paired else ()))
            found += [group(f"pack-{i}-worker-{rank}", pack, (), rank) for rank in range(1, workers)]
        names = [f"trunk-{i}" if trunks > 1 else "trunk" for i in range(trunks)]
        return found + [group(name, (), everyone, rank) for rank, name in enumerate(names)]

    asks = equal_asks([node.cpus for node in nodes], num)
    for gpus in gpu_shares(devices, num):
        asked = largest_that_fit(partial(asking, gpus=gpus), asks, nodes)
        if fit(asked, nodes):
            break
    require_fit(asked, nodes)
    return asked


def gpu_shares(devices: Sequence[float], num: int) -> list[list[float]]:
    """What `num` groups may ask of GPUs that hold so much, the best first: as many to a GPU as need be and no GPU idle
    while another has several, and equal shares, which are as good unless they leave GPUs idle. The last groups get the
    smaller shares: a trunk works while packs do not."""
    equal = equal_fraction(devices, num)
    if not equal or math.ceil(num / math.floor(1 / equal + SLACK)) >= len(devices) or num <= len(devices):
        return [[equal] * num]
    counts = [0] * len(devices)
    for _ in range(num):
        counts[max(range(len(devices)), key=lambda d: devices[d] / (counts[d] + 1))] += 1
    dealt = [_in_units(amount / count) for amount, count in zip(devices, counts, strict=True) for _ in range(count)]
    return [sorted(dealt, reverse=True), [equal] * num]


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
        if not fit(asking(asks[middle]), nodes):
            low = middle + 1
        else:
            high = middle
    found = asking(asks[low])
    return found if fit(found, nodes) else asking(asks[0])


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
    """The node of each group, None where there is no room left.

    A group lies on one node, whole; an actor's fraction of a GPU on one device: the fullest that has room, which Ray
    itself takes.

    Groups are spread, because memory bandwidth and network are a node's: largest first, each goes to a node that no
    other has yet, if there is one, and then to the one that is least full with it (`_by_load`). Where that would leave
    no room for a later group, the next node is taken instead. So all have a place wherever `packed` finds one for all,
    which it does for equal groups whenever there are any; unequal groups on nodes that they would fill nearly whole may
    have places that neither rule sees.
    """
    order = largest_first(asked)
    in_order = [asked[i] for i in order]
    found: list[Node | None] = [None] * len(asked)
    for i, n in zip(order, spread(in_order, nodes) or packed(in_order, nodes), strict=True):
        found[i] = None if n is None else nodes[n]
    return found


def fit(asked: Sequence[Group], nodes: Sequence[Node]) -> bool:
    """Whether all groups have a place, as `homes` would find it."""
    in_order = [asked[i] for i in largest_first(asked)]
    return None not in packed(in_order, nodes) or spread(in_order, nodes) is not None


def largest_first(asked: Sequence[Group]) -> list[int]:
    """Positions of the groups in the order in which they are to be placed."""
    return sorted(range(len(asked)), key=lambda i: (-asked[i].gpus, -asked[i].cpus, i))


Places = list[int | None]
"""Positions of nodes, one for each group."""


class _Room(NamedTuple):
    """What a node has left."""

    cpus: float
    devices: tuple[float, ...]


def packed(asked: Sequence[Group], nodes: Sequence[Node], free: Sequence[_Room] | None = None) -> Places:
    """Each group, in the order given, on the node that it fills best, so that much room stays for others."""
    rooms, found = list(free or _rooms(nodes)), Places()
    for i, group in enumerate(asked):
        # where an equal group fills a node best, the next one does too
        again = found[-1] if i and _alike(group, asked[i - 1]) else None
        left = None if again is None else _left(group, rooms[again])
        rests = _with_room(group, nodes, rooms) if again is None or left is None else {again: left}
        n = min(rests, key=lambda n: (sum(rests[n].devices), rests[n].cpus), default=None)
        if n is not None:
            rooms[n] = rests[n]
        found.append(n)
    return found


def spread(asked: Sequence[Group], nodes: Sequence[Node]) -> Places | None:
    """Each group, in the order given, on the least loaded node that leaves room for those after it; None where there is
    no room for all."""
    found = _spread(asked, nodes, lambda later, free: True)  # looking ahead is slow, and seldom needed
    if None in found and None not in packed(asked, nodes):
        found = _spread(asked, nodes, lambda later, free: None not in packed(later, nodes, free))
    return None if None in found else found


def _spread(
    asked: Sequence[Group], nodes: Sequence[Node], leaves_room: Callable[[Sequence[Group], Sequence[_Room]], bool]
) -> Places:
    """Up to the first group that finds no place."""
    whole, found = _rooms(nodes), Places()
    free, taken = list(whole), set[int]()
    for i, group in enumerate(asked):
        rests = _with_room(group, nodes, free)
        for n in sorted(rests, key=lambda n: _by_load(group, whole[n], rests[n], n in taken)):
            after = [*free[:n], rests[n], *free[n + 1 :]]
            if leaves_room(asked[i + 1 :], after):
                break
        else:
            return [*found, None]
        found.append(n)
        free = after
        taken.add(n)
    return found


def _by_load(group: Group, whole: _Room, rest: _Room, taken: bool) -> tuple[bool, bool, float, float]:
    """What makes a node a worse choice: GPUs that the group has no use for, another group of the run, a larger share of
    its GPUs in use, of its processors."""
    gpus, left = sum(whole.devices), sum(rest.devices)
    return bool(gpus and not group.gpus), taken, (1 - left / gpus) if gpus else 0.0, 1 - rest.cpus / whole.cpus


def _rooms(nodes: Sequence[Node]) -> list[_Room]:
    return [_Room(node.cpus, tuple(node.devices)) for node in nodes]


def _with_room(group: Group, nodes: Sequence[Node], free: Sequence[_Room]) -> dict[int, _Room]:
    """What is left beside the group on each node, by position, that can take it."""
    rests = {n: _left(group, room) for n, room in enumerate(free) if group.may_use(nodes[n])}
    return {n: rest for n, rest in rests.items() if rest is not None}


def _left(group: Group, room: _Room) -> _Room | None:
    """What a node has left beside the group; None when the group does not fit."""
    bundle, cpus, devices = group.bundle, room.cpus, list(room.devices)
    need = bundle.get("GPU", 0.0)
    for _ in range(group.num_actors):
        cpus -= bundle["CPU"]
        fitting = [amount for amount in devices if amount + SLACK >= need]
        if cpus < -SLACK or (need and not fitting):
            return None
        if need:
            devices[devices.index(min(fitting))] -= need
    return _Room(cpus, tuple(devices))


def _alike(one: Group, other: Group) -> bool:
    """Whether two groups ask for the same."""
    return (one.bundle, one.num_actors) == (other.bundle, other.num_actors)


def require_type(config: Config, nodes: Sequence[Node]) -> None:
    """Raises `ResourceError` when the run asks for GPUs of a type that the cluster lacks."""
    resources = config.resources
    wanted = resources.accelerator_type
    if wanted is None or resources.gpus_per_component == 0 or usable_gpus(config, nodes):
        return
    has = gpu_types(nodes) or "no GPUs"
    todo = "name one that it has, unset it, or add nodes"
    raise ResourceError(f"is {wanted} and the cluster has {has}", "resources.accelerator_type", todo)


def gpu_types(nodes: Sequence[Node]) -> str:
    """How many GPUs of each type there are, as a person reads it; empty where there are none."""
    counts: dict[str, float] = {}
    for node in nodes:
        if node.gpus:
            counts[node.accelerator_type] = counts.get(node.accelerator_type, 0.0) + node.gpus
    return ", ".join(f"{counts[name]:g} {name or 'of unknown type'}" for name in sorted(counts))


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
    first = missing[0]
    where = "on one node, a share of a GPU on one device" if first.gpus else "on one node"
    types = f" ({gpu_types(nodes)})" if any(node.accelerator_type for node in nodes) else ""
    return (
        f"{len(asked)} placement groups ask for {amounts(demand(asked))} in all; no room for {names} "
        f"({first.num_actors} x {first.ask} {where}); the largest node has {amounts(largest)}, the cluster "
        f"{amounts(sum_of(nodes))}{types}"
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
