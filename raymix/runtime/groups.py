"""Placement groups of a run: reserved with a bound, given back by name, looked after."""

import math
import time
from collections.abc import Sequence

import ray
from ray.exceptions import RayError
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

from raymix.errors import ResourceError
from raymix.runtime.capacity import cluster_nodes, free_nodes
from raymix.runtime.identity import name_of
from raymix.runtime.placement import Group, Node, amounts, homes, largest_first, sum_of
from raymix.runtime.waiting import translated

POLL_S = 0.25
REMOVE_S = 10.0
SHOWN = 8  # nodes in a message
ADVICE = "wait for other work or end it, add nodes, or lower resources.cpus_per_component"


def reserve_all(asked: Sequence[Group], run_id: str, wait_s: float) -> list[PlacementGroup]:
    """The placement groups of a run, in the order asked; waits up to `wait_s` in all for what other work holds.

    Each goes to the node that the packing found for it: Ray itself takes the emptiest node for each, and so can leave
    no room for the last. Raises `ResourceError` that says what is free and what is held; nothing stays reserved then.
    """
    deadline = time.monotonic() + wait_s
    while None in (found := homes(asked, free_nodes())) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    if None in found:
        missing = asked[found.index(None)]
        raise shortage(missing, name_of(run_id, missing.name), wait_s)
    places: dict[int, PlacementGroup] = {}
    try:
        for i in largest_first(asked):
            left, home = max(1.0, deadline - time.monotonic()), found[i]
            places[i] = reserve(asked[i], name_of(run_id, asked[i].name), left, home.id if home else None)
    except BaseException:
        for place in places.values():
            remove_placement_group(place)
        raise
    return [places[i] for i in range(len(asked))]


def reserve(group: Group, name: str, wait_s: float, node: str | None = None) -> PlacementGroup:
    """One placement group on one node, on that of this id if it has room.

    Raises `ResourceError` that says what is free and what is held; nothing stays reserved then.
    """
    place = None
    try:
        bundles = [group.bundle] * group.num_actors
        place = placement_group(bundles, strategy="STRICT_PACK", name=name, _soft_target_node_id=node)
        if not place.wait(math.ceil(wait_s)):  # Ray counts whole seconds
            raise shortage(group, name, wait_s)
    except BaseException as error:
        if place is not None:
            remove_placement_group(place)
        if isinstance(error, RayError):
            raise translated(error, f"placement group {name}") from None
        raise
    return place


def shortage(group: Group, name: str, wait_s: float) -> ResourceError:
    """What was asked, what is free on each node, and how much other work holds."""
    free, held = sorted(free_nodes(), key=lambda node: (-node.gpus, -node.cpus)), sum_of(cluster_nodes())
    each = ", ".join(f"{amounts(node)} on {node.id[:8]}" for node in free[:SHOWN])
    rest = sum_of(free)
    used = Node(max(0.0, held.cpus - rest.cpus), max(0.0, held.gpus - rest.gpus))
    return ResourceError(
        f"{group.num_actors} x {group.ask} on one node were not free within {wait_s:g} s; free now: {each or 'nothing'}"
        f"{f' and {len(free) - SHOWN} more nodes' if len(free) > SHOWN else ''}; other work holds {amounts(used)} of "
        f"{amounts(held)}",
        f"placement group {name}",
        ADVICE,
    )


def remove_groups(prefix: str) -> int:
    """Give back every placement group whose name starts so; returns how many there were.

    Raises `ResourceError` when one is still held ten seconds later.
    """
    removed = _held(prefix)
    for place in removed:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(place)))
    deadline = time.monotonic() + REMOVE_S
    while left := _held(prefix):
        if time.monotonic() > deadline:
            raise ResourceError(f"{len(left)} old placement groups are still held", f"placement groups {prefix}*")
        time.sleep(POLL_S)
    return len(removed)


def _held(prefix: str) -> list[str]:
    table = placement_group_table().items()
    return [place for place, info in table if info["name"].startswith(prefix) and info["state"] != "REMOVED"]


def give_back(place: PlacementGroup) -> None:
    """Remove one placement group and wait until its name is free. Raises `ResourceError` when it is not in time."""
    remove_placement_group(place)
    deadline = time.monotonic() + REMOVE_S
    while placement_group_table(place).get("state") not in (None, "REMOVED"):
        if time.monotonic() > deadline:
            raise ResourceError("is still held", f"placement group {place.id.hex()}")
        time.sleep(POLL_S)


def node_of(place: PlacementGroup) -> str:
    """The id of the node that a whole placement group lies on."""
    return str(next(iter(placement_group_table(place)["bundles_to_node_id"].values())))


def broken(places: Sequence[PlacementGroup]) -> set[PlacementGroup]:
    """Those of which a bundle is on no living node, by one question about all."""
    table = placement_group_table()
    return {place for place in places if table.get(place.id.hex(), {}).get("state") != "CREATED"}
