import numpy as np
import pytest
import torch

from raymix.config import Config, DataConfig, FamilyConfig
from raymix.data.source import DataSpec
from raymix.errors import ConfigError, DataError
from raymix.families.vae import VAEConfig
from raymix.models.base import Decodes
from raymix.models.registry import close
from raymix.training.generators import GeneratorPack
from raymix.training.inversion import invert
from raymix.training.setting import Setting

COMPONENTS = (0, 2, 5)


def pack(components=COMPONENTS, row_shape=(3,), **model):
    spec = DataSpec("file", 100, row_shape, "float32")
    settings = VAEConfig(**({"encoder": (8,), "decoder": (16,), "latent": 1} | model)).resolved(spec)
    config = Config(num_components=6, data=DataConfig(offset=(0.5,), scale=(2.0,)), model=settings)
    made = GeneratorPack(Setting.of(config, spec), components)
    for stack in made.stacks:  # wider outputs than first weights give
        for parameter in stack.network.decoder.parameters():
            parameter.data.mul_(3)
    return made


def decoded(generators, component, latents_BZ):
    """(B, *row_shape) in scaled units."""
    network = generators.stack_of(component).only([component]).network.eval()
    assert isinstance(network, Decodes)
    with torch.inference_mode():
        return network.decode(torch.as_tensor(latents_BZ, dtype=torch.float32)[None])[0].double().numpy()


def test_the_nearest_row_is_that_of_a_dense_search():
    generators = pack()
    rows = np.random.default_rng(0).normal(0.5, 0.3, (12, 3)).astype(np.float32)
    found = invert(generators, rows, seed=0, starts=8)
    scaled = (rows.astype(np.float64) - 0.5) * 2
    grid_GZ = np.linspace(-8, 8, 40_001)[:, None]
    for error_n, k in zip(found.error_Kn, COMPONENTS, strict=True):
        curve_GD = decoded(generators, k, grid_GZ)
        best_n = np.array([((row - curve_GD) ** 2).mean(1).min() for row in scaled])
        np.testing.assert_allclose(error_n, best_n, rtol=1e-3, atol=1e-6)


def test_the_error_is_that_of_the_latent_and_the_nearest_component_counts():
    generators = pack(latent=2)
    rows = np.random.default_rng(1).normal(0.5, 0.3, (9, 3))
    found = invert(generators, rows, seed=0, steps=20)
    assert found.latent_KnZ.shape == (3, 9, 2)
    for error_n, latents_nZ, k in zip(found.error_Kn, found.latent_KnZ, COMPONENTS, strict=True):
        again_n = ((decoded(generators, k, latents_nZ) - (rows - 0.5) * 2) ** 2).mean(1)
        np.testing.assert_allclose(error_n, again_n, rtol=1e-4)
    np.testing.assert_array_equal(found.nearest_n, found.error_Kn.min(0))


def test_what_a_component_can_make_is_found():
    generators = pack(row_shape=(1, 16, 16), latent=2, encoder=(4, 8), decoder=(8, 4))
    rows = generators.sample_in_data_units(2, 6, seed=1)
    found = invert(generators, rows, seed=0, starts=6)
    spread = ((rows - rows.mean(0)) * 2).var()
    assert (found.error_Kn[1] < 0.02 * spread).all()
    assert (found.error_Kn[1] < found.error_Kn[0]).all()


def test_more_starts_and_steps_come_nearer():
    generators, rows = pack(latent=3, decoder=(32, 32)), np.random.default_rng(2).normal(0.5, 0.4, (40, 3))
    errors = [invert(generators, rows, 0, starts=s, steps=n).nearest_n.mean() for s, n in ((1, 1), (1, 30), (8, 200))]
    assert errors[0] > errors[1] > errors[2]


def test_neither_the_pack_nor_the_batch_changes_more_than_rounding(monkeypatch):
    rows = np.random.default_rng(3).normal(0.5, 0.3, (10, 3))
    together = invert(pack(), rows, seed=4, steps=60)
    monkeypatch.setattr("raymix.training.inversion.BATCH_BYTES", 4 * 3 * 4 * 3)  # 3 rows at a time
    for position, k in enumerate(COMPONENTS):
        alone = invert(pack((k,)), rows, seed=4, steps=60)
        np.testing.assert_allclose(alone.error_Kn[0], together.error_Kn[position], rtol=1e-3, atol=1e-7)


def test_the_seed_decides_and_the_generators_stay_as_they_were():
    generators, rows = pack(latent=2), np.random.default_rng(5).normal(0.5, 0.3, (7, 3))
    before, noise = {k: generators.state(k) for k in COMPONENTS}, torch.get_rng_state()
    first, again = (invert(generators, rows, seed=1, steps=5) for _ in range(2))
    np.testing.assert_array_equal(first.latent_KnZ, again.latent_KnZ)
    assert not np.array_equal(invert(generators, rows, seed=2, steps=5).latent_KnZ, first.latent_KnZ)
    for k in COMPONENTS:
        after = generators.state(k)
        assert all(after[name].tobytes() == value.tobytes() for name, value in before[k].items())
    assert all(parameter.grad is None for parameter in generators.stacks[0].network.parameters())
    assert torch.equal(torch.get_rng_state(), noise)


def test_bad_input_is_refused():
    with pytest.raises(DataError, match=r"rows to invert: have shape \(2, 4\); give some of shape \(3,\)"):
        invert(pack(), np.zeros((2, 4)), seed=0)
    with pytest.raises(ConfigError, match="starts: is 257; give 1 to 256"):
        invert(pack(), np.zeros((2, 3)), seed=0, starts=257)
    config = close(Config(data=DataConfig(offset=(0.0,), scale=(1.0,)), model=FamilyConfig(family="centroid")))
    centroids = GeneratorPack(Setting.of(config, DataSpec("file", 100, (3,), "float32")), (0,))
    with pytest.raises(ConfigError, match=r"model\.family: centroid has no decoder of latents"):
        invert(centroids, np.zeros((2, 3)), seed=0)
