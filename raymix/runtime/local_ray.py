"""A Ray on this machine alone, closed to everybody else: no dashboard, loopback only, a token of its owner's."""

import functools
import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants

from raymix.errors import ResourceError

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = (LOOPBACK, "localhost", "::1", "[::1]")
CONNECT_S = 10
# A local Ray ends processes that idle for a second, and every round would start new ones for its block tasks.
KEEP_IDLE_PROCESSES = {"idle_worker_killing_time_threshold_ms": 600_000}
AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
log = logging.getLogger(__name__)


def start_local(num_cpus: int | None, **options: Any) -> int:
    """Connect to a new local Ray; returns the process number of its raylet, which starts all workers.

    Raises what `ray.init` raises.
    """
    if not any(name in os.environ for name in AUTHENTICATION):
        provide_token()
    with keeping_loopback():
        ray.init(
            address="local",
            num_cpus=num_cpus or os.cpu_count(),
            include_dashboard=False,
            _node_ip_address=LOOPBACK,
            _system_config=KEEP_IDLE_PROCESSES,
            **options,
        )
    node: Any = ray._private.worker._global_node
    [raylet] = node.all_processes[ray_constants.PROCESS_TYPE_RAYLET]
    return int(raylet.process.pid)


@contextmanager
def keeping_loopback() -> Iterator[None]:
    """Inside, Ray takes a loopback address as it is.

    Elsewhere it turns one into the machine's own, except on systems where it supports one node only; it asks this
    constant, which it sets once, from the environment, when it is first imported.
    """
    several_nodes, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = several_nodes


def on_loopback_alone(host: str, port: int) -> bool:
    """Whether what listens there is hidden from the machine's own address, as a local Ray is."""
    if host not in LOOPBACK_NAMES:
        return False
    try:
        socket.create_connection((ray.util.get_node_ip_address(), port), timeout=CONNECT_S).close()
    except OSError:
        return True
    return False


def provide_token() -> None:
    """Ray's token for this user; where there is no home to keep it in, one for this process and its children."""
    try:
        write_token(Path.home() / ".ray" / "auth_token")
    except (ResourceError, RuntimeError) as error:
        log.warning("no other process can reach this local Ray: %s", error)
        os.environ["RAY_AUTH_TOKEN"] = own_token()


@functools.cache  # Ray reads it once
def own_token() -> str:
    """A secret of this process."""
    return secrets.token_hex(32)


def write_token(path: Path) -> None:
    """A token for this user in a file, unless there is one; Ray itself would let every user of the machine read it.

    Raises `ResourceError` when it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), open(path, "x", opener=_for_the_owner) as file:
            file.write(secrets.token_hex(32))
    except OSError as error:
        todo = "set HOME to a folder that can be written, or RAY_AUTH_TOKEN to a secret"
        raise ResourceError(f"Ray's token cannot be written ({error.strerror})", str(path), todo) from None


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
