"""What a component says of rows, where its family can: their latents, bounds, likelihoods and categories.

Bounds and likelihoods are of scaled rows, in nats per row; those of data units differ by a constant.

Shapes: n rows, (n, *row_shape) in data units, Z latent, C categories, S draws.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raymix.errors import ConfigError
from raymix.models.base import Bounds, ComponentPosterior, Encodes, StackedGenerator
from raymix.seeds import Phase, phase_seed
from raymix.training.batches import RowView, all_batches
from raymix.training.generators import GeneratorPack
from raymix.training.noise import MemberNoise

BATCH = 1024
DRAW = 2  # of the evaluation's seeds


def encoded(generators: GeneratorPack, component: int, rows: NDArray[Any]) -> NDArray[np.floating]:
    """(n, Z) the latents that rows come from. Raises `ConfigError` for a family that does not encode."""
    network = _network(generators, component)
    if not isinstance(network, Encodes):
        raise _unable(generators, "does not encode rows")
    return _by_batches(generators, network, rows, network.encode)


def component_posterior(generators: GeneratorPack, component: int, rows: NDArray[Any]) -> NDArray[np.floating]:
    """(n, C) q(c|x) of the categories inside a component. Raises `ConfigError` for a family that has none."""
    network = _network(generators, component)
    if not isinstance(network, ComponentPosterior):
        raise _unable(generators, "has no categories")
    return _by_batches(generators, network, rows, network.posterior)


def bound(generators: GeneratorPack, component: int, rows: NDArray[Any], seed: int, num: int = 1) -> NDArray[Any]:
    """(n,) the lower bound of log p_k(x), mean of `num` draws. Raises `ConfigError` for a family that knows none."""
    network = _network(generators, component)
    if not isinstance(network, Bounds):
        raise _unable(generators, "has no bound")
    noise = _noise(generators, component, seed)

    def mean(batch: Tensor) -> Tensor:
        return torch.stack([network.bound(batch, noise).double() for _ in range(num)]).mean(0)

    return _by_batches(generators, network, rows, mean)


def log_likelihood(generators: GeneratorPack, component: int, rows: NDArray[Any], seed: int, num: int) -> NDArray[Any]:
    """(n,) log p_k(x) by importance sampling with `num` draws, one at a time (Burda et al. 2016): too small in the
    mean, and below the bound by noise alone. Raises `ConfigError` for a family that knows no bound."""
    network = _network(generators, component)
    if not isinstance(network, Bounds):
        raise _unable(generators, "has no bound")
    noise = _noise(generators, component, seed)

    def summed(batch: Tensor) -> Tensor:
        total_MB = network.log_weights(batch, noise).double()
        for _ in range(1, num):
            total_MB = torch.logaddexp(total_MB, network.log_weights(batch, noise).double())
        return total_MB - math.log(num)

    return _by_batches(generators, network, rows, summed)


def _network(generators: GeneratorPack, component: int) -> StackedGenerator:
    return generators.stack_of(component).only([component]).network.eval()


def _noise(generators: GeneratorPack, component: int, seed: int) -> MemberNoise:
    return generators.setting.noise(phase_seed(seed, 0, component, Phase.EVALUATE, DRAW))


def _unable(generators: GeneratorPack, lack: str) -> ConfigError:
    family = generators.setting.config.model.family
    return ConfigError(f"family {family} {lack}", "model.family", "choose another measure")


def _by_batches(
    generators: GeneratorPack, network: StackedGenerator, rows: NDArray[Any], work: Callable[[Tensor], Tensor]
) -> NDArray[Any]:
    batches = all_batches(RowView([rows], None), generators.setting.scaler(network.dtype), BATCH)
    with torch.inference_mode():
        parts = [work(batch.unsqueeze(0))[0] for batch in batches]
    array: NDArray[Any] = torch.cat(parts).cpu().numpy()
    return array
