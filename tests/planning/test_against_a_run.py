"""A plan against the run it is about: processes' memory, the object store, the checkpoint. Takes minutes."""

import threading
import time
from collections import defaultdict
from pathlib import Path

import psutil
import pytest
import ray
from ray._private.state import available_resources_per_node

from raymix import session
from raymix.config_values import replaced
from raymix.planning.plan import plan, size
from raymix.recipes.catalogue import recipe
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory
from raymix.runtime.capacity import cluster_machines
from raymix.storage import Storage

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

FACTOR = 1.5  # between an actor's memory as planned and as measured, either way
STORE = 0.05  # apart, of the object store's bytes
FILES = 0.01  # apart, of the bytes of a checkpoint
WATCH_S = 0.2
SHORT = {
    "schedule.rounds": 1,
    "schedule.pretrain_epochs": 0.3,
    "schedule.epochs_per_round": 0.3,
    "schedule.report": False,
    "discriminator.epochs": 0.3,
    "resources.fused": True,
}


class Watch(threading.Thread):
    """Looks at the processes of a run, and at the object store, until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own: dict[str, dict[int, int]] = defaultdict(dict)
        """The most memory of their own that processes had, by what they are and their number."""
        self.pss: dict[int, int] = {}
        self.store_bytes = 0
        self.stopping = threading.Event()
        self.total = {node["NodeID"]: node["Resources"]["object_store_memory"] for node in ray.nodes()}

    def run(self) -> None:
        while not self.stopping.wait(WATCH_S):
            for process in psutil.Process().children(recursive=True):
                try:
                    title = " ".join(process.cmdline())
                    pages = pss(process.pid)
                except (psutil.Error, OSError):
                    continue
                kind = next(
                    (name for name in ("GeneratorActor", "DiscriminatorActor", "Coordinator") if name in title), ""
                )
                if kind:
                    known = self.own[kind]
                    known[process.pid] = max(known.get(process.pid, 0), pages["Pss_Anon"])
                    private = pages["Pss_Anon"] + pages["Pss_File"]
                    self.pss[process.pid] = max(self.pss.get(process.pid, 0), private)
            left = available_resources_per_node()
            used = sum(
                total - left[node].get("object_store_memory", 0) for node, total in self.total.items() if node in left
            )
            self.store_bytes = max(self.store_bytes, int(used))


def pss(pid: int) -> dict[str, int]:
    """The kernel's summary of a process's pages, in bytes; those that several share are divided among them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mnist", {"resources.pack": 8}),
        (
            "mnist",
            {"num_components": 4, "discriminator.trunk": "separate", "resources.pack": 4, "schedule.batch_size": 256},
        ),
        ("gan-mnist-small", {"resources.pack": 5, "discriminator.epochs": 3}),
        (
            "mnist",
            {
                "num_components": 1,
                "resources.pack": 1,
                "resources.workers_per_component": 2,
                "discriminator.workers": 2,
                "schedule.batch_size": 256,
            },
        ),
    ],
    ids=["trunk", "separate", "critics", "workers"],
)
def test_a_plan_is_near_what_a_run_takes(name, settings, real_data, tmp_path):
    values = SHORT | settings | {"data.dir": str(real_data / "mnist")}
    config, spec = resolve(replaced(recipe(name), values))
    planned = plan(config, spec, cluster_machines())
    time.sleep(2)  # what was there before is gone from the object store
    watch = Watch()
    watch.start()
    session.start(config, spec, str(tmp_path / "run"))
    watch.stopping.set()
    watch.join()

    by_class = {"GeneratorActor": "generators", "DiscriminatorActor": "discriminators"}
    for name, kind in by_class.items():
        expected = sorted(actor.memory.host_bytes for actor in planned.actors if actor.kind == kind)
        measured = sorted(watch.own[name].values())
        assert len(expected) == len(measured)
        for plan_bytes, found in zip(expected, measured, strict=True):
            print(f"{kind}: planned {size(plan_bytes)}, measured {size(found)} ({plan_bytes / found:.2f})")
            assert found / FACTOR < plan_bytes < found * FACTOR
    print("with their share of the libraries:", [size(each) for each in watch.pss.values()])
    print(f"object store: planned {size(planned.data.peak)}, measured {size(watch.store_bytes)}")
    directory = RunDirectory(Storage.at(tmp_path / "run"))
    written = sum(stamp.num_bytes for stamp in directory.require_last().files.values())
    print(f"checkpoint: planned {planned.generation_bytes}, measured {written}")
    assert planned.data.peak == pytest.approx(watch.store_bytes, rel=STORE)
    assert planned.generation_bytes == pytest.approx(written, rel=FILES)
