"""Runs whose data and run directory are on S3, on nodes that share no disk with it: killed, they leave no trace."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.fs as pafs
import pytest
from arena import Arena, arena
from harness import GENERATORS, NUM_ROWS, Disturbed, config, undisturbed_digest

from raymix.config import Config, DataConfig
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.runs.record import read_record
from raymix.storage import Storage

pytestmark = pytest.mark.faults


@dataclass
class DisturbedThere(Disturbed):
    """One run in `uri`."""

    uri: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.out = self.uri
        self.storage = Storage.at(self.uri)

    def rounds_committed(self) -> int:
        folders = self.storage.names("generations")
        return sum(self.storage.exists(f"generations/{name}/manifest.json") for name in folders)

    def require(self, expected_digest: str) -> None:
        assert digest(RunDirectory(self.storage)) == expected_digest
        rounds = [line.round for line in read_record(self.storage)]
        assert rounds == list(range(self.settings.schedule.rounds + 1)), "each round once"


def settings(path: str) -> Config:
    """Three blocks of points."""
    data = DataConfig(name="file", path=path, block_bytes=NUM_ROWS // 3 * 16)
    return config(rounds=4).model_copy(update={"data": data})


@pytest.fixture(scope="module")
def rows(s3_options: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The same file here and there."""
    file, rng = tmp_path_factory.mktemp("rows") / "rows.npy", np.random.default_rng(0)
    np.save(file, rng.normal(size=(NUM_ROWS, 2)) + 4 * rng.integers(0, 3, (NUM_ROWS, 1)))
    filesystem, _ = pafs.FileSystem.from_uri(f"s3://bucket?{s3_options}")
    pafs.copy_files(str(file), "bucket/data/rows.npy", destination_filesystem=filesystem)
    return str(file), f"s3://bucket/data/rows.npy?{s3_options}"


@pytest.fixture(scope="module")
def expected(rows: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of an undisturbed run that sees local files alone."""
    return undisturbed_digest(settings(rows[0]), tmp_path_factory.mktemp("undisturbed") / "run")


@pytest.fixture(scope="module")
def nodes(s3_options: str) -> Iterator[Arena]:
    with arena() as made:
        yield made


@pytest.mark.parametrize("victim", ["driver", "coordinator", "raylet", GENERATORS])
@pytest.mark.parametrize("place", [("train discriminators", 2), ("before publish", 2)])
def test_a_kill_leaves_no_trace(
    victim: str,
    place: tuple[str, int],
    tmp_path: Path,
    rows: tuple[str, str],
    expected: str,
    nodes: Arena,
    s3_options: str,
) -> None:
    uri = f"s3://bucket/kills/{victim}-{place[0]}?{s3_options}".replace(" ", "-")
    run = DisturbedThere(nodes.address, tmp_path / "run", settings(rows[1]), uri)
    run.hold_at(*place)
    run.start()
    run.wait_until_held()
    nodes.strike(run, victim) if victim != "driver" else run.kill(victim)
    run.go_on()
    if victim == "driver":
        run.driver.wait()
        run.start("resume")
    run.finish()
    run.require(expected)
