"""Variational autoencoder (Kingma and Welling 2013) with the bodies of Locatello et al., appendices C to E.

    loss = E_q(z|x) [-log p(x|z)] + KL(q(z|x) || N(0, I))           nats per row, mean over the batch

Gaussian likelihood: one learned sigma per component with a floor, and its noise is added when sampling. Bernoulli
likelihood for images in [0, 1]: the mean is the sample.

Shapes: M members, B rows, Z latent.
"""

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raymix.config import Body, FamilyConfig, Fraction, Positive, Widths
from raymix.data.source import DataSpec
from raymix.models import networks
from raymix.models.base import Noise, StackedGenerator
from raymix.models.optimisers import Adam, Optimiser
from raymix.models.stacked import Linear


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

    @property
    def width(self) -> int:
        return max((*(self.encoder or ()), *(self.decoder or ())), default=0)

    def with_width(self, width: int) -> Self:
        assert self.encoder and self.decoder

        def scaled(widths: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(max(1, round(each * width / self.width)) for each in widths)

        return self.model_copy(update={"encoder": scaled(self.encoder), "decoder": scaled(self.decoder)})


class VAE(StackedGenerator):
    """VAEs over rows of one shape."""

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
            body = networks.mlp(config.latent, config.decoder, nn.ReLU)
            shaped = [nn.Unflatten(2, row_shape)] if len(row_shape) > 1 else []
            self.decoder = nn.Sequential(*body, Linear(config.decoder[-1], columns), *shaped)
        self.posterior = Linear(features, 2 * config.latent)
        self.raw_sigma = nn.Parameter(torch.zeros(1)) if config.likelihood == "gaussian" else None

    def make_optimisers(self) -> dict[str, Optimiser]:
        config = self.config
        return {"adam": Adam(dict(self.named_parameters()), config.learning_rate, config.beta1, config.beta2)}

    def update(self, rows: Tensor, noise: Noise) -> Tensor:
        loss_M = self.loss(rows, noise)
        self.optimisers()["adam"].descend(loss_M)
        return loss_M.detach()

    def sigma(self) -> Tensor:
        """(M,) standard deviation of the gaussian likelihood, in scaled units."""
        assert self.raw_sigma is not None
        return F.softplus(self.raw_sigma) + self.config.sigma_floor

    def loss(self, rows: Tensor, noise: Noise) -> Tensor:
        """(M,) mean over each member's batch, in nats per row."""
        losses: Tensor = self(rows, noise.normal(rows.shape[1], self.config.latent))
        return losses

    def forward(self, rows: Tensor, eps_MBZ: Tensor) -> Tensor:
        """`loss` at given noise: the part that `torch.compile` sees."""
        mean_MBZ, log_var_MBZ = self.posterior(self.encoder(rows)).chunk(2, dim=2)
        scale_MBZ = torch.exp(0.5 * log_var_MBZ)
        output = self.decoder(torch.addcmul(mean_MBZ, scale_MBZ, eps_MBZ))
        kl_M = 0.5 * (mean_MBZ.square() + scale_MBZ.square() - log_var_MBZ - 1).sum((1, 2))
        return (self.negative_log_likelihood(output, rows) + kl_M) / rows.shape[1]

    def negative_log_likelihood(self, output: Tensor, rows: Tensor) -> Tensor:
        """(M,) -log p(x|z) summed over the batch, from the decoder's output (mean, or logits)."""
        axes = tuple(range(1, rows.dim()))
        if self.raw_sigma is None:
            return F.binary_cross_entropy_with_logits(output, rows, reduction="none").sum(axes)
        log_sigma_M, num = self.sigma().log(), rows[0].numel()
        squares_M = (rows - output).square().sum(axes)
        halves_M = 0.5 * squares_M * torch.exp(-2 * log_sigma_M)
        return torch.add(halves_M, log_sigma_M, alpha=num) + 0.5 * num * math.log(2 * math.pi)

    @property
    def latent(self) -> int:
        return self.config.latent

    def decode(self, latents_MBZ: Tensor) -> Tensor:
        output: Tensor = self.decoder(latents_MBZ)
        return torch.sigmoid(output) if self.raw_sigma is None else output

    def sample(self, num: int, noise: Noise) -> Tensor:
        mean = self.decode(noise.normal(num, self.latent))
        if self.raw_sigma is None:
            return mean
        sigma = self.sigma().view(-1, *[1] * (mean.dim() - 1))
        return torch.addcmul(mean, sigma, noise.normal(num, *self.row_shape))
