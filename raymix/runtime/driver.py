"""The driver's side of a run on Ray: a cluster, a coordinator, and a look at it now and then."""

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import ray
from ray._private import services
from ray.exceptions import AuthenticationError, RayError
from ray.util.placement_group import PlacementGroup

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.errors import RaymixError, ResourceError, WorkerLostError
from raymix.recipes.packing import Pace, Packing, cached_paces, packed
from raymix.runs.run import Status
from raymix.runtime.actors import Process
from raymix.runtime.capacity import cluster_nodes, fitting_groups, require_room_beside_caller
from raymix.runtime.coordinator import start_coordinator, start_detached
from raymix.runtime.guest import quietly, staying
from raymix.runtime.identity import NAMESPACE, run_id_of
from raymix.runtime.janitor import watched
from raymix.runtime.living import watch_until_end
from raymix.runtime.local_ray import CONNECT_S, keeping_loopback, on_loopback_alone, start_local
from raymix.runtime.placement import slots, uses_gpus
from raymix.runtime.waiting import translated

log = logging.getLogger(__name__)
Reserved = PlacementGroup
"""One that somebody else made for a run: it holds a bundle for helpers, and one for each of the run's groups."""
Detached = Callable[[Process], None]
"""Told where the coordinator of a run is that goes on without this process."""
EVERYWHERE: dict[str, Any] = {
    "namespace": NAMESPACE,
    "configure_logging": True,
    "logging_level": logging.ERROR,
    "log_to_driver": False,
}


@contextmanager
def cluster(address: str | None, num_cpus: int | None = None) -> Iterator[None]:
    """A running Ray: the one this process is connected to, the one at `address`, or a local one that ends with the
    block. Raises `ResourceError` when it cannot be had."""
    if ray.is_initialized():
        yield
        return
    with staying():
        janitor: AbstractContextManager[None] = nullcontext()
        try:
            with quietly():
                if address:
                    connect(address)
                else:
                    janitor = watched(start_local(num_cpus, **EVERYWHERE))
        except RaymixError:
            raise
        except Exception as error:  # Ray raises plain exceptions here, of many kinds
            raise unreachable(error, address) from None
        with janitor:
            try:
                yield
            finally:
                with quietly():
                    ray.shutdown()


def connect(address: str) -> None:
    """Connect to a running Ray. Raises `ResourceError` when there is nobody, and what `ray.init` raises."""
    found = services.get_ray_address_from_environment(address, None) if address == "auto" else address
    host, port = require_reachable(found)
    with keeping_loopback() if on_loopback_alone(host, port) else nullcontext():
        ray.init(address=address, **EVERYWHERE)


def unreachable(error: BaseException, address: str | None) -> ResourceError:
    """Why Ray could not be had, in a line; a missing token hides behind other errors."""
    where, reason = f"--address {address or 'local'}", (str(error).strip() or type(error).__name__).splitlines()[0]
    if "AF_UNIX" in reason:
        what = f"the paths of Ray's sockets are too long ({reason.removeprefix('validate_socket_filename failed: ')})"
        return ResourceError(what, "TMPDIR", "set RAY_TMPDIR to a folder with a short path, such as /tmp")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, AuthenticationError) or "AuthToken" in str(cause):
            todo = "set RAY_AUTH_MODE=token and put the cluster's token into ~/.ray/auth_token (or RAY_AUTH_TOKEN_PATH)"
            return ResourceError("the cluster asks for a token that this process does not have", where, todo)
        cause = cause.__cause__ or cause.__context__
    return ResourceError(f"Ray cannot be reached ({reason})", where)


def require_reachable(address: str) -> tuple[str, int]:
    """Host and port of an address; Ray itself would go on trying it for many minutes.

    Raises `ResourceError` within ten seconds.
    """
    where = f"--address {address}"
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ResourceError("is no host:port", where, "give auto, host:port or ray://host:port")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ResourceError(f"cannot be reached ({error})", where, "start Ray there, or mend the address") from None
    return host, int(port)


def packed_for_cluster(config: Config, spec: DataSpec) -> tuple[Config, str]:
    """The config with its packing resolved for the connected cluster, and why."""
    nodes = cluster_nodes()
    on_gpu = uses_gpus(config, nodes)
    return packed(config, spec, slots(config, nodes), _paces_on_gpu if on_gpu else None, on_gpu)


def _paces_on_gpu(config: Config, spec: DataSpec, stacks: Sequence[Packing]) -> list[Pace]:
    """Measured on one of the cluster's GPUs; this process may have none."""
    wanted = config.resources.accelerator_type
    asked: dict[str, Any] = {"num_cpus": 0, "num_gpus": 1} | ({"accelerator_type": wanted} if wanted else {})
    measure = ray.remote(**asked)(cached_paces)
    try:
        found: list[Pace] = ray.get(measure.remote(config, spec, stacks), timeout=config.resources.place_s)
    except RayError as error:
        raise translated(error, "measuring how components share a GPU") from None
    return found


def require_room(config: Config, wait_s: float) -> None:
    """Raises `ResourceError` unless the cluster can hold the run, at once or after `wait_s` seconds."""
    asked = fitting_groups(config, wait_s)
    require_room_beside_caller(asked)
    num_packs, cpus = sum(bool(group.generators) for group in asked), sum(node.cpus for node in cluster_nodes())
    if num_packs > cpus:
        log.warning("%d generator actors on %g processors: they share time", num_packs, cpus)


def run_on_ray(
    config: Config,
    spec: DataSpec,
    uri: str,
    watch: Callable[[Status], None],
    reserved: Reserved | None = None,
    detached: Detached | None = None,
) -> None:
    """Start or go on with the run in `uri` on the connected cluster; returns when it ended, with `detached` at once.

    `watch` is called about ten times a second, with the record lines it has not seen; in a `reserved` place the run
    waits after each round until it has returned. A coordinator that died restarts by itself and is waited for. Raises
    what the run itself raises, and `WorkerLostError` when nothing is heard of it any more.
    """
    if detached is not None:
        detached(start_detached(config, spec, uri, run_id_of(uri)))
        return
    coordinator = start_coordinator(config, spec, uri, run_id_of(uri), reserved)
    try:
        if not watch_until_end(coordinator, config.resources.stall_s, watch):
            raise WorkerLostError("died and does not come back", "the coordinator", "go on with `raymix resume`")
    finally:
        ray.kill(coordinator)
