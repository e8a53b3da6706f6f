"""Data that outgrows the object store: the same digest, and what was put on disks is told."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster

from raymix import session
from raymix.config import Config, DataConfig, DiscriminatorConfig, ResourcesConfig, ScheduleConfig
from raymix.families.vae import VAEConfig
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.runs.record import read_record
from raymix.runtime.fetching import may_spill
from raymix.storage import Storage

STORE_BYTES = 80 * 2**20
ROWS, COLUMNS = 320_000, 256  # float32: four times the store
pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file, rng = tmp_path_factory.mktemp("rows") / "rows.npy", np.random.default_rng(0)
    array = np.lib.format.open_memmap(file, "w+", np.float32, (ROWS, COLUMNS))
    for part in np.split(array, 32):
        part[:] = rng.normal(size=part.shape) + 2 * rng.normal(size=COLUMNS)
    array.flush()
    return file


def config(rows: Path, trunk: str = "separate") -> Config:
    return Config(
        num_components=2,
        data=DataConfig(name="file", path=str(rows), block_bytes=8 * 2**20),
        model=VAEConfig(encoder=(16,), decoder=(16,), latent=2),
        discriminator=DiscriminatorConfig(trunk=trunk, widths=(16,), epochs=0.1),
        schedule=ScheduleConfig(rounds=2, pretrain_epochs=0.1, epochs_per_round=0.2, report=False),
        resources=ResourcesConfig(pack=1, stall_s=120),
    )


@contextmanager
def nodes(num: int, store_bytes: int) -> Iterator[None]:
    """A connected cluster, each node with a processor and a store of this size."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": store_bytes})
    try:
        for _ in range(num - 1):
            made.add_node(num_cpus=1, object_store_memory=store_bytes)
        ray.init(address=made.address, namespace="raymix", log_to_driver=False, logging_level="ERROR")
        yield
    finally:
        ray.shutdown()
        made.shutdown()
        time.sleep(1)


def trained(settings: Config, out: Path, **options: Any) -> tuple[str, float]:
    """Digest and seconds."""
    start = time.monotonic()
    session.start(*resolve(settings), str(out), **options)
    return digest(RunDirectory(Storage.at(out))), time.monotonic() - start


@pytest.mark.parametrize(("trunk", "num"), [("separate", 1), ("shared", 1), ("separate", 2)])
def test_a_store_of_a_quarter_of_the_data_is_enough(trunk: str, num: int, rows: Path, tmp_path: Path) -> None:
    settings = config(rows, trunk)
    expected, _ = trained(settings, tmp_path / "here", workers="local")
    with nodes(num, STORE_BYTES):
        assert may_spill(*resolve(settings))
        found, small_s = trained(settings, tmp_path / "small")
    assert found == expected
    lines = read_record(Storage.at(tmp_path / "small"))
    spilled = [line.spilled_bytes / 2**20 for line in lines]
    assert min(spilled) > ROWS * COLUMNS * 4 / 2**20 - num * STORE_BYTES / 2**20 - 1, "what does not fit lies on disks"
    assert not any(line.mendings for line in lines), "nothing died of it"
    print(
        f"\n{num} x 80 MiB, trunk {trunk}: {small_s:.0f} s, MiB on disks at each commit: {np.round(spilled).tolist()}"
    )


def test_a_large_store_holds_everything_and_tells_of_nothing(rows: Path, tmp_path: Path) -> None:
    settings = config(rows)
    expected, _ = trained(settings, tmp_path / "here", workers="local")
    with nodes(1, 16 * STORE_BYTES):
        assert not may_spill(*resolve(settings))
        found, large_s = trained(settings, tmp_path / "large")
    assert found == expected
    assert not any(line.spilled_bytes for line in read_record(Storage.at(tmp_path / "large")))
    print(f"\n1280 MiB: {large_s:.0f} s")
