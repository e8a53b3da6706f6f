"""Variational autoencoder (Kingma and Welling 2013) with the bodies of Locatello et al., appendices C to E.

    loss = E_q(z|x) [-log p(x|z)] + KL(q(z|x) || N(0, I))           nats per row, mean over the batch

Gaussian likelihood: one learned sigma per component with a floor, and its noise is added when sampling. Bernoulli
likelihood for images in [0, 1]: the mean is the sample.

Shapes: B rows, Z latent.
"""

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim import Optimizer

from raymix.config import Body, FamilyConfig, Fraction, Positive, Widths
from raymix.data.source import DataSpec
from raymix.models import networks
from raymix.models.base import GradientGenerator, adam


class VAEConfig(FamilyConfig, extra="forbid"):
    """A VAE."""

    family: Literal["vae"] = "vae"
    """This family."""
    body: Body = "auto"
    """Kind of networks; auto is conv for images of 16 pixels a side and more."""
    encoder: Widths | None = None
    """Units or filters per layer; unset: 50-50 for mlp, 8-16-32-64 for conv."""
    decoder: Widths | None = None
    """Units or filters per layer; unset: 50-50 for mlp, 64-32-16 for conv."""
    kernel: Positive = 4
    """Side of the convolutions' filters."""
    latent: Positive = 8
    """Dimensions of the latent space."""
    likelihood: Literal["auto", "gaussian", "bernoulli"] = "auto"
    """auto is bernoulli for images (scaled to [0, 1]), gaussian for vectors."""
    sigma_floor: Annotated[float, Field(gt=0)] = 0.02
    """Least standard deviation of the gaussian likelihood, in scaled units."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.005
    """Adam's step size."""
    beta1: Fraction = 0.5
    """Adam's first moment decay."""
    beta2: Fraction = 0.999
    """Adam's second moment decay."""

    def resolved(self, spec: DataSpec) -> Self:
        convolves = networks.is_large_image(spec.row_shape)
        body = self.body if self.body != "auto" else "conv" if convolves else "mlp"
        encoder = self.encoder or ((8, 16, 32, 64) if body == "conv" else (50, 50))
        decoder = self.decoder or ((64, 32, 16) if body == "conv" else (50, 50))
        if body == "conv":
            networks.require_encodable(spec.row_shape, encoder, self.kernel, "model.encoder")
            networks.require_decodable(spec.row_shape, decoder, "model.decoder")
        likelihood = self.likelihood if self.likelihood != "auto" else "bernoulli" if spec.is_image else "gaussian"
        return self.model_copy(
            update={
                "body": body,
                "encoder": encoder,
                "decoder": decoder,
                "likelihood": likelihood,
            }
        )


class VAE(GradientGenerator):
    """One VAE over rows of one shape."""

    def __init__(self, config: VAEConfig, row_shape: tuple[int, ...]) -> None:
        super().__init__()
        assert config.encoder and config.decoder
        self.config, self.row_shape = config, row_shape
        if config.body == "conv":
            self.encoder = networks.conv_encoder(row_shape, config.encoder, config.kernel, nn.ReLU)
            features = networks.conv_features(row_shape, config.encoder, config.kernel)
            self.decoder: nn.Module = networks.ConvDecoder(config.latent, config.decoder, row_shape, config.kernel)
        else:
            columns = math.prod(row_shape)
            self.encoder = networks.mlp(columns, config.encoder, nn.ReLU)
            features = config.encoder[-1]
            self.decoder = nn.Sequential(
                networks.mlp(config.latent, config.decoder, nn.ReLU),
                nn.Linear(config.decoder[-1], columns),
                nn.Unflatten(1, row_shape),
            )
        self.posterior = nn.Linear(features, 2 * config.latent)
        self.raw_sigma = nn.Parameter(torch.zeros(())) if config.likelihood == "gaussian" else None

    def make_optimiser(self) -> Optimizer:
        return adam(self.parameters(), self.config.learning_rate, self.config.beta1, self.config.beta2)

    def sigma(self) -> Tensor:
        """Standard deviation of the gaussian likelihood, in scaled units."""
        assert self.raw_sigma is not None
        return F.softplus(self.raw_sigma) + self.config.sigma_floor

    def loss(self, rows: Tensor, noise: torch.Generator) -> Tensor:
        mean_BZ, log_var_BZ = self.posterior(self.encoder(rows)).chunk(2, dim=1)
        eps_BZ = torch.randn(mean_BZ.shape, generator=noise, device=rows.device)
        output = self.decoder(mean_BZ + torch.exp(0.5 * log_var_BZ) * eps_BZ)
        kl = 0.5 * (mean_BZ.square() + log_var_BZ.exp() - 1 - log_var_BZ).sum()
        return (self.negative_log_likelihood(output, rows) + kl) / len(rows)

    def negative_log_likelihood(self, output: Tensor, rows: Tensor) -> Tensor:
        """-log p(x|z) summed over the batch, from the decoder's output (mean, or logits)."""
        if self.raw_sigma is None:
            return F.binary_cross_entropy_with_logits(output, rows, reduction="sum")
        sigma = self.sigma()
        log_scale = torch.log(sigma) + 0.5 * math.log(2 * math.pi)
        return 0.5 * ((rows - output) / sigma).square().sum() + rows.numel() * log_scale

    def sample(self, num: int, noise: torch.Generator) -> Tensor:
        device = self.posterior.weight.device
        z_BZ = torch.randn((num, self.config.latent), generator=noise, device=device)
        output: Tensor = self.decoder(z_BZ)
        if self.raw_sigma is None:
            return torch.sigmoid(output)
        return output + self.sigma() * torch.randn(output.shape, generator=noise, device=device)
