"""Footprints on the meta device against the real networks."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from raymix.config import Config, DiscriminatorConfig, FamilyConfig, ResourcesConfig
from raymix.data.source import DataSpec
from raymix.models.registry import FAMILIES, close
from raymix.planning.footprint import discriminator_footprint, generator_footprint
from raymix.recipes.resolve import fitted
from raymix.runs.checkpoint import write_states
from raymix.storage import Storage
from raymix.training.noise import MemberNoise
from raymix.training.packs import Packs

IMAGES = DataSpec("images", 600, (1, 16, 16), "uint8")
NAMES = [name for name in FAMILIES if name != "gan"]


def config_of(family="vae", trunk="separate", **model):
    config = Config(
        num_components=3,
        model=FamilyConfig(family=family, **model),
        discriminator=DiscriminatorConfig(trunk=trunk),
        resources=ResourcesConfig(pack=1, fused=False),
    )
    config = fitted(close(config), IMAGES)
    return config.model_copy(update={"data": config.data.model_copy(update={"offset": (0.0,), "scale": (1 / 255,)})})


@pytest.mark.parametrize("family", NAMES)
@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_files_and_parameters_are_those_of_the_real_networks(family, trunk, tmp_path):
    config = config_of(family, trunk)
    packs = Packs(config, IMAGES, config.components)
    generator, discriminator = generator_footprint(config, IMAGES), discriminator_footprint(config, IMAGES)
    own, *_ = packs.discriminators.states().values()
    states = {"generator": packs.generators.state(0), "discriminator": own}
    files = write_states(Storage.at(tmp_path), ".", states)
    network = packs.generators.stack_of(0).network
    assert generator.parameters == sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert files["generator"].num_bytes == pytest.approx(generator.file_bytes, rel=0.01)
    assert sum(value.nbytes for value in states["generator"].values()) == generator.state_bytes
    assert files["discriminator"].num_bytes == pytest.approx(discriminator.file_bytes, rel=0.01)
    assert sum(value.nbytes for value in states["discriminator"].values()) == discriminator.state_bytes


@pytest.mark.parametrize("family", ["vae", "dcgan"])
def test_arithmetic_of_a_step_is_what_torch_counts_on_a_real_one(family):
    config = config_of(family)
    network = Packs(config, IMAGES, (0,)).generators.stack_of(0).network
    rows = torch.rand(1, network.batches * config.schedule.batch_size, *IMAGES.row_shape)
    with FlopCounterMode(display=False) as counter:
        network.update(rows, MemberNoise([0], torch.device("cpu")))
    assert generator_footprint(config, IMAGES).step.flops == counter.get_total_flops() > 0


def test_memory_of_a_step_grows_with_the_batch_and_the_network():
    small, wide = config_of(), config_of(encoder=(64, 128), decoder=(128, 64))
    batch = {"schedule": small.schedule.model_copy(update={"batch_size": 4 * small.schedule.batch_size})}
    one, more = (
        generator_footprint(small, IMAGES).step,
        generator_footprint(small.model_copy(update=batch), IMAGES).step,
    )
    assert 3 < (more.num_bytes - 1e5) / (one.num_bytes - 1e5) < 4.5
    assert more.flops == 4 * one.flops
    assert generator_footprint(wide, IMAGES).step.num_bytes > 3 * one.num_bytes
    assert generator_footprint(wide, IMAGES).batch.num_bytes > generator_footprint(small, IMAGES).batch.num_bytes


def test_nothing_is_allocated_for_a_network_of_a_hundred_gigabytes():
    config = config_of(encoder=(8, 16), decoder=(16, 8), latent=10**9)
    assert generator_footprint(config, IMAGES).state_bytes > 10**11
