"""One digest for one seed and config, whoever does the work."""

from pathlib import Path

import numpy as np
import pytest

from raymix import session
from raymix.config import Config, DataConfig, DiscriminatorConfig, ScheduleConfig
from raymix.config_values import replaced
from raymix.families.dcgan import SNDCGANConfig
from raymix.families.vae import VAEConfig
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.storage import Storage

CONVOLUTIONS = {"family": "vae", "body": "conv", "encoder": [4, 8], "decoder": [8, 4], "latent": 2}
pytestmark = pytest.mark.usefixtures("ray_cluster")


def small(trunk: str, mode: str = "compete") -> Config:
    """Three blocks, three components, a starved one among them."""
    return Config(
        mode=mode,
        num_components=3,
        data=DataConfig(name="synthetic-5", num_rows=600, block_bytes=200 * 8),
        model=VAEConfig(encoder=(16,), decoder=(16,), latent=2),
        discriminator=DiscriminatorConfig(trunk=trunk, widths=(16,), batch_size=32),
        schedule=ScheduleConfig(rounds=2, pretrain_epochs=3, epochs_per_round=3, batch_size=32, report=False),
    )


def adversarial() -> Config:
    """The same of images, by generators with critics."""
    config = small("shared")
    model = SNDCGANConfig(filters=8, latent=4, critic_steps=2, ema=0.9)
    data = DataConfig(name="digits", num_rows=600, block_bytes=200 * 64)
    return config.model_copy(update={"data": data, "model": model})


def trained(config: Config, out: Path, workers: str) -> str:
    resolved, spec = resolve(config)
    session.start(resolved, spec, str(out), workers=workers)
    return digest(RunDirectory(Storage.at(out)))


# Another run of one shared trunk is killed on Ray and compared in test_resume.py.
@pytest.mark.parametrize(("trunk", "pack"), [("separate", 2), pytest.param("shared", 3, marks=pytest.mark.slow)])
def test_in_process_and_ray_give_one_digest_for_fused_packs(trunk: str, pack: int, tmp_path: Path) -> None:
    config = replaced(small(trunk), {"resources.pack": pack, "resources.fused": True})
    assert trained(config, tmp_path / "local", "local") == trained(config, tmp_path / "ray", "ray")


BEGUN = {"schedule.begin": "centroids", "assign.margin": 0.1, "schedule.rounds": 4, "schedule.settle": 2} | {
    "resources.fused": True
}


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule.pretrain_on": "one"},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"mode": "centroids"}, marks=pytest.mark.slow),
        pytest.param({"data.name": "digits", "data.block_bytes": 200 * 64}, marks=pytest.mark.slow),
    ],
)
def test_in_process_and_ray_begin_with_the_same_cells(changes: dict[str, object], tmp_path: Path) -> None:
    config = replaced(small("shared"), BEGUN | changes)
    assert trained(config, tmp_path / "local", "local") == trained(config, tmp_path / "ray", "ray")


def test_in_process_and_ray_read_the_same_features(tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", np.random.default_rng(0).normal(size=(600, 3)))
    features = {"schedule.begin": "features", "data.features": str(tmp_path / "features.npy"), "schedule.rounds": 1}
    config = replaced(small("shared"), BEGUN | features)
    assert trained(config, tmp_path / "local", "local") == trained(config, tmp_path / "ray", "ray")


@pytest.mark.slow
@pytest.mark.parametrize("fused", [True, False])
def test_in_process_and_ray_give_one_digest_for_adversarial_components(fused: bool, tmp_path: Path) -> None:
    config = replaced(adversarial(), {"resources.pack": 2, "resources.fused": fused})
    assert trained(config, tmp_path / "local", "local") == trained(config, tmp_path / "ray", "ray")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num", "family"),
    [(1, "vae"), pytest.param(2, "vae", marks=pytest.mark.slow), pytest.param(2, "dcgan", marks=pytest.mark.slow)],
)
def test_two_workers_of_a_component_give_one_digest_and_another_than_one_worker(
    num: int, family: str, tmp_path: Path
) -> None:
    """The networks have BatchNorm, whose statistics are of both parts; the parts are unequal, too."""
    config = adversarial() if family == "dcgan" else replaced(adversarial(), {"model": CONVOLUTIONS})
    short = {"schedule.rounds": 1, "data.num_rows": 300, "data.block_bytes": 100 * 64}
    config = replaced(config, short | {"num_components": num, "schedule.batch_size": 33, "resources.pack": 1})
    if family == "dcgan":
        config = replaced(config, {"model.family": "dcgan"})
    together = replaced(config, {"resources.workers_per_component": 2})
    here = trained(together, tmp_path / "local", "local")
    assert here == trained(together, tmp_path / "ray", "ray")
    assert here != trained(config, tmp_path / "one", "local")


@pytest.mark.slow
@pytest.mark.parametrize(("trunk", "pack"), [("separate", 2), pytest.param("shared", 1, marks=pytest.mark.slow)])
def test_one_digest_for_any_pack_whose_components_train_one_after_another(
    trunk: str, pack: int, tmp_path: Path
) -> None:
    config = replaced(small(trunk), {"resources.pack": 3, "resources.fused": False})
    packed = replaced(config, {"resources.pack": pack})
    assert trained(config, tmp_path / "local", "local") == trained(packed, tmp_path / "ray", "ray")


@pytest.mark.slow
@pytest.mark.parametrize("trunk", [pytest.param("separate", marks=pytest.mark.slow), "shared"])
def test_overlapping_rounds_give_one_digest_and_another_than_synchronous_ones(trunk: str, tmp_path: Path) -> None:
    plain = replaced(small(trunk), {"resources.pack": 2, "resources.fused": True, "schedule.synchronous_rounds": 1})
    overlapping = replaced(plain, {"schedule.overlap": True})
    here = trained(overlapping, tmp_path / "local", "local")
    assert here == trained(overlapping, tmp_path / "ray", "ray")
    assert here != trained(plain, tmp_path / "plain", "local")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["single", pytest.param("oracle", marks=pytest.mark.slow)])
def test_controls_give_one_digest(mode: str, tmp_path: Path) -> None:
    config = replaced(small("separate", mode), {"schedule.rounds": 1, "resources.pack": 3, "resources.fused": True})
    assert trained(config, tmp_path / "local", "local") == trained(config, tmp_path / "ray", "ray")


def test_another_seed_gives_another_digest(tmp_path: Path) -> None:
    config = replaced(small("separate"), {"resources.pack": 3, "resources.fused": True})
    other = replaced(config, {"seed": 1})
    assert trained(config, tmp_path / "0", "local") != trained(other, tmp_path / "1", "local")
