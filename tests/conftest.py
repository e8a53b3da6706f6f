"""What all tests share: one local Ray cluster, and where real data lies."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest
import torch
from moto.server import ThreadedMotoServer

from raymix.runs.rounds import RoundRecord

torch.set_num_threads(1)
# Else Ray's workers stand behind all other work of the machine, the other test process included, and waits run out.
os.environ.setdefault("RAY_worker_niceness", "0")


SHARING = ("mending",)  # folders whose files share costly fixtures


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For several test processes (`-n 2 --dist loadgroup`): files stay whole, and one process has the Ray cluster. In a
    single one the tests of kills that share it come last, because others there start Rays of their own, and a process
    is connected to one only."""
    on_ray = {item.path for item in items if shares_ray(item) and is_quick(item)}
    if not hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.parent.name == "faults" and shares_ray(item))
    for item in items:
        together = item.path.parent if item.path.parent.name in SHARING else item.path
        item.add_marker(pytest.mark.xdist_group("ray" if item.path in on_ray else str(together)))


def shares_ray(item: pytest.Item) -> bool:
    """Whether it asks for the Ray cluster of all tests."""
    return "ray_cluster" in getattr(item, "fixturenames", ())


def is_quick(item: pytest.Item) -> bool:
    """Whether it is one of the tests that run in several processes."""
    return not any(item.get_closest_marker(name) for name in ("slow", "faults"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Without groups the fixtures of whole files and the cluster would be made twice, and nothing would tell."""
    if node.config.getoption("dist") == "loadgroup" and any("@" not in each for each in ids):
        pytest.exit("pytest-xdist does not keep the tests of a file together under this pytest", returncode=4)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Measurements are kept for the session, away from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray of two processors, started once for the session by the first test that asks."""
    from raymix.runtime.driver import cluster

    with cluster(None, num_cpus=2):
        yield


@pytest.fixture(scope="session")
def s3_options() -> Iterator[str]:
    """What leads an address to an S3 server in this process, which holds one bucket, `bucket`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = f"endpoint_override=127.0.0.1:{server.get_host_and_port()[1]}&scheme=http"
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (keys | {"AWS_EC2_METADATA_DISABLED": "true"}).items():
            patch.setenv(name, value)
        filesystem, _ = pafs.FileSystem.from_uri(f"s3://bucket?{address}&allow_bucket_creation=true")
        filesystem.create_dir("bucket")
        yield address
    server.stop()


@pytest.fixture
def make_record() -> Callable[..., RoundRecord]:
    """Records of rounds that never were: no row moved and nobody took a step, but for the fields that are given."""

    def make(round: int = 0, components: tuple[int, ...] = (0,), **fields: Any) -> RoundRecord:
        K = len(components)
        calm: dict[str, Any] = {
            "won_K": (100,) * K,
            "rows_moved": 0,
            "generator_steps_K": (0,) * K,
            "terms": {},
            "discriminator_steps_K": (0,) * K,
            "discriminator_loss_K": (None,) * K,
            "seconds": {},
        }
        known = calm | fields
        return RoundRecord(round, components, **{"loads_K": known["won_K"], **known})

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that need it are skipped where it is absent."""
    place = Path(os.environ.get("RAYMIX_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not place.is_dir():
        pytest.skip("real data sets are absent (set RAYMIX_DATA)")
    return place
