import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_rays_own_schema_accepts_the_cluster(cluster):
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(cluster)
    validate_config(prepared)
    assert prepared["available_node_types"].keys() == {"head", "gpu-spot"}


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
    assert len(commands) == 8
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
