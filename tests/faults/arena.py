"""Three nodes on one machine: a head without processors, which keeps coordinators and files, and two that train."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from harness import Disturbed
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group_table

from raymix.runtime.identity import prefix_of
from raymix.runtime.local_ray import KEEP_IDLE_PROCESSES

STORE_BYTES = 200 * 2**20


class Arena:
    def __init__(self) -> None:
        head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "_system_config": KEEP_IDLE_PROCESSES}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            self.add_node()

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add_node(self) -> str:
        """Another node; returns its id."""
        return str(self.cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES).node_id)

    def nodes_of(self, run_id: str) -> dict[str, str]:
        """The node of each of a run's groups that has its place."""
        prefix = prefix_of(run_id)
        return {
            info["name"].removeprefix(prefix): str(next(iter(info["bundles_to_node_id"].values())))
            for info in placement_group_table().values()
            if info["name"].startswith(prefix) and info["state"] == "CREATED"
        }

    def node_of(self, run_id: str) -> str:
        """The node of a run's first pack, when it has its place."""
        return self.nodes_of(run_id).get("pack-0", "")

    def kill_node(self, node_id: str, another: bool = True) -> None:
        """SIGKILL for the raylet of a node, as when a machine is taken away; another joins."""
        node = next(node for node in self.cluster.worker_nodes if node.node_id == node_id)
        os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        self.cluster.worker_nodes.remove(node)
        if another:
            self.add_node()

    def strike(self, run: Disturbed, victim: str) -> None:
        """SIGKILL for a process of the run, or for the raylet of its first pack's node."""
        if victim == "raylet":
            self.kill_node(run.wait_for(lambda: self.node_of(run.run_id), "a placement group"))
        else:
            run.kill(victim)


@contextmanager
def arena() -> Iterator[Arena]:
    """An arena this process is connected to."""
    made = Arena()
    try:
        ray.init(address=made.address, namespace="raymix", log_to_driver=False, logging_level="ERROR")
        yield made
    finally:
        ray.shutdown()
        made.cluster.shutdown()
        time.sleep(1)
