"""What the nodes of the connected cluster hold, and waiting until they hold a run."""

import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import ray
from ray._common.utils import get_system_memory
from ray._private.accelerators import get_accelerator_manager_for_resource
from ray._private.state import available_resources_per_node
from ray._private.utils import estimate_available_memory, resolve_object_store_memory
from ray.util.placement_group import placement_group, remove_placement_group

from raymix.config import Config
from raymix.errors import ResourceError
from raymix.runtime.elastic import Held, beside
from raymix.runtime.machines import GIB, GPU_GIB, Machine
from raymix.runtime.placement import MARK, Group, Node, amounts, demand, groups, homes, sum_of

log = logging.getLogger(__name__)
POLL_S = 1.0


def cluster_nodes() -> list[Node]:
    """What every living node has in all."""
    return [_node(node["Resources"], node["NodeID"]) for node in ray.nodes() if node["Alive"]]


def free_nodes() -> list[Node]:
    """What every living node has free, as last heard (a second old at most)."""
    alive = {node.id: node for node in cluster_nodes()}
    free = sorted(available_resources_per_node().items())
    return [
        replace(_node(rest, node), accelerator_type=alive[node].accelerator_type)
        for node, rest in free
        if node in alive
    ]


def _node(resources: dict[str, float], node: str) -> Node:
    marks = [name.removeprefix(MARK) for name in resources if name.startswith(MARK)]  # Ray gives a node one at most
    return Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0), node, marks[0] if marks else "")


def cluster_machines() -> list[Machine]:
    """Every living node with its memory, named by its address; this process's first, where a coordinator with a local
    directory sits."""
    own, machines = ray.get_runtime_context().get_node_id(), []
    living = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeID"] != own)
    sharing = Counter(node["NodeManagerAddress"] for node in living)
    for node in living:
        address, resources = node["NodeManagerAddress"], node["Resources"]
        placed = _node(resources, address if sharing[address] == 1 else f"{address}/{node['NodeID'][:8]}")
        store = int(resources.get("object_store_memory", 0))
        gpu_bytes = GPU_GIB.get(placed.accelerator_type, 0) * GIB
        machines.append(Machine(placed, int(resources.get("memory", 0)) + store, store, gpu_bytes))
    return machines


def this_machine() -> Machine:
    """What a local Ray would take; none is started."""
    gpus = get_accelerator_manager_for_resource("GPU")
    assert gpus is not None
    num = gpus.get_current_node_num_accelerators()
    gpu_type = (gpus.get_current_node_accelerator_type() if num else None) or ""
    free = estimate_available_memory()
    node = Node(float(os.cpu_count() or 1), float(num), "this-machine", gpu_type)
    gpu_bytes = GPU_GIB.get(gpu_type, 0) * GIB
    return Machine(node, get_system_memory(), resolve_object_store_memory(free), gpu_bytes)


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


def require_room_beside_caller(asked: Sequence[Group]) -> None:
    """Raises `ResourceError` when groups would wait for what this process holds itself, as a task or actor of Ray that
    waits for their run."""
    context = ray.get_runtime_context()
    if context.worker.mode != ray.WORKER_MODE:
        return
    nodes, own = cluster_nodes(), _node(context.get_assigned_resources(), context.get_node_id())
    free = [
        replace(node, cpus=max(0.0, node.cpus - own.cpus), gpus=max(0.0, node.gpus - own.gpus))
        if node.id == own.id
        else node
        for node in nodes
    ]
    if None in homes(asked, free):
        what = f"the task or actor that starts the run holds {amounts(own)} itself, and the run asks for "
        what += f"{amounts(demand(asked))} of the cluster's {amounts(sum_of(nodes))}"
        raise ResourceError(what, "workers", "start it with num_cpus=0 and num_gpus=0, or train with workers='local'")


def whatever_it_takes(config: Config) -> Node:
    """A node on which the run gets all it may ask for; GPUs only where the config names them, or their type."""
    resources = config.resources
    num = config.most_components * resources.workers_per_component + 1  # and a shared trunk
    cpus = 1.0 if resources.cpus_per_component == "auto" else resources.cpus_per_component
    wanted = resources.accelerator_type
    gpus = float(wanted is not None) if resources.gpus_per_component == "auto" else resources.gpus_per_component
    # an actor asks for one GPU at most, and a share of one may leave the rest of it empty
    most = num * 2 * max(1.0, gpus) if gpus else 0.0
    return Node(num * max(1.0, cpus), most, accelerator_type=wanted or "")


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
