"""What the networks of a run take, counted on torch's meta device: shapes are followed, and nothing is allocated."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.models.base import Bounds, ClosedForm, LogDensity, StackedModule
from raymix.models.discriminators import Discriminator
from raymix.models.registry import close, family_of
from raymix.training.discriminators import SCORE_BATCH, descend
from raymix.training.generators import SAMPLE_BATCH
from raymix.training.metering import Use, used
from raymix.training.teams import Alone

META = torch.device("meta")
ENTRY_BYTES = 65  # about what safetensors' header spends on a tensor beside its name


@dataclass(frozen=True)
class Footprint:
    """What one network with its optimisers takes."""

    parameters: int
    """Numbers that are trained."""
    state_bytes: int
    """What the next step needs: parameters, buffers, moments."""
    file_bytes: int
    """Its file in a checkpoint."""
    step: Use
    """One update on a batch, with the gradients."""
    batch: Use
    """One batch of samples, or of rows that are scored, without gradients."""


class MetaNoise:
    """Random numbers that nobody draws."""

    def normal(self, *shape: int) -> Tensor:
        return torch.empty(1, *shape, device=META)

    def uniform(self, *shape: int) -> Tensor:
        return self.normal(*shape)


def generator_footprint(config: Config, spec: DataSpec) -> Footprint:
    """What one generator takes, with its critic if it has one; `batch` are SAMPLE_BATCH samples, or rows where
    generators judge them. One in closed form takes no steps."""
    config = close(config)
    with torch.device(META):
        network = family_of(config.model).build(config.model, spec.row_shape)
        named = still(network)
        step = Use()
        if not isinstance(network, ClosedForm):
            rows = torch.empty(1, network.batches * config.schedule.batch_size, *spec.row_shape)
            step = used(lambda: network.update(rows, MetaNoise()))
        network.eval()
        seen = torch.empty(1, SAMPLE_BATCH, *spec.row_shape)

        def without_gradients() -> Tensor:
            if not (config.competes and config.own_density):
                return network.sample(SAMPLE_BATCH, MetaNoise())
            if isinstance(network, LogDensity):
                return network.log_density(seen)
            assert isinstance(network, Bounds)
            return network.bound(seen, MetaNoise())

        with torch.no_grad():
            batch = used(without_gradients)
    return _footprint(network, named, step, batch)


def discriminator_footprint(config: Config, spec: DataSpec) -> Footprint:
    """What one discriminator takes: a component's, or the trunk of all with a head for each; `batch` are SCORE_BATCH
    rows that are scored."""
    settings = config.discriminator
    heads = config.most_components if settings.trunk == "shared" else 1
    with torch.device(META):
        network = Discriminator(settings, spec.row_shape, heads)
        named = still(network)
        real = torch.empty(1, settings.batch_size, *spec.row_shape)
        fake = torch.empty(1, heads * max(1, settings.batch_size // heads), *spec.row_shape)
        step = used(lambda: descend(network, real, fake, range(heads), Alone(1)))
        network.eval()
        rows = torch.empty(1, SCORE_BATCH, *spec.row_shape)
        with torch.no_grad():
            batch = used(lambda: network(rows))
    return _footprint(network, named, step, batch)


def still(network: StackedModule) -> dict[str, Tensor]:
    """All tensors of a network whose optimisers now find gradients and move nothing: a step looks at values, and there
    are none."""
    for optimiser in network.optimisers().values():
        optimiser.step = lambda gradients: None  # type: ignore[method-assign]
    return network.tensors()


def _footprint(network: nn.Module, named: Mapping[str, Tensor], step: Use, batch: Use) -> Footprint:
    parameters = sum(value.numel() for value in network.parameters() if value.requires_grad)
    state_bytes = sum(value.nbytes for value in named.values())
    header = 8 + 8 * math.ceil(sum(len(name) + ENTRY_BYTES for name in named) / 8)
    return Footprint(parameters, state_bytes, state_bytes + header, step, batch)
