"""Variational autoencoder (Kingma and Welling 2013) with the bodies of Locatello et al., appendices C to E.

    bound = E_q(z|x) [-log p(x|z)] + KL(q(z|x) || N(0, I))          negative, in nats per row, mean over the batch

Shapes: M members, B rows, Z latent.
"""

import math

import torch
from torch import Tensor

from raymix.families.vae import VAEConfig
from raymix.models.autoencoder import Autoencoder
from raymix.models.base import Noise, Terms
from raymix.models.stacked import Linear

NATS = "nats per row"


class VAE(Autoencoder):
    """VAEs over rows of one shape."""

    units = {"bound": NATS, "reconstruction": NATS, "kl": NATS}  # noqa: RUF012

    def __init__(self, config: VAEConfig, row_shape: tuple[int, ...]) -> None:
        super().__init__(config, row_shape)
        self.posterior = Linear(self.features, 2 * config.latent)

    def terms(self, rows: Tensor, noise: Noise) -> Terms:
        return dict(zip(self.units, self(rows, noise.normal(rows.shape[1], self.latent)), strict=True))

    def forward(self, rows: Tensor, eps_MBZ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`terms` at given noise: the part that `torch.compile` sees."""
        mean_MBZ, log_var_MBZ = self._posterior(rows)
        scale_MBZ = torch.exp(0.5 * log_var_MBZ)
        output = self.decoder(torch.addcmul(mean_MBZ, scale_MBZ, eps_MBZ))
        kl_M = 0.5 * (mean_MBZ.square() + scale_MBZ.square() - log_var_MBZ - 1).sum((1, 2))
        lost_M, num = self.negative_log_likelihood(output, rows), rows.shape[1]
        return (lost_M + kl_M) / num, lost_M.detach() / num, kl_M.detach() / num

    def _posterior(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), (M, B, Z) each."""
        mean_MBZ, log_var_MBZ = self.posterior(self.encoder(rows)).chunk(2, dim=2)
        return mean_MBZ, log_var_MBZ

    def encode(self, rows: Tensor) -> Tensor:
        return self._posterior(rows)[0]

    def bound(self, rows: Tensor, noise: Noise) -> Tensor:
        mean_MBZ, log_var_MBZ = self._posterior(rows)
        eps_MBZ = noise.normal(rows.shape[1], self.latent)
        output = self.decoder(mean_MBZ + torch.exp(0.5 * log_var_MBZ) * eps_MBZ)
        kl_MB = 0.5 * (mean_MBZ.square() + log_var_MBZ.exp() - log_var_MBZ - 1).sum(2)
        return -self.negative_log_likelihood(output, rows, by_row=True) - kl_MB

    def log_weights(self, rows: Tensor, noise: Noise) -> Tensor:
        mean_MBZ, log_var_MBZ = self._posterior(rows)
        eps_MBZ = noise.normal(rows.shape[1], self.latent)
        latents_MBZ = mean_MBZ + torch.exp(0.5 * log_var_MBZ) * eps_MBZ
        lost_MB = self.negative_log_likelihood(self.decoder(latents_MBZ), rows, by_row=True)
        return normal_log_density(latents_MBZ) - lost_MB - normal_log_density(eps_MBZ) + 0.5 * log_var_MBZ.sum(2)


def normal_log_density(points_MBZ: Tensor) -> Tensor:
    """(M, B) log N(z; 0, I) in nats."""
    return -0.5 * (points_MBZ.square() + math.log(2 * math.pi)).sum(2)
