"""Where trials run: their placement groups, and whether the cluster has room for them."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ray
from ray.tune import PlacementGroupFactory

from raymix.config import Config
from raymix.errors import ResourceError
from raymix.report.trials import described
from raymix.runtime.capacity import cluster_nodes, free_nodes
from raymix.runtime.placement import Group, amounts, groups, homes, require_fit, sum_of, uses_gpus
from raymix.search.asked import Task
from raymix.search.space import Space, points
from raymix.storage import Storage

POLL_S = 0.5
NODE_SHARE = 0.001  # of a resource that stands for a node
MEMORY_BYTES = 2**20  # what helpers ask for where they may be anywhere: a group of bundles must ask for something


def asking(task: Task, values: Mapping[str, Any]) -> PlacementGroupFactory:
    """A trial's bundles: one for helpers, which ask no processor, then one for each of its groups of actors. A local
    directory is reached from the driver's node only, so helpers are there."""
    local = Storage.at(task.out).is_local
    helpers: dict[str, float] = (
        {f"node:{ray.util.get_node_ip_address()}": NODE_SHARE} if local else {"memory": MEMORY_BYTES}
    )
    return PlacementGroupFactory([helpers, *(bundle(group) for group in trial_groups(task.config(values)))])


def bundle(group: Group) -> dict[str, float]:
    """All that a group asks for, on one node."""
    return {"CPU": group.cpus} | ({"GPU": group.gpus} if group.gpus else {}) | group.mark


def trial_groups(config: Config) -> list[Group]:
    """The groups of a trial. Where the config leaves it open they share one processor, and one GPU where there are any,
    so that many trials run side by side. Raises `ResourceError` for what could never fit."""
    nodes, resources = cluster_nodes(), config.resources
    asked = groups(packed_whole(config), nodes)
    if resources.cpus_per_component == "auto":
        asked = [replace(group, cpus=1 / len(asked)) for group in asked]
    if resources.gpus_per_component == "auto" and uses_gpus(config, nodes):
        asked = [replace(group, gpus=1 / len(asked)) for group in asked]
    require_fit(asked, nodes)
    return asked


def packed_whole(config: Config) -> Config:
    """With all components in one actor, where the config leaves that open: trials share the cluster among them."""
    if config.resources.pack != "auto":
        return config
    pack = config.most_components if config.resources.workers_per_component == 1 else 1
    resources = config.resources.model_copy(update={"pack": pack})
    return config.model_copy(update={"resources": resources})


def require_room(task: Task, space: Space, wait_s: float = 0) -> None:
    """Raises `ResourceError` for a trial that could never fit, even after `wait_s` seconds in which the cluster grows,
    and where nothing is free for any of them within `resources.place_s` seconds."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            asked = [groups_by_name(task, values) for values in points(space)]
            break
        except ResourceError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(POLL_S)
    deadline = time.monotonic() + task.base.resources.place_s
    while all(None in homes(each, free_nodes()) for each in asked):
        if time.monotonic() > deadline:
            free = amounts(sum_of(free_nodes()))
            what = f"{task.base.resources.place_s:g} s passed and {free} are free, which is too little for any trial"
            raise ResourceError(what, "the cluster", "wait for other work or end it, or add nodes")
        time.sleep(POLL_S)


def groups_by_name(task: Task, values: Mapping[str, Any]) -> list[Group]:
    """`trial_groups` of a trial that an error names."""
    try:
        return trial_groups(task.config(values))
    except ResourceError as error:
        raise ResourceError(error.what, f"the trial with {described(values)}", error.todo) from None
