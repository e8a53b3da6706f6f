"""Placement groups and capacity on a real Ray, and what a local Ray shows to the outside."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ray
from ray.util.placement_group import placement_group_table

from raymix.cli import main
from raymix.config import Config, ResourcesConfig
from raymix.errors import RaymixError, ResourceError
from raymix.mixture import Mixture
from raymix.runtime.capacity import cluster_nodes, fitting_groups, free_nodes
from raymix.runtime.groups import broken, remove_groups, reserve, reserve_all
from raymix.runtime.local_ray import write_token
from raymix.runtime.placement import Group, Node

PAIR = [Group("pack-0", (0,), (0,), 1, 0), Group("pack-1", (1,), (1,), 1, 0)]  # all of a cluster of two processors
MORE = Group("more", (2,), (), 1, 0)
PREFIX = "raymix-test-"


@pytest.fixture
def clean(ray_cluster):
    """Nothing is reserved before and after."""
    yield
    remove_groups(PREFIX)
    wait_until(lambda: sum(node.cpus for node in free_nodes()) == 2)


def wait_until(holds, bound_s=10):
    deadline = time.monotonic() + bound_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert holds()


def names(prefix=PREFIX):
    table = placement_group_table().values()
    return sorted(info["name"] for info in table if info["name"].startswith(prefix) and info["state"] != "REMOVED")


def test_what_a_node_has_and_what_is_free(clean):
    [node] = cluster_nodes()
    assert (node.cpus, node.gpus) == (2, 0) and node.id == ray.get_runtime_context().get_node_id()
    assert free_nodes() == [node]
    reserve(MORE, f"{PREFIX}more", 5)
    wait_until(lambda: free_nodes() == [Node(1, 0, node.id)])


def test_groups_are_reserved_in_the_order_asked_and_given_back_by_name(clean):
    places = reserve_all(PAIR, "test", 5)
    assert [place.bundle_specs for place in places] == [[{"CPU": 0.5}] * 2] * 2
    assert broken(places) == set()
    assert names() == [f"{PREFIX}pack-0", f"{PREFIX}pack-1"]
    assert remove_groups("raymix-tes-") == 0  # another run
    assert remove_groups(PREFIX) == 2
    assert remove_groups(PREFIX) == 0
    assert broken(places) == set(places)
    reserve_all(PAIR, "test", 5)  # as a restarted coordinator does, at once


def test_what_other_work_holds_is_waited_for_with_a_bound(clean):
    class Holder:  # inside, so that its process need not import what this module does
        def ready(self):
            pass

    holder = ray.remote(num_cpus=2)(Holder).remote()
    ray.get(holder.ready.remote())
    wait_until(lambda: sum(node.cpus for node in free_nodes()) == 0)
    for wait in (lambda: reserve_all(PAIR, "test", 1), lambda: reserve(MORE, f"{PREFIX}more", 1)):
        started = time.monotonic()
        with pytest.raises(ResourceError) as caught:
            wait()
        assert time.monotonic() - started < 5
        assert "were not free within 1 s; free now: 0 CPUs and 0 GPUs on " in str(caught.value)
        assert "other work holds 2 CPUs and 0 GPUs of 2 CPUs and 0 GPUs" in str(caught.value)
        assert names() == []
    ray.kill(holder)
    assert len(reserve_all(PAIR, "test", 10)) == 2  # as soon as it is free


def test_a_group_that_is_too_many_takes_the_others_along(clean):
    with pytest.raises(ResourceError, match="placement group raymix-test-more"):
        reserve_all([*PAIR, MORE], "test", 1)
    assert names() == []


def test_a_name_that_is_taken_is_refused_and_the_holder_keeps_it(clean):
    place = reserve(MORE, f"{PREFIX}more", 5)
    with pytest.raises(RaymixError, match="already exists"):
        reserve(MORE, f"{PREFIX}more", 5)
    assert not broken([place])


def asking(cpus, **more):
    return Config(num_components=2, resources=ResourcesConfig(pack=1, cpus_per_component=cpus, **more))


def test_what_fits_needs_no_waiting(clean):
    said = []
    assert [group.cpus for group in fitting_groups(asking(1), 60, said.append)] == [1, 1]
    assert said == []


@pytest.mark.parametrize("more", [{}, {"gpus_per_component": 1}])
def test_what_cannot_fit_is_refused_at_once_or_after_the_wait_while_the_demand_is_shown(clean, more):
    config = asking(3, **more)
    with pytest.raises(ResourceError, match="2 placement groups ask for 6 CPUs"):
        fitting_groups(config)
    shown = []

    def notify(line):
        shown.append(line)

    started = time.monotonic()
    with pytest.raises(ResourceError, match="after 2 s of waiting for nodes: 2 placement groups ask for 6 CPUs"):
        fitting_groups(config, 2, notify)
    assert 2 <= time.monotonic() - started < 6
    assert len(shown) == 1 and "waits up to 2 s for nodes" in shown[0] and "no room for pack-0" in shown[0]
    wait_until(lambda: [name for name in names("raymix") if "-demand-" in name] == [])


# ---- from the outside


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--resources.cpus-per-component=3"], "the largest node has 2 CPUs"),
        (["--resources.gpus-per-component=0.5"], "0 GPUs, the cluster 2 CPUs and 0 GPUs"),
        (["--resources.cpus-per-component=1", "--resources.pack=1"], "ask for 3 CPUs and 0 GPUs in all"),
    ],
)
def test_the_command_line_refuses_what_cannot_fit_within_ten_seconds(ray_cluster, tmp_path, capsys, options, text):
    started = time.monotonic()
    out = str(tmp_path / "run")
    assert main(["train", "synthetic-3", "--data.num-rows=300", *options, "--out", out]) == 2
    assert time.monotonic() - started < 10
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("raymix: error: resources: ") and text in error
    assert not Path(out).exists()


def test_a_mixture_refuses_what_cannot_fit_within_ten_seconds(ray_cluster, tmp_path):
    rows = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    settings = {"resources.cpus_per_component": 4, "resources.pack": 1}
    mixture = Mixture("synthetic-3", num_components=2, workers="ray", out=tmp_path / "run", overrides=settings)
    started = time.monotonic()
    with pytest.raises(ResourceError, match="no room for pack-0, pack-1"):
        mixture.fit(rows)
    assert time.monotonic() - started < 10


LOCAL = """
import json, os, sys
import psutil, ray
from raymix.runtime.driver import cluster

with cluster(None, num_cpus=2):
    @ray.remote(num_cpus=0)
    class Actor:
        def ready(self):
            pass

    actor = Actor.remote()
    ray.get(actor.ready.remote())
    me = psutil.Process()
    listening, peers, seen = [], [], []
    for process in [me, *me.children(recursive=True)]:
        seen.append(process.name())
        for one in process.net_connections("inet"):
            if one.raddr:
                peers.append(one.raddr.ip)
            else:
                listening.append([process.name(), one.laddr.ip, one.laddr.port])
    print(json.dumps({"listening": listening, "peers": peers, "seen": seen, "auth": os.environ.get("RAY_AUTH_MODE")}))
"""


@pytest.mark.slow
def test_a_local_ray_listens_on_the_loopback_interface_alone(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    answer = run(LOCAL, environment | {"HOME": str(tmp_path)})
    found = json.loads(answer.stdout.splitlines()[-1])
    assert {"gcs_server", "raylet"} <= set(found["seen"]) and any("Actor" in name for name in found["seen"])
    assert {name for name, *_ in found["listening"]} >= {"gcs_server", "raylet"}
    loopback = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    assert [each for each in found["listening"] if each[1] not in loopback] == []
    assert [peer for peer in found["peers"] if peer not in loopback] == []
    assert not any(port == 8265 for _, _, port in found["listening"])  # the dashboard's
    token = tmp_path / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o077 == 0 and len(token.read_text()) == 64


def run(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True, env=environment)


def test_a_token_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "deep" / "auth_token"
    write_token(path)
    token = path.read_text()
    write_token(path)
    assert path.read_text() == token and path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ResourceError, match=r"token cannot be written .*set HOME"):
        write_token(path / "beneath-a-file")


NODES = """
import json, logging, time
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from raymix.config import Config, ResourcesConfig
from raymix.errors import WorkerLostError
from raymix.runtime.capacity import fitting_groups
from raymix.runtime.groups import broken, remove_groups, reserve_all
from raymix.runtime.placement import Group
from raymix.runtime.waiting import gather

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
small, large = cluster.add_node(num_cpus=3), cluster.add_node(num_cpus=4)
ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
found = {}
asked = [Group("b", (0,), (), 2, 0), Group("a", (0,), (), 3, 0), Group("c", (0,), (), 2, 0)]
places = reserve_all(asked, "nodes", 10)
found["broken"] = len(broken(places))

class Actor:
    def sleep(self):
        time.sleep(100)

strategy = PlacementGroupSchedulingStrategy(places[1], placement_group_bundle_index=0)
actor = ray.remote(num_cpus=3)(Actor).options(scheduling_strategy=strategy).remote()
ref = actor.sleep.remote()
time.sleep(3)
killed = time.monotonic()
cluster.remove_node(small, allow_graceful=False)
try:
    gather([ref], "a phase", 60)
except WorkerLostError as error:  # first it is the actor that cannot be reached, later its node that is dead
    found["told_s"], found["error"] = time.monotonic() - killed, str(error)
while not broken(places):
    assert time.monotonic() < killed + 30
    time.sleep(0.05)
found["after"] = [place in broken(places) for place in places]
remove_groups("raymix-nodes-")

config = Config(num_components=3, resources=ResourcesConfig(pack=1, cpus_per_component=2))
said = []

def notify(line):
    said.append(line)
    cluster.add_node(num_cpus=2)

started = time.monotonic()
found["fit"] = [group.cpus for group in fitting_groups(config, 60, notify)]
found["fit_s"], found["said"] = time.monotonic() - started, said
found["reserved"] = len(broken(reserve_all(fitting_groups(config), "nodes", 10)))
print(json.dumps(found))
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.faults
def test_nodes_come_and_go():
    found = json.loads(run(NODES, dict(os.environ)).stdout.splitlines()[-1])
    assert found["broken"] == 0  # Ray alone would put a group of two on the node of three
    assert "was lost" in found["error"] and found["told_s"] < 30
    assert found["after"] == [False, True, False]
    assert found["fit"] == [2, 2, 2] and found["fit_s"] < 40
    assert len(found["said"]) == 1 and "no room for pack-2" in found["said"][0]
    assert found["reserved"] == 0


TYPES = """
import json, logging
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group_table
from raymix.config import Config, DiscriminatorConfig, ResourcesConfig
from raymix.errors import ResourceError
from raymix.runtime.capacity import cluster_machines, cluster_nodes, fitting_groups, free_nodes
from raymix.runtime.groups import remove_groups, reserve_all
from raymix.runtime.placement import slots
from raymix.search.room import asking
from raymix.search.asked import Search, Task

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
def add(kind, num):
    marked = {f"accelerator_type:{kind}": 1}
    cluster.add_node(num_cpus=4, num_gpus=num, resources=marked, object_store_memory=10**8)

add("L4", 4), add("H200", 2), add("H200", 2)
ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
types = {node.id: node.accelerator_type for node in cluster_nodes()}
found = {"types": sorted(types.values()), "gpu_gib": sorted(m.gpu_bytes >> 30 for m in cluster_machines())}
own = ray.get_runtime_context().get_node_id()
found["first"] = cluster_machines()[0].node.id.endswith(f"/{own[:8]}")

def config(K, kind):
    resources = ResourcesConfig(pack=1, accelerator_type=kind)
    return Config(num_components=K, discriminator=DiscriminatorConfig(trunk="shared"), resources=resources)

def homes_of(places):
    tables = [placement_group_table(place) for place in places]
    return [node for table in tables for node in table["bundles_to_node_id"].values()]

found["slots"] = slots(config(3, "H200"), cluster_nodes())
where = homes_of(reserve_all(fitting_groups(config(3, "H200")), "types", 20))
found["on"], found["nodes"] = sorted(types[node] for node in where), len(set(where))
found["each"] = sorted(map(where.count, set(where)))
found["free"] = sorted(node.accelerator_type for node in free_nodes())
remove_groups("raymix-types-")
try:
    fitting_groups(config(3, "A100"))
except ResourceError as error:
    found["missing"] = str(error)
def notify(line):
    found["said"] = line
    add("A100", 1)
found["came"] = [group.mark for group in fitting_groups(config(1, "A100"), 30, notify)]

class Trials(Task):
    def config(self, values):
        return self.base

task = Trials(config(3, "L4"), None, "s3://elsewhere/search", Search(metric="nmi"))
place = asking(task, {})()
assert place.wait(20)
bundles = placement_group_table(place)["bundles_to_node_id"]
found["trial"] = [types.get(bundles[i], "") for i in range(1, len(bundles))]
print(json.dumps(found))
ray.shutdown()
cluster.shutdown()
"""


@pytest.mark.slow
def test_groups_and_trials_go_to_nodes_with_gpus_of_the_type():
    found = json.loads(run(TYPES, dict(os.environ)).stdout.splitlines()[-1])
    assert found["types"] == ["", "H200", "H200", "L4"] and found["slots"] == 4 and found["first"]
    assert found["gpu_gib"] == [0, 24, 141, 141]
    assert found["on"] == ["H200"] * 4 and found["nodes"] == 2 and found["each"] == [2, 2]
    assert found["free"] == found["types"]
    assert "is A100 and the cluster has 4 H200, 4 L4" in found["missing"]
    assert "the cluster has 4 H200, 4 L4" in found["said"]
    assert found["came"] == [{"accelerator_type:A100": 0.001}] * 2  # a pack and the trunk share the one
    assert found["trial"] == ["L4"] * len(found["trial"]) and found["trial"]


ATTACH = """
import os, subprocess, sys
import ray
from raymix.runtime.driver import cluster

CLIENT = '''
import sys, time
import ray
from raymix.errors import ResourceError
from raymix.runtime.driver import cluster

try:
    with cluster(sys.argv[1]):
        print("connected", len(ray.nodes()))
except ResourceError as error:
    print(error)
'''
with cluster(None, num_cpus=1):
    address = ray.get_runtime_context().gcs_address
    for mode in ("token", "disabled"):
        command = [sys.executable, "-c", CLIENT, address]
        subprocess.run(command, env=os.environ | {"RAY_AUTH_MODE": mode}, timeout=60)
"""


@pytest.mark.faults
def test_another_process_reaches_a_local_ray_with_its_token_alone(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    first, second = run(ATTACH, environment | {"HOME": str(tmp_path)}).stdout.splitlines()[-2:]
    assert first == "connected 1"
    assert "asks for a token that this process does not have; set RAY_AUTH_MODE=token" in second


INSIDE = {"schedule.rounds": 0, "schedule.pretrain_epochs": 1, "schedule.report": False, "data.num_rows": 60}
INSIDE |= {"resources.pack": 1, "resources.cpus_per_component": 1}


@pytest.mark.parametrize(("own", "num"), [(1, 2), (2, 1)])
def test_a_task_that_holds_what_its_run_needs_is_told_at_once(clean, tmp_path, own, num):
    def fit():
        try:
            Mixture("synthetic-3", num_components=num, workers="ray", out=tmp_path / "run", overrides=INSIDE).fit()
        except ResourceError as error:
            return str(error)

    started = time.monotonic()
    said = ray.get(ray.remote(num_cpus=own)(fit).remote())
    assert f"holds {own} CPUs and 0 GPUs itself, and the run asks for {num} CPUs" in said
    assert "num_cpus=0" in said and "workers='local'" in said
    assert time.monotonic() - started < 30 and not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("own", "num"), [(0, 2), (1, 1)])
def test_a_task_that_leaves_room_trains_on_its_cluster(clean, tmp_path, own, num):
    def fit():
        fitted = Mixture("synthetic-3", num_components=num, workers="ray", out=tmp_path / "run", overrides=INSIDE).fit()
        return fitted.labels_

    assert len(ray.get(ray.remote(num_cpus=own)(fit).remote())) == 60
