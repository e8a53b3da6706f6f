"""Inference via optimisation (Metz et al., 2017; Srivastava et al., 2017, "VEEGAN", section 5): the row nearest to a
real one that a component can make, found by descent on the latent.

    e_k(x) = min_z ||g_k(z) - x||^2 / D        with Adam, from several starts

g_k is the mean of the likelihood. The starts of a row are the nearest of some draws of the prior, which costs next to
nothing and saves steps. Where all components leave e_k(x) large, the mixture misses that part of the data.

Shapes: K components, M members of a stack, n rows, P latents of a pool, S starts of a row, D values of a row, Z latent.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raymix.errors import ConfigError, DataError, DivergedError
from raymix.models.base import Decodes
from raymix.seeds import Phase, phase_seed
from raymix.training.generators import GeneratorPack
from raymix.training.stacks import from_array

POOL = 256  # latents of a component among which starts are chosen
STARTS = 2
STEPS = 100
LEARNING_RATE = 0.3  # falls to 0 along half a cosine
BATCH_BYTES = 2**24  # of the rows that all members of a stack decode at once
DRAW = 1  # of the evaluation's seeds: draw 0 is of samples


class Inversion(NamedTuple):
    """The nearest rows that components can make."""

    error_Kn: NDArray[np.float64]
    """Mean squared error per value, in scaled units, in the order of the pack's components."""
    latent_KnZ: NDArray[np.floating]
    """Where each is reached."""

    @property
    def nearest_n(self) -> NDArray[np.float64]:
        """(n,) error of the nearest component. Its mean over held-out rows is the IvOM."""
        nearest_n: NDArray[np.float64] = self.error_Kn.min(axis=0)
        return nearest_n


def invert(
    generators: GeneratorPack,
    rows: NDArray[Any],
    seed: int,
    *,
    starts: int = STARTS,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
    count: Callable[[int], None] = lambda batches: None,
) -> Inversion:
    """Descend from `starts` latents per row and component (at most 256) and keep the best end.

    `rows` (n, *row_shape) in data units. Starts follow from (seed, component, row), whoever else is there. Raises
    `ConfigError` for a family that cannot decode or other `starts`, `DataError` for rows of another shape,
    `DivergedError` for an error that is not finite.
    """
    row_shape = generators.setting.spec.row_shape
    if rows.shape[1:] != row_shape or len(rows) == 0:
        raise DataError(f"have shape {rows.shape}", "rows to invert", f"give some of shape {row_shape}")
    if not 1 <= starts <= POOL:
        raise ConfigError(f"is {starts}", "starts", f"give 1 to {POOL}")
    errors: dict[int, NDArray[np.float64]] = {}
    latents: dict[int, NDArray[np.floating]] = {}
    for stack in generators.stacks:
        network = stack.network
        if not isinstance(network, Decodes):
            family = generators.setting.config.model.family
            raise ConfigError(f"{family} has no decoder of latents", "model.family", "choose another measure")
        network.eval()  # running statistics in place of the batch's: rows must not depend on each other
        seeds = [phase_seed(seed, 0, k, Phase.EVALUATE, DRAW) for k in stack.keys]
        with torch.inference_mode():
            pool_MPZ = network.prior(POOL, generators.setting.noise(*seeds)).to(network.dtype)
        targets = generators.setting.scaler(network.dtype).scaled(from_array(rows))
        size = max(1, BATCH_BYTES // (4 * math.prod(row_shape) * len(stack.keys) * starts))
        with torch.inference_mode():
            pool_MPD = network.decode(pool_MPZ).flatten(2)
        ends = []
        for some in targets.split(size):
            start_MnSZ = _nearest(pool_MPZ, pool_MPD, some, starts)
            ends.append(_descended(network, start_MnSZ, some, steps, learning_rate))
            count(1)
        error_Mn, latent_MnZ = (torch.cat(parts, dim=1).cpu() for parts in zip(*ends, strict=True))
        errors |= zip(stack.keys, error_Mn.double().numpy(), strict=True)
        latents |= zip(stack.keys, latent_MnZ.numpy(), strict=True)
    for k, error_n in errors.items():
        if not np.isfinite(error_n).all():
            raise DivergedError(k, -1, -1, "the distance of a decoded row")
    order = generators.components
    return Inversion(np.stack([errors[k] for k in order]), np.stack([latents[k] for k in order]))


def _nearest(pool_MPZ: Tensor, pool_MPD: Tensor, targets: Tensor, num: int) -> Tensor:
    """(M, n, num, Z) the latents of a pool whose rows are nearest to each target."""
    distance_MnP = torch.cdist(targets.flatten(1).expand(len(pool_MPZ), -1, -1), pool_MPD)
    nearest_MnS = distance_MnP.topk(num, dim=2, largest=False).indices
    return pool_MPZ[torch.arange(len(pool_MPZ), device=pool_MPZ.device)[:, None, None], nearest_MnS]


def _descended(
    network: Decodes, start_MnSZ: Tensor, targets: Tensor, steps: int, learning_rate: float
) -> tuple[Tensor, Tensor]:
    """(M, n) least errors over the starts, and (M, n, Z) where they are.

    Each latent has an error, moments and steps of its own, so that descending together changes nothing.
    """
    latent_MnSZ = start_MnSZ.clone().requires_grad_()
    adam = torch.optim.Adam([latent_MnSZ], learning_rate)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        (latent_MnSZ.grad,) = torch.autograd.grad(_errors(network, latent_MnSZ, targets).sum(), latent_MnSZ)
        adam.step()
        cosine.step()
    with torch.inference_mode():
        error_MnS = _errors(network, latent_MnSZ, targets)
        error_Mn, best_Mn = error_MnS.min(dim=2)
        picked = best_Mn[:, :, None, None].expand(-1, -1, 1, latent_MnSZ.shape[3])
        return error_Mn, latent_MnSZ.gather(2, picked).squeeze(2)


def _errors(network: Decodes, latent_MnSZ: Tensor, targets: Tensor) -> Tensor:
    """(M, n, S) mean squared error per value."""
    decoded = network.decode(latent_MnSZ.flatten(1, 2)).unflatten(1, latent_MnSZ.shape[1:3])
    return (decoded - targets[:, None]).square().flatten(3).mean(3)
