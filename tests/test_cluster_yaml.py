import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from packaging.version import Version

from launch.overlay import overlaid

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_rays_own_schema_accepts_the_cluster(cluster):
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(cluster)
    validate_config(prepared)
    assert prepared["available_node_types"].keys() == {"head", "gpu-spot"}


@pytest.mark.parametrize("place", ["gcp", "azure", "on-premise"])
def test_rays_own_schema_accepts_the_cluster_elsewhere(cluster, place):
    from ray.autoscaler._private.util import prepare_config, validate_config

    overlay = yaml.safe_load((ROOT / "launch" / "overlays" / f"{place}.yaml").read_text())
    assert set(overlay) <= {"provider", "auth", "max_workers", "head_node_type", "available_node_types"}
    elsewhere = overlaid(cluster, overlay)
    prepared = prepare_config(elsewhere)
    validate_config(prepared)
    assert prepared["provider"]["type"] == {"on-premise": "local"}.get(place, place)
    if place != "on-premise":
        assert prepared["available_node_types"].keys() == {"head", "gpu-spot"}
        assert elsewhere["available_node_types"]["gpu-spot"]["resources"]["GPU"] == 1
    assert all(elsewhere[key] == cluster[key] for key in cluster if key.endswith("_commands") or key == "file_mounts")


def test_an_overlay_with_an_unknown_key_is_refused(cluster):
    with pytest.raises(ValueError, match="provder is no key"):
        overlaid(cluster, {"provder": {}})


def test_the_overlay_command_prints_a_cluster_that_can_be_read():
    command = [sys.executable, "-m", "launch.overlay", "launch/overlays/gcp.yaml"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert yaml.safe_load(printed)["provider"]["type"] == "gcp"
    failed = subprocess.run([*command[:-1], "nowhere.yaml"], cwd=ROOT, capture_output=True, text=True)
    assert failed.returncode == 1 and failed.stderr.count("\n") == 1


def test_no_port_is_opened_but_for_ssh(cluster):
    assert "IpPermissions" not in cluster["provider"]["security_group"]
    from ray.autoscaler._private.aws.config import _create_default_inbound_rules

    rules = _create_default_inbound_rules({"sg-1"})
    world = [rule for rule in rules if rule.get("IpRanges")]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in world] == [(22, 22)]


def test_the_object_store_is_smaller_than_the_shared_memory_it_lies_in(cluster):
    [mount] = cluster["initialization_commands"]
    shared = int(re.search(r"size=(\d+)% /dev/shm", mount)[1])
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        start = cluster[key][-1]
        assert float(re.search(r"1024 \* ([\d.]+)}", start)[1]) * 100 < shared
        size = re.search(r"--object-store-memory=(\$\(.*\))", start)[1]
        answer = subprocess.run(["bash", "-c", f"echo {size}"], check=True, capture_output=True, text=True).stdout
        assert int(answer) == pytest.approx(0.4 * psutil.virtual_memory().total, rel=0.01)


def test_the_head_has_no_gpu_and_gpu_workers_are_spot_instances_that_may_be_none(cluster):
    head, worker = (cluster["available_node_types"][name] for name in (cluster["head_node_type"], "gpu-spot"))
    assert "GPU" not in head["resources"]
    assert "InstanceMarketOptions" not in head["node_config"]
    assert worker["resources"]["GPU"] == 1
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert (worker["min_workers"], worker["max_workers"]) == (0, cluster["max_workers"])


def test_what_is_copied_to_the_nodes_exists_and_is_enough_to_install(cluster):
    mounts = {
        remote: local for remote, local in cluster["file_mounts"].items() if remote.startswith("/home/ubuntu/raymix")
    }
    assert all((ROOT / local).exists() and remote.endswith(f"/raymix/{local}") for remote, local in mounts.items())
    assert {"pyproject.toml", "README.md", "raymix", "launch"} == set(mounts.values())


def test_every_command_is_one_that_bash_can_parse(cluster):
    commands = [command for key, values in cluster.items() if key.endswith("_commands") for command in values]
    assert len(commands) == 9
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_its_ray_is_one_that_raymix_allows(cluster):
    installed = re.search(r"ray\[default\]==([\d.]+)", " ".join(cluster["setup_commands"]))
    required = re.search(r"ray\[[\w,]+\]>=([\d.]+)", (ROOT / "pyproject.toml").read_text())
    assert installed is not None
    assert required is not None
    assert Version(installed[1]) >= Version(required[1])


def test_nodes_start_ray_with_the_token(cluster):
    assert "/home/ubuntu/.ray/auth_token" in cluster["file_mounts"]
    assert any("RAY_AUTH_MODE=token" in command for command in cluster["setup_commands"])
