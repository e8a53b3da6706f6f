"""What a good PyTorch user would write instead: K models trained one after another in a loop over ordinary modules.

Rows are preloaded as scaled tensors, Adam is the fused one, batches are drawn by index. Nothing here is used to train a
mixture; it is what `raymix bench` compares with.

Shapes: B rows of a batch, Z latent.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim import Adam

from raymix.config import DiscriminatorConfig
from raymix.families.vae import VAEConfig


class PlainVAE(nn.Module):
    """The VAE of `raymix.models.vae`, for kernels of 4 and sides that halve evenly, of ordinary layers."""

    def __init__(self, config: VAEConfig, row_shape: Sequence[int]) -> None:
        super().__init__()
        assert config.encoder and config.decoder
        self.row_shape, self.latent = tuple(row_shape), config.latent
        columns = math.prod(row_shape)
        if config.body == "conv":
            self.encoder, features = conv_body(row_shape, config.encoder, nn.ReLU, batch_norm=True)
            side = 2 ** math.ceil(math.log2(row_shape[1])) // 2 ** len(config.decoder)
            self.decoder = deconv_body(config.latent, config.decoder, row_shape[0], side)
        else:
            self.encoder, features = mlp_body(columns, config.encoder, nn.ReLU)
            body, width = mlp_body(config.latent, config.decoder, nn.ReLU)
            self.decoder = nn.Sequential(body, nn.Linear(width, columns), nn.Unflatten(1, self.row_shape))
        self.posterior = nn.Linear(features, 2 * config.latent)
        self.raw_sigma = nn.Parameter(torch.zeros(())) if config.likelihood == "gaussian" else None

    def loss(self, rows: Tensor) -> Tensor:
        """Mean negative evidence lower bound over a batch."""
        mean, log_var = self.posterior(self.encoder(rows)).chunk(2, dim=1)
        output = self.decoder(mean + torch.exp(0.5 * log_var) * torch.randn_like(mean))
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum()
        if self.raw_sigma is None:
            crop = (output.shape[2] - rows.shape[2]) // 2
            output = output[:, :, crop : crop + rows.shape[2], crop : crop + rows.shape[3]]
            return (F.binary_cross_entropy_with_logits(output, rows, reduction="sum") + kl) / len(rows)
        sigma = F.softplus(self.raw_sigma) + 0.02
        log_scale = torch.log(sigma) + 0.5 * math.log(2 * math.pi)
        return (0.5 * ((rows - output) / sigma).square().sum() + rows.numel() * log_scale + kl) / len(rows)

    @torch.no_grad()
    def sample(self, num: int) -> Tensor:
        device = next(self.parameters()).device
        output: Tensor = self.decoder(torch.randn(num, self.latent, device=device))
        if self.raw_sigma is None:
            return torch.sigmoid(output)
        return output + (F.softplus(self.raw_sigma) + 0.02) * torch.randn_like(output)


def mlp_body(inputs: int, widths: Sequence[int], activation: type[nn.Module]) -> tuple[nn.Sequential, int]:
    """Linear layers on flattened rows, and the last width."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width in widths:
        layers += [nn.Linear(inputs, width), activation()]
        inputs = width
    return nn.Sequential(*layers), inputs


def conv_body(
    row_shape: Sequence[int], widths: Sequence[int], activation: type[nn.Module], batch_norm: bool
) -> tuple[nn.Sequential, int]:
    """Convolutions that halve the side, and the number of features they end with."""
    channels, side = row_shape[0], row_shape[1]
    layers: list[nn.Module] = []
    for width in widths:
        layers.append(nn.Conv2d(channels, width, 4, 2, 1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(width), activation()] if batch_norm else [activation()]
        channels, side = width, side // 2
    return nn.Sequential(*layers, nn.Flatten()), channels * side * side


def deconv_body(latent: int, widths: Sequence[int], channels: int, side: int) -> nn.Sequential:
    """A linear layer onto a small image, then transposed convolutions that double it."""
    start = (widths[0], side, side)
    layers: list[nn.Module] = [nn.Linear(latent, math.prod(start)), nn.Unflatten(1, start)]
    layers += [nn.BatchNorm2d(widths[0]), nn.ReLU()]
    for inner, outer in zip(widths, (*widths[1:], channels), strict=True):
        last = outer is channels and inner == widths[-1]
        layers.append(nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=last))
        layers += [] if last else [nn.BatchNorm2d(outer), nn.ReLU()]
    return nn.Sequential(*layers)


class PlainDiscriminator(nn.Module):
    """The separate multilayer discriminator of `raymix.models.discriminators`, of ordinary layers."""

    def __init__(self, config: DiscriminatorConfig, row_shape: Sequence[int]) -> None:
        super().__init__()
        assert config.widths
        body, width = mlp_body(math.prod(row_shape), config.widths, lambda: nn.LeakyReLU(0.2))  # type: ignore[arg-type]
        self.layers = nn.Sequential(body, nn.Linear(width, 1))

    def forward(self, rows: Tensor) -> Tensor:
        logits: Tensor = self.layers(rows)
        return logits[:, 0]


class PlainLoop:
    """K models with an optimiser each, and the rows they draw from."""

    def __init__(self, config: VAEConfig, rows: Tensor, num: int, batch_size: int, compiled: bool = False) -> None:
        """Each draws from its own slice of the scaled rows, where those are. `compiled`: by torch, on a GPU with CUDA
        graphs."""
        self.models = [PlainVAE(config, rows.shape[1:]).to(rows.device) for _ in range(num)]
        mode = "reduce-overhead" if rows.is_cuda else None
        self.losses = [torch.compile(model.loss, mode=mode) if compiled else model.loss for model in self.models]
        betas = config.beta1, config.beta2
        self.optimisers = [
            Adam(model.parameters(), lr=config.learning_rate, betas=betas, fused=True) for model in self.models
        ]
        self.shards, self.batch_size = rows.tensor_split(num), batch_size

    def steps(self, num: int) -> None:
        """`num` steps of every model, model after model."""
        for model, loss_of, optimiser, shard in zip(
            self.models, self.losses, self.optimisers, self.shards, strict=True
        ):
            model.train()
            for _ in range(num):
                loss = loss_of(shard[torch.randint(len(shard), (self.batch_size,), device=shard.device)])
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()


def plain_round(loop: PlainLoop, rows: Tensor, config: DiscriminatorConfig, steps: int, num_fakes: int) -> list[Tensor]:
    """A whole round: train the models, a new discriminator for each, score every row, assign; the next shards."""
    loop.steps(steps)
    log_ratios = []
    for model in loop.models:
        model.eval()
        fakes = model.sample(num_fakes)
        discriminator = PlainDiscriminator(config, rows.shape[1:])
        betas = config.beta1, config.beta2
        optimiser = Adam(discriminator.parameters(), lr=config.learning_rate, betas=betas, fused=True)
        for _ in range(config.steps(len(rows))):
            real = rows[torch.randint(len(rows), (config.batch_size,))]
            fake = fakes[torch.randint(len(fakes), (config.batch_size,))]
            real_logits, fake_logits = discriminator(torch.cat([real, fake])).split(config.batch_size)
            loss = 0.5 * (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        with torch.inference_mode():
            log_ratios.append(-torch.cat([discriminator(part) for part in rows.split(1024)]))
    log_ratio_KN = torch.stack(log_ratios)
    winners = (log_ratio_KN - log_ratio_KN.logsumexp(1, keepdim=True)).argmax(0)
    shards = [rows[winners == k] for k in range(len(loop.models))]
    return [shard if len(shard) else rows for shard in shards]
