"""The data set is in memory once, and what is not model work costs little: checks at the size of MNIST."""

import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from raymix.config import Config, DataConfig, DiscriminatorConfig, ResourcesConfig
from raymix.families.vae import VAEConfig
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory
from raymix.runtime.capacity import cluster_nodes
from raymix.runtime.crew import Crew
from raymix.runtime.lookout import Activity
from raymix.runtime.placement import groups
from raymix.runtime.workers import RayWorkers
from raymix.storage import Storage
from raymix.training.packs import Packs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

NUM_ROWS = 60_000
STEPS = 60


def images(folder: Path, num_rows: int) -> str:
    path = folder / f"{num_rows}.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (num_rows, 28, 28), dtype=np.uint8))
    return str(path)


def config(path: str, pack: int, mode: str = "random", num_components: int = 4) -> Config:
    return Config(
        mode=mode,
        num_components=num_components,
        data=DataConfig(name="file", path=path, block_bytes=16 * 2**20),
        model=VAEConfig(),
        discriminator=DiscriminatorConfig(trunk="shared"),
        resources=ResourcesConfig(pack=pack),
    )


def held_bytes(settings: Config, out: Path) -> tuple[int, int]:
    """What the generator actors hold for themselves, and what they hold together of the object store (by PSS, so that a
    page they share counts once), after a phase of training on rows of all blocks."""
    resolved, spec = resolve(settings)
    workers = RayWorkers(
        resolved, spec, Crew(resolved, spec, groups(resolved, cluster_nodes()), out.name, 60), Activity()
    )
    try:
        workers.start(RunDirectory(Storage.at(out)), None)
        workers.rows.deal(0, resolved.components)
        workers.train_generators(1, dict.fromkeys(resolved.components, STEPS), overlap=False)()
        everyone = psutil.Process().children(recursive=True)
        actors = [process for process in everyone if "ray::Gene" in " ".join(process.cmdline())]
        assert len(actors) == len(workers.crew.generators)
        own, shared = (sum(pss(process, kind) for process in actors) for kind in ("Pss_Anon", "Pss_Shmem"))
        print(f"{len(actors)} actors, {spec.num_rows} rows: own {own >> 20} MiB, shared {shared >> 20} MiB")
        return own, shared
    finally:
        workers.close()
        time.sleep(3)


def pss(process: psutil.Process, kind: str) -> int:
    """One line of the kernel's summary of a process's pages."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:"))


def test_each_further_actor_adds_at_most_a_twentieth_of_the_data(tmp_path: Path) -> None:
    # Equal torch processes differ by 2 to 4 MiB and a twentieth of MNIST is 2.2 MiB: four times its rows stand clear.
    num_large, held = 4 * NUM_ROWS, {}
    for num_rows in (640, num_large):
        path = images(tmp_path, num_rows)
        for pack in (4, 1):
            held[num_rows, pack] = held_bytes(config(path, pack), tmp_path / f"{num_rows}-{pack}")
    data_bytes = num_large * 28 * 28
    with_data, without = (held[n, 1][0] - held[n, 4][0] for n in (num_large, 640))
    share = (with_data - without) / 3 / data_bytes
    print(f"each further actor adds {share:.2%} of the data's {data_bytes >> 20} MiB for itself")
    assert share <= 0.05
    assert held[num_large, 1][1] <= 1.05 * data_bytes, "four actors hold more of the object store than the data once"


def test_scoring_and_assigning_cost_little_beyond_the_forward_passes(tmp_path: Path) -> None:
    settings = config(images(tmp_path, NUM_ROWS), pack=8, mode="compete", num_components=15)
    resolved, spec = resolve(settings)
    K = resolved.components
    workers = RayWorkers(
        resolved, spec, Crew(resolved, spec, groups(resolved, cluster_nodes()), "cost", 60), Activity()
    )
    try:
        workers.start(RunDirectory(Storage.at(tmp_path / "run")), None)
        workers.train_discriminators(0, K)
        whole, forward = [], []
        pack = Packs(resolved, spec, K).discriminators
        rows_B = [np.load(settings.data.path)[a : a + n].reshape(-1, 1, 28, 28) for a, n in spans(workers)]
        for _ in range(3):
            start = time.perf_counter()
            workers.rows.assign(0, np.log(np.exp(workers.score(0, K)).sum(1)).tolist())
            whole.append(time.perf_counter() - start)
            start = time.perf_counter()
            for rows in rows_B:
                pack.stacks[0].log_ratios(rows)
            forward.append(time.perf_counter() - start)
        start = time.perf_counter()
        workers.train_generators(1, dict.fromkeys(K, STEPS), overlap=False)()
        generators = (time.perf_counter() - start) * (3 * NUM_ROWS / 64) / (15 * STEPS)
    finally:
        workers.close()
    extra = float(np.median(whole) - np.median(forward))
    print(f"score + assign {np.median(whole):.2f} s, forward {np.median(forward):.2f} s, generators {generators:.1f} s")
    assert extra < 0.05 * (generators + np.median(whole))


def spans(workers: RayWorkers) -> list[tuple[int, int]]:
    starts = np.concatenate([[0], np.cumsum(workers.rows.sizes_B)])[:-1]
    return list(zip(starts.tolist(), workers.rows.sizes_B, strict=True))
