"""Autoencoders as components: what all families of them share.

A family is a subclass that says in `terms` what an update descends on, from what encoder and decoder make of rows.

Gaussian likelihood: one learned sigma per component with a floor, and its noise is added when sampling. Bernoulli
likelihood for images in [0, 1]: the mean is the sample.

Shapes: M members, B rows, Z latent, F features of the encoder.
"""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raymix.families.autoencoder import AutoencoderConfig
from raymix.models import networks
from raymix.models.base import Noise, StackedGenerator, Terms
from raymix.models.optimisers import Adam, Optimiser


class Autoencoder(StackedGenerator):
    """Encoders (M, B, *row_shape) -> (M, B, F) and decoders (M, B, Z) -> (M, B, *row_shape) of rows of one shape."""

    noisy: ClassVar[bool] = True
    """Whether a gaussian likelihood has a sigma that is learned; False where rows are what the decoder says."""

    def __init__(self, config: AutoencoderConfig, row_shape: tuple[int, ...]) -> None:
        super().__init__()
        assert config.body != "auto" and config.encoder and config.decoder
        self.config, self.row_shape = config, row_shape
        convolves = config.body == "conv"
        self.encoder, self.features = networks.encoder(
            config.body, row_shape, config.encoder, config.kernel, nn.ReLU, batch_norm=convolves
        )
        self.decoder = networks.decoder(config.body, config.latent, config.decoder, row_shape, config.kernel)
        self.bernoulli = config.likelihood == "bernoulli"
        self.raw_sigma = None if self.bernoulli or not self.noisy else nn.Parameter(torch.zeros(1))

    @abstractmethod
    def terms(self, rows: Tensor, noise: Noise) -> Terms:
        """Means over each member's batch, by the names of `units`; the first is what an update descends on."""

    def make_optimisers(self) -> dict[str, Optimiser]:
        config = self.config
        return {"adam": Adam(dict(self.named_parameters()), config.learning_rate, config.beta1, config.beta2)}

    def update(self, rows: Tensor, noise: Noise) -> Terms:
        terms = self.terms(rows, noise)
        self.optimisers()["adam"].descend(next(iter(terms.values())))
        return {name: term_M.detach() for name, term_M in terms.items()}

    def sigma(self) -> Tensor:
        """(M,) standard deviation of the gaussian likelihood, in scaled units."""
        assert self.raw_sigma is not None
        return F.softplus(self.raw_sigma) + self.config.sigma_floor

    def negative_log_likelihood(self, output: Tensor, rows: Tensor, by_row: bool = False) -> Tensor:
        """(M,) -log p(x|z) summed over the batch, in nats, or (M, B) of each row; `output` is the decoder's (mean, or
        logits)."""
        axes = tuple(range(2 if by_row else 1, rows.dim()))
        if self.bernoulli:
            return F.binary_cross_entropy_with_logits(output, rows, reduction="none").sum(axes)
        log_sigma, num = self.sigma().log(), math.prod(rows.shape[axes[0] :])
        log_sigma = log_sigma.unsqueeze(1) if by_row else log_sigma
        halves = 0.5 * (rows - output).square().sum(axes) * torch.exp(-2 * log_sigma)
        return torch.add(halves, log_sigma, alpha=num) + 0.5 * num * math.log(2 * math.pi)

    @property
    def latent(self) -> int:
        return self.config.latent

    def prior(self, num: int, noise: Noise) -> Tensor:
        return noise.normal(num, self.latent)

    def decode(self, latents_MBZ: Tensor) -> Tensor:
        output: Tensor = self.decoder(latents_MBZ)
        return torch.sigmoid(output) if self.bernoulli else output

    def sample(self, num: int, noise: Noise) -> Tensor:
        mean = self.decode(self.prior(num, noise))
        if self.raw_sigma is None:
            return mean
        sigma = self.sigma().view(-1, *[1] * (mean.dim() - 1))
        return torch.addcmul(mean, sigma, noise.normal(num, *self.row_shape))
