"""launch/kuberay.yaml: what KubeRay's v1 resources need, and the same choices as cluster.yaml."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
UNITS = {"Gi": 2**30, "Mi": 2**20}


def size(text: str) -> int:
    found = re.fullmatch(r"(\d+)(Gi|Mi)", text)
    assert found is not None
    return int(found[1]) * UNITS[found[2]]


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    found = list(yaml.safe_load_all((ROOT / "launch" / "kuberay.yaml").read_text()))
    assert [each["kind"] for each in found] == ["RayCluster", "RayJob"]
    return {each["kind"]: each for each in found}


@pytest.fixture(scope="module")
def cluster(documents: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = documents["RayCluster"]["spec"]
    return spec


@pytest.fixture(scope="module")
def aws() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return found


def groups(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def container(group: dict[str, Any]) -> dict[str, Any]:
    [found] = group["template"]["spec"]["containers"]
    return found


def test_both_resources_are_of_the_current_api(documents: dict[str, Any]) -> None:
    assert {each["apiVersion"] for each in documents.values()} == {"ray.io/v1"}
    names = [each["metadata"]["name"] for each in documents.values()]
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?", name) for name in names)  # KubeRay allows 50
    assert {each["metadata"]["labels"]["kind"] for each in documents.values()} == {"cluster", "job"}


def test_the_job_runs_on_the_same_cluster(documents: dict[str, Any], cluster: dict[str, Any]) -> None:
    job = documents["RayJob"]["spec"]
    assert job["rayClusterSpec"] == cluster
    assert job["entrypoint"].startswith("raymix train ") and " --out s3://" in job["entrypoint"]
    assert job["shutdownAfterJobFinishes"] is True


def test_every_group_has_what_kuberay_requires(cluster: dict[str, Any]) -> None:
    for group in groups(cluster):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert {"name", "image", "resources"} <= container(group).keys()
        assert container(group)["resources"]["requests"] == container(group)["resources"]["limits"]
        assert group["template"]["spec"]["restartPolicy"] == "Never"  # as the autoscaler's second version asks
    [worker] = cluster["workerGroupSpecs"]
    assert worker["groupName"] and worker["minReplicas"] <= worker["replicas"] <= worker["maxReplicas"]
    ports = {port["name"]: port["containerPort"] for port in container(cluster["headGroupSpec"])["ports"]}
    assert ports == {"gcs-server": 6379, "dashboard": 8265, "client": 10001}


def test_the_object_store_lies_in_shared_memory_that_the_container_has(cluster: dict[str, Any]) -> None:
    for group in groups(cluster):
        [volume] = group["template"]["spec"]["volumes"]
        [mount] = container(group)["volumeMounts"]
        assert mount == {"name": volume["name"], "mountPath": "/dev/shm"}
        assert volume["emptyDir"]["medium"] == "Memory"
        shared = size(volume["emptyDir"]["sizeLimit"])
        assert int(group["rayStartParams"]["object-store-memory"]) < shared
        assert shared < 0.45 * size(container(group)["resources"]["limits"]["memory"])


def test_it_agrees_with_the_cluster_on_aws(cluster: dict[str, Any], aws: dict[str, Any]) -> None:
    [version] = re.findall(r"ray\[default\]==([\d.]+)", " ".join(aws["setup_commands"]))
    dockerfile = (ROOT / "launch" / "Dockerfile").read_text()
    assert cluster["rayVersion"] == version
    assert f"FROM rayproject/ray:{version}-" in dockerfile and f"ray[default]=={version}" in dockerfile
    types = aws["available_node_types"]
    [worker] = cluster["workerGroupSpecs"]
    assert worker["groupName"] in types
    asked = container(worker)["resources"]["limits"]
    assert (int(asked["cpu"]), int(asked["nvidia.com/gpu"])) == tuple(
        types[worker["groupName"]]["resources"][name] for name in ("CPU", "GPU")
    )
    assert worker["maxReplicas"] == types[worker["groupName"]]["max_workers"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == str(types["head"]["resources"]["CPU"])
    assert cluster["autoscalerOptions"]["idleTimeoutSeconds"] == aws["idle_timeout_minutes"] * 60
    assert cluster["authOptions"] == {"mode": "token"}


def test_the_image_has_what_is_needed_to_install() -> None:
    text = (ROOT / "launch" / "Dockerfile").read_text()
    copied = re.findall(r"^COPY \S+ (.*) \S+$", text, re.MULTILINE)
    assert {name for line in copied for name in line.split()} == {"pyproject.toml", "README.md", "raymix", "launch"}
