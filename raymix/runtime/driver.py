"""The driver's side of a run on Ray: a cluster, a coordinator, and a look at it now and then."""

import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayActorError, RayError

from raymix.config import Config, ResourcesConfig
from raymix.data.source import DataSpec
from raymix.errors import ResourceError, WorkerLostError
from raymix.run import Status
from raymix.runtime.coordinator import start_coordinator
from raymix.runtime.placement import Node, groups, resolved_pack
from raymix.storage import Storage

log = logging.getLogger(__name__)
POLL_S = 0.3
CONNECT_S = 10
NAMESPACE = "raymix"
# A local Ray ends processes that idle for a second, and every round would start new ones for its block tasks.
KEEP_IDLE_PROCESSES = {"idle_worker_killing_time_threshold_ms": 600_000}


@contextmanager
def cluster(address: str | None, num_cpus: int | None = None) -> Iterator[None]:
    """A running Ray: the one this process is connected to, the one at `address`, or a local one that ends with the
    block. Raises `ResourceError` when it cannot be had."""
    if ray.is_initialized():
        yield
        return
    if address and address != "auto":
        require_reachable(address)
    try:
        ray.init(
            address=address or "local",
            num_cpus=None if address else num_cpus or os.cpu_count(),
            namespace=NAMESPACE,
            include_dashboard=None if address else False,
            configure_logging=True,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _system_config=None if address else KEEP_IDLE_PROCESSES,
        )
    except Exception as error:  # Ray raises plain exceptions here, of many kinds
        reason = str(error).strip().splitlines()[0]
        raise ResourceError(f"Ray cannot be reached ({reason})", f"--address {address or 'local'}") from None
    try:
        yield
    finally:
        ray.shutdown()


def require_reachable(address: str) -> None:
    """Ray itself would go on trying an address for many minutes. Raises `ResourceError` within ten seconds."""
    where = f"--address {address}"
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ResourceError("is no host:port", where, "give auto, host:port or ray://host:port")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ResourceError(f"cannot be reached ({error})", where, "start Ray there, or mend the address") from None


def cluster_nodes() -> list[Node]:
    """What every living node has in all."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(held.get("CPU", 0.0), held.get("GPU", 0.0)) for held in alive]


def with_pack(config: Config) -> Config:
    """The config with `resources.pack` resolved for this cluster."""
    resources: ResourcesConfig = config.resources.model_copy(update={"pack": resolved_pack(config, cluster_nodes())})
    return config.model_copy(update={"resources": resources})


def train_on_ray(config: Config, spec: DataSpec, uri: str, watch: Callable[[Status], None]) -> None:
    """Start or go on with the run in `uri` on the connected cluster; returns when it ended.

    `watch` is called a few times a second, with the record lines it has not seen. Raises `ResourceError` before
    anything starts when the cluster cannot hold the run, and what the run itself raises.
    """
    asked = groups(config, cluster_nodes())
    num_packs, cpus = sum(bool(group.generators) for group in asked), sum(node.cpus for node in cluster_nodes())
    if num_packs > cpus:
        log.warning("%d generator actors on %g processors: they share time", num_packs, cpus)
    run_id = hashlib.sha256(Storage.at(uri).uri.encode()).hexdigest()[:12]
    coordinator = start_coordinator(config, spec, uri, asked, run_id)
    seen, last_answer = 0, time.monotonic()
    try:
        while True:
            try:
                status: Status = ray.get(coordinator.status.remote(seen), timeout=config.resources.stall_s)
            except RayActorError:
                raise WorkerLostError("died", "the coordinator", "go on with `raymix resume`") from None
            except RayError as error:
                silence = time.monotonic() - last_answer
                raise WorkerLostError(
                    f"has not answered for {silence:.0f} s ({error.__class__.__name__})", "the coordinator"
                ) from None
            last_answer = time.monotonic()
            seen += len(status.lines)
            watch(status)
            if status.failure:
                raise status.failure
            if status.ended:
                return
            time.sleep(POLL_S)
    finally:
        ray.kill(coordinator)
