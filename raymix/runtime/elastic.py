"""Which groups of a run move when nodes join. Nothing here touches Ray."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from raymix.config import Config
from raymix.errors import ResourceError
from raymix.runtime.placement import SLACK, Group, Node, demand, groups, homes

Held = Mapping[str, Sequence[Group]]
"""The groups of a run by the id of the node that they are on."""


def beside(nodes: Sequence[Node], held: Held) -> list[Node]:
    """What nodes have beside some groups."""
    return [_plus(node, held.get(node.id, ()), -1) for node in nodes]


def together(nodes: Sequence[Node], held: Held) -> list[Node]:
    """What nodes have with what some groups hold there."""
    return [_plus(node, held.get(node.id, ()), 1) for node in nodes]


def _plus(node: Node, own: Sequence[Group], sign: int) -> Node:
    asked = demand(own)
    return replace(node, cpus=max(0.0, node.cpus + sign * asked.cpus), gpus=max(0.0, node.gpus + sign * asked.gpus))


def better_groups(config: Config, asked: Sequence[Group], nodes: Sequence[Node]) -> list[Group] | None:
    """The run's groups as they would be placed on these nodes, where they get more of them than `asked`; else None.

    A run without GPUs stays without: its bits would be others.
    """
    if not any(group.gpus for group in asked):
        nodes = [replace(node, gpus=0.0) for node in nodes]
    try:
        found = groups(config, nodes)
    except ResourceError:
        return None
    now, then = demand(asked), demand(found)
    more = then.gpus - now.gpus if abs(then.gpus - now.gpus) > SLACK else then.cpus - now.cpus
    return found if more > SLACK else None


def moves(wanted: Sequence[Group], places: Sequence[str], nodes: Sequence[Node]) -> dict[int, Node]:
    """Who has to leave its node so that the groups lie on nodes as the packing has it: {position: new node}.

    `places`: the id of the node of each group. Groups that ask for the same take each other's homes, so that as many as
    can be stay where they are.
    """
    found, kinds = homes(wanted, nodes), [(group.cpus, group.gpus, group.num_actors) for group in wanted]
    room = Counter((kind, home) for kind, home in zip(kinds, found, strict=True))
    by_id = {node.id: node for node in nodes}
    leaving = []
    for i, kind in enumerate(kinds):
        stay = kind, by_id.get(places[i])
        if room[stay]:
            room[stay] -= 1
        else:
            leaving.append(i)
    moved: dict[int, Node] = {}
    for i in leaving:
        kind, home = next(place for place, left in room.items() if left and place[0] == kinds[i])
        room[kind, home] -= 1
        if home is not None:
            moved[i] = home
    return moved
