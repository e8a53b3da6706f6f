"""Machines to plan for: what a node has beside what placement looks at, and how a cluster is written that is not there.

    8xH200                                   one node with eight GPUs of that type
    4x(8xH200,cpus=192,memory=2T)            four such nodes, of 192 processors and 2 TiB
    64x(cpus=16,gpus=1,memory=64G)           64 nodes with a GPU of no matter which type
    (8xH200)+16x(cpus=32)                    nodes of two kinds

Nothing here touches Ray.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from raymix.errors import ConfigError
from raymix.runtime.placement import Node

WHERE = "--nodes"
GIB = 2**30
CPUS_PER_GPU = 16  # assumed where nothing is said
MEMORY_PER_CPU = 4 * GIB  # likewise
STORE_SHARE, STORE_MOST = 0.3, 200 * 10**9  # of a node's memory, as Ray takes by default
MOST_NODES = 100_000
GPU_GIB = {
    "A10G": 24,
    "A100": 40,
    "A100-40G": 40,
    "A100-80G": 80,
    "B200": 180,
    "B300": 270,
    "GB200": 186,
    "GB300": 270,
    "H20": 96,
    "H100": 80,
    "H200": 141,
    "L4": 24,
    "L40S": 48,
    "P4": 8,
    "P100": 16,
    "T4": 16,
    "V100": 16,
}
"""Memory of a GPU by Ray's name of its type; of those with several sizes the smallest."""
UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
NAMES = ("cpus", "gpus", "type", "memory", "store", "gpu_memory")


@dataclass(frozen=True)
class Machine:
    """One node."""

    node: Node
    memory_bytes: int
    """Memory of the whole machine, the object store's among it."""
    store_bytes: int
    """Memory of the object store."""
    gpu_bytes: int = 0
    """Memory of each GPU; 0 where it is not known."""

    @property
    def about(self) -> str:
        """In a few words."""
        node = self.node
        gpus = f", {node.gpus:g} {node.accelerator_type or 'GPUs'}" if node.gpus else ""
        return f"{node.cpus:g} CPUs{gpus}, {self.memory_bytes / GIB:.3g} GiB"


def machines_of(text: str) -> list[Machine]:
    """The nodes that a text describes (see above). Raises `ConfigError`."""
    found: list[Machine] = []
    for part in re.sub(r"\s", "", text).split("+"):
        several = re.fullmatch(r"(?:(\d+)x)?\((.*)\)", part)
        number, inside = (several[1] or "1", several[2]) if several else ("1", part)
        if not 1 <= int(number) <= MOST_NODES:
            refuse(f"{number} nodes are no number from 1 to {MOST_NODES}")
        kind = _machine(inside, part)
        for _ in range(int(number)):
            node = Node(kind.node.cpus, kind.node.gpus, f"node-{len(found)}", kind.node.accelerator_type)
            found.append(Machine(node, kind.memory_bytes, kind.store_bytes, kind.gpu_bytes))
    return found


def _machine(inside: str, part: str) -> Machine:
    """One node of `cpus=16,memory=64G` and the like."""
    values: dict[str, str] = {}
    for name, value in _settings(inside):
        if name in values:
            refuse(f"{name} is given twice in {part!r}")
        values[name] = value
    gpu_type = values.get("type", "")
    gpus = _number(values, "gpus") if "gpus" in values else float(bool(gpu_type))
    if not gpus and "cpus" not in values:
        refuse(f"{part!r} has neither processors nor GPUs")
    cpus = _number(values, "cpus") if "cpus" in values else CPUS_PER_GPU * gpus
    memory = num_bytes(values["memory"]) if "memory" in values else int(MEMORY_PER_CPU * cpus)
    store = num_bytes(values["store"]) if "store" in values else default_store(memory)
    gpu = num_bytes(values["gpu_memory"]) if "gpu_memory" in values else GPU_GIB.get(gpu_type, 0) * GIB
    if not memory:
        refuse(f"{part!r} has no memory; give memory=")
    if store > memory:
        refuse(f"the object store is larger than the memory in {part!r}")
    return Machine(Node(cpus, gpus, accelerator_type=gpu_type if gpus else ""), memory, store, gpu if gpus else 0)


def _settings(inside: str) -> Iterator[tuple[str, str]]:
    """Names and values, with `8xH200` taken apart."""
    for item in inside.split(","):
        name, given, value = item.partition("=")
        short = re.fullmatch(r"(?:(\d+)x)?([A-Z][A-Za-z0-9._-]*)", item)
        if short:
            yield "type", short[2]
            yield "gpus", short[1] or "1"
        elif given and name in NAMES and value:
            yield name, value
        else:
            refuse(f"{item!r} is neither a type of GPU nor one of {', '.join(NAMES)} with a value")


def _number(values: dict[str, str], name: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", values[name]):
        refuse(f"{name}={values[name]} is no number")
    return float(values[name])


def num_bytes(text: str) -> int:
    """64G -> 64 * 2**30. Raises `ConfigError`."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d+)?)([KMGT]?)(?:i?B)?", text)
    if not found:
        refuse(f"{text!r} is no size such as 64G")
    return int(float(found[1]) * 2 ** UNITS[found[2]])


def default_store(memory_bytes: int) -> int:
    """The object store that Ray takes of so much memory."""
    return min(int(STORE_SHARE * memory_bytes), STORE_MOST)


def refuse(what: str) -> NoReturn:
    raise ConfigError(what, WHERE, "write 8xH200 for one node or 64x(cpus=16,gpus=1,memory=64G) for 64")
