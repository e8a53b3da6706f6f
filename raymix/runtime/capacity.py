"""What the nodes of the connected cluster hold, and waiting until they hold a run."""

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import ray
from ray._private.state import available_resources_per_node
from ray.util.placement_group import placement_group, remove_placement_group

from raymix.config import Config
from raymix.errors import ResourceError
from raymix.runtime.elastic import Held, beside
from raymix.runtime.placement import Group, Node, groups, homes

log = logging.getLogger(__name__)
POLL_S = 1.0


def cluster_nodes() -> list[Node]:
    """What every living node has in all."""
    return [_node(node["Resources"], node["NodeID"]) for node in ray.nodes() if node["Alive"]]


def free_nodes() -> list[Node]:
    """What every living node has free, as last heard (a second old at most)."""
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    return [_node(free, node) for node, free in sorted(available_resources_per_node().items()) if node in alive]


def _node(resources: dict[str, float], node: str) -> Node:
    return Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0), node)


def fitting_groups(
    config: Config, wait_s: float = 0, notify: Callable[[str], None] = log.warning, name: str = "raymix"
) -> list[Group]:
    """The placement groups of a run, once the cluster's nodes can hold them all; `name` begins the names of those that
    show the demand meanwhile.

    Asks what nodes have in all, not what is free. `notify` gets a line when something is missing and each time that
    changes; an autoscaler sees the demand meanwhile. Raises `ResourceError` when it is still missing after `wait_s`.
    """
    deadline = time.monotonic() + wait_s
    try:
        return groups(config, cluster_nodes())
    except ResourceError as error:
        if wait_s <= 0:
            raise
        missing = error
    notify(f"waits up to {wait_s:g} s for nodes; {missing.what}")
    with demanded(groups(config, [whatever_it_takes(config)]), name):
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            try:
                return groups(config, cluster_nodes())
            except ResourceError as error:
                if error.what != missing.what:
                    notify(f"still waits; {error.what}")
                missing = error
    raise ResourceError(f"after {wait_s:g} s of waiting for nodes: {missing.what}", missing.where, missing.todo)


def has_room(asked: Sequence[Group], held: Held, wait_s: float, name: str) -> bool:
    """Whether some groups fit on the cluster's nodes beside others that are held there, at once or within `wait_s`
    seconds; an autoscaler sees the demand meanwhile, under names that begin so. Other work is not looked at."""

    def fits() -> bool:
        return None not in homes(asked, beside(cluster_nodes(), held))

    deadline = time.monotonic() + wait_s
    if fits() or wait_s <= 0:
        return fits()
    with demanded(asked, name):
        while not fits() and time.monotonic() < deadline:
            time.sleep(POLL_S)
    return fits()


def whatever_it_takes(config: Config) -> Node:
    """A node on which the run gets all it may ask for; GPUs only where the config names them."""
    resources = config.resources
    num = config.most_components + 1  # and a shared trunk
    cpus = 1.0 if resources.cpus_per_component == "auto" else resources.cpus_per_component
    gpus = 0.0 if resources.gpus_per_component == "auto" else resources.gpus_per_component
    # an actor asks for one GPU at most, and a share of one may leave the rest of it empty
    return Node(num * max(1.0, cpus), num * 2 * max(1.0, gpus) if gpus else 0.0)


@contextmanager
def demanded(asked: Sequence[Group], name: str) -> Iterator[None]:
    """Shows the demand to an autoscaler: placement groups that wait for nodes, and are gone with this process.

    `request_resources` would be one setting for all users of the cluster, and outlive a driver that is killed.
    """
    unique, shown = f"{name}-demand-{uuid.uuid4().hex[:8]}", []
    try:
        for group in asked:
            bundles = [group.bundle] * group.num_actors
            shown.append(placement_group(bundles, "STRICT_PACK", name=f"{unique}-{group.name}"))
        yield
    finally:
        for place in shown:
            remove_placement_group(place)
