"""A Ray cluster of several nodes on this machine, to try things: `python -m launch.local_cluster --nodes 4`.

Every node is a `ray start` of its own with its own address (127.0.0.2, 127.0.0.3, ...), and asks for a token, as on a
real cluster. At ctrl-C all of them end.
"""

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Annotated, NamedTuple

import psutil
import tyro

from raymix.errors import ConfigError, RaymixError, ResourceError
from raymix.runtime.local_ray import write_token

START_S = 120.0
TRIES = 3
END_S = 15.0
OBJECT_STORE_MB = 256
PR_SET_PDEATHSIG = 1
NUM_ALIVE = """
import sys
from ray._raylet import GcsClient
nodes = GcsClient(address=sys.argv[1]).get_all_node_info().values()
print(sum(node.state == 0 for node in nodes))
"""


@dataclass(frozen=True)
class Arguments:
    """Start a Ray cluster of several nodes on this machine and keep it until ctrl-C."""

    nodes: int = 4
    """Nodes, the head among them."""
    cpus: Annotated[str, tyro.conf.arg(metavar="N,N,...")] = "1"
    """Processors that each node says it has, the head first; one number stands for all."""
    object_store_mb: int = OBJECT_STORE_MB
    """Memory of each node's object store."""
    dashboard: bool = True
    """Ray's dashboard on the head, which jobs need (`pip install 'raymix[cluster]'`)."""


class Place(NamedTuple):
    """Where a node is."""

    address: str
    prefix: tuple[str, ...] = ()
    """Words before its command, which lead there."""


def on_loopback(number: int) -> Place:
    """Ray takes 127.0.0.1 for the machine's own address, and leaves its neighbours as they are."""
    return Place(f"127.0.0.{number + 2}")


@dataclass
class LocalCluster:
    """Nodes that were started, by their processes, the head first."""

    address: str
    dashboard: str | None
    environment: Mapping[str, str]
    """What a driver needs in order to connect, beside the token."""
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)


def main() -> None:
    try:
        arguments = tyro.cli(Arguments, prog="python -m launch.local_cluster", config=(tyro.conf.FlagCreatePairsOff,))
        cpus = cpus_of(arguments)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with local_cluster(cpus, arguments.object_store_mb * 2**20, arguments.dashboard) as cluster:
            print(advice(cluster), flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        print("\nall nodes have ended")
    except RaymixError as error:
        sys.exit(f"local_cluster: error: {error}")


def cpus_of(arguments: Arguments) -> list[int]:
    """Processors of each node. Raises `ConfigError`."""
    try:
        cpus = [int(each) for each in arguments.cpus.split(",")]
    except ValueError:
        raise ConfigError(f"{arguments.cpus!r} is no list of numbers", "--cpus", "such as 1,2,2") from None
    cpus = cpus * arguments.nodes if len(cpus) == 1 else cpus
    if len(cpus) != arguments.nodes or arguments.nodes < 1 or min(cpus) < 0:
        raise ConfigError(
            f"{arguments.cpus} does not fit {arguments.nodes} nodes", "--cpus", "give one number for each"
        )
    return cpus


def advice(cluster: LocalCluster) -> str:
    """What to try."""
    jobs = f"python -m launch.submit --address {cluster.dashboard} --name try-1 -- train synthetic-5 --out /tmp/try-1"
    train = f"raymix train synthetic-5 --address {cluster.address}"
    return "\n".join(
        [
            f"address: {cluster.address}",
            *([f"dashboard: {cluster.dashboard}"] if cluster.dashboard else []),
            "try, in another shell:",
            "  export RAY_AUTH_MODE=token  # the token is in ~/.ray/auth_token",
            f"  {train}",
            f"  {train} --detach",
            *([f"  {jobs}"] if cluster.dashboard else []),
            "ctrl-C ends the cluster",
        ]
    )


@contextmanager
def local_cluster(
    cpus: Sequence[int],
    object_store_bytes: int = OBJECT_STORE_MB * 2**20,
    dashboard: bool = False,
    place_of: Callable[[int], Place] = on_loopback,
) -> Iterator[LocalCluster]:
    """A cluster with a node for each number of processors, the head first; it ends with the block.

    Raises `ResourceError` when a node does not start.
    """
    if not any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        write_token(Path.home() / ".ray" / "auth_token")
    host, (gcs, web, client) = place_of(0).address, free_ports(3)
    environment = {"RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1"}
    found = LocalCluster(f"{host}:{gcs}", f"http://{host}:{web}" if dashboard else None, environment)
    shown = [f"--include-dashboard={dashboard}", f"--dashboard-host={host}", f"--dashboard-port={web}"]
    if find_spec("grpc"):  # without it there is no such server, and Ray refuses its port
        shown.append(f"--ray-client-server-port={client}")
    roles = [["--head", f"--port={gcs}", *shown]]
    roles += [[f"--address={found.address}"]] * (len(cpus) - 1)
    with ExitStack() as stack:
        for number, (num_cpus, role) in enumerate(zip(cpus, roles, strict=True)):
            size = [f"--num-cpus={num_cpus}", "--num-gpus=0", f"--object-store-memory={object_store_bytes}"]
            start = partial(node, place_of(number), [*role, *size], environment)
            found.nodes.append(stack.enter_context(joined(start, found.address, environment, number + 1)))
        yield found


def free_ports(num: int) -> list[int]:
    """Ports that nobody listens on, below those that systems give to clients, who could take them before Ray does."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 1000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            found.append(port)
        if len(found) == num:
            return found
    raise ResourceError("no ports are free", "local cluster")


@contextmanager
def node(
    place: Place, options: Sequence[str], environment: Mapping[str, str], log: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """One `ray start` that stays in the foreground, and ends with all its processes, even when this one is killed."""
    command = [*place.prefix, sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    # the nodes share a machine, so their workers let the system choose ports
    command += [f"--node-ip-address={place.address}", "--min-worker-port=0", "--max-worker-port=0", *options]
    command.append("--disable-usage-stats")
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"  # jobs say `python`
    process = subprocess.Popen(
        command,
        env=os.environ | dict(environment) | {"PATH": tools},
        stdout=log,
        stderr=log,
        start_new_session=True,  # ctrl-C is for this process, which then ends the nodes in order
        preexec_fn=end_with_parent,
    )
    try:
        yield process
    finally:
        end(process)


def end_with_parent() -> None:
    """Linux sends this process SIGTERM when its parent dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a node to end, and end what is left of it later, by number."""
    below: list[psutil.Process] = []
    if process.poll() is None:
        below = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(below, timeout=END_S)
    for each in left:
        each.kill()


@contextmanager
def joined(
    start: Callable[[IO[bytes]], AbstractContextManager[subprocess.Popen[bytes]]],
    address: str,
    environment: Mapping[str, str],
    num: int,
) -> Iterator[subprocess.Popen[bytes]]:
    """A node, once it is the last of so many. Ray gives up on one that starts slowly, so it is started again.

    Raises `ResourceError`.
    """
    for _ in range(TRIES):
        with tempfile.TemporaryFile() as log, start(log) as process:
            deadline = time.monotonic() + START_S
            while process.poll() is None and time.monotonic() < deadline:
                if answers(address) and num_alive(address, environment) >= num:
                    yield process
                    return
                time.sleep(0.2)
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines() or [f"exit code {process.poll()}"]
    raise ResourceError(f"did not start, {TRIES} times ({said[-1]})", f"node {num} at {address}", "start fewer nodes")


def answers(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port))) == 0


def num_alive(address: str, environment: Mapping[str, str]) -> int:
    """Nodes that have joined, as another process sees them: this one may be connected elsewhere."""
    command = [sys.executable, "-c", NUM_ALIVE, address]
    done = subprocess.run(command, env=os.environ | dict(environment), capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 else 0


if __name__ == "__main__":
    main()
