"""Inference via optimisation (Metz et al., 2017; Srivastava et al., 2017, "VEEGAN", section 5): the row nearest to a
real one that a component can make, found by descent on the latent.

    e_k(x) = min_z ||g_k(z) - x||^2 / D        from several starts z ~ N(0, I), with Adam

g_k is the mean of the likelihood. Where all components leave e_k(x) large, the mixture misses that part of the data.

Shapes: K components, M members of a stack, n rows, S starts of a row, B latents that descend at once, Z latent.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raymix.errors import ConfigError, DataError, DivergedError
from raymix.models.base import Decodes
from raymix.seeds import Phase, phase_seed
from raymix.training.generators import GeneratorPack

STARTS = 4
STEPS = 200
LEARNING_RATE = 0.1  # falls to 0 along half a cosine
BATCH_BYTES = 2**24  # of the rows that all members of a stack decode at once
PART = 1  # of the evaluation's seeds: part 0 draws samples


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
) -> Inversion:
    """Descend from `starts` latents per row and component and keep the best end.

    `rows` (n, *row_shape) in data units. A component's starts follow from (seed, component), whoever else is in its
    pack. Raises `ConfigError` for a family that cannot decode, `DataError` for rows of another shape, `DivergedError`
    for an error that is not finite.
    """
    row_shape = generators.setting.spec.row_shape
    if rows.shape[1:] != row_shape or len(rows) == 0:
        raise DataError(f"have shape {rows.shape}", "rows to invert", f"give some of shape {row_shape}")
    errors: dict[int, NDArray[np.float64]] = {}
    latents: dict[int, NDArray[np.floating]] = {}
    for stack in generators.stacks:
        network = stack.network
        if not isinstance(network, Decodes):
            family = generators.setting.config.model.family
            raise ConfigError(f"{family} has no decoder of latents", "model.family", "choose another measure")
        network.eval()  # running statistics in place of the batch's: rows must not depend on each other
        seeds = [phase_seed(seed, 0, k, Phase.EVALUATE, PART) for k in stack.keys]
        start_MnSZ = generators.setting.noise(*seeds).normal(len(rows), starts, network.latent).to(network.dtype)
        targets = generators.setting.scaler(network.dtype).scaled(torch.from_numpy(np.ascontiguousarray(rows)))
        size = max(1, BATCH_BYTES // (4 * math.prod(row_shape) * len(stack.keys) * starts))
        batches = zip(start_MnSZ.split(size, dim=1), targets.split(size), strict=True)
        ends = [_descended(network, starting, some, steps, learning_rate) for starting, some in batches]
        error_Mn, latent_MnZ = (torch.cat(parts, dim=1).cpu() for parts in zip(*ends, strict=True))
        errors |= zip(stack.keys, error_Mn.double().numpy(), strict=True)
        latents |= zip(stack.keys, latent_MnZ.numpy(), strict=True)
    for k, error_n in errors.items():
        if not np.isfinite(error_n).all():
            raise DivergedError(k, -1, -1, "the distance of a decoded row")
    order = generators.components
    return Inversion(np.stack([errors[k] for k in order]), np.stack([latents[k] for k in order]))


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
