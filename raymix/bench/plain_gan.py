"""What a good PyTorch user would write instead of a pack of SN-DCGANs: ordinary modules with torch's spectral norm, K
models trained one after another.

Shapes: B rows of a batch, Z latent.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import Adam

from raymix.families.dcgan import SNDCGANConfig


class PlainSNDCGAN(nn.Module):
    """The SN-DCGAN of `raymix.models.dcgan` with the hinge loss, for sides that are multiples of 8."""

    def __init__(self, config: SNDCGANConfig, row_shape: Sequence[int]) -> None:
        super().__init__()
        self.latent = config.latent
        channels, height, width = row_shape
        widest, sides = config.filters, (height // 8, width // 8)
        generator: list[nn.Module] = [
            nn.Linear(config.latent, widest * sides[0] * sides[1], bias=False),
            nn.Unflatten(1, (widest, *sides)),
        ]
        for filters in (widest // 2, widest // 4, widest // 8):
            generator += [nn.BatchNorm2d(2 * filters), nn.ReLU()]
            generator.append(nn.ConvTranspose2d(2 * filters, filters, 4, 2, 1, bias=False))
        generator += [nn.BatchNorm2d(widest // 8), nn.ReLU(), nn.Conv2d(widest // 8, channels, 3, 1, 1), nn.Tanh()]
        critic: list[nn.Module] = []
        for filters in (widest // 8, widest // 4, widest // 2):
            critic += [spectral_norm(nn.Conv2d(channels, filters, 3, 1, 1)), nn.LeakyReLU(0.1)]
            critic += [spectral_norm(nn.Conv2d(filters, 2 * filters, 4, 2, 1)), nn.LeakyReLU(0.1)]
            channels = 2 * filters
        critic += [spectral_norm(nn.Conv2d(widest, widest, 3, 1, 1)), nn.LeakyReLU(0.1), nn.Flatten()]
        critic.append(spectral_norm(nn.Linear(widest * sides[0] * sides[1], 1)))
        self.generator, self.critic = nn.Sequential(*generator), nn.Sequential(*critic)

    def critic_loss(self, rows: Tensor) -> Tensor:
        """The critic's loss on rows in [-1, 1]."""
        with torch.no_grad():
            fakes = self.fakes(len(rows))
        return 0.5 * (F.relu(1 - self.critic(rows)).mean() + F.relu(1 + self.critic(fakes)).mean())

    def generator_loss(self, num: int) -> Tensor:
        loss: Tensor = -self.critic(self.fakes(num)).mean()
        return loss

    def fakes(self, num: int) -> Tensor:
        made: Tensor = self.generator(torch.randn(num, self.latent, device=next(self.parameters()).device))
        return made


class PlainGANLoop:
    """K models with two optimisers each, and the rows they draw from."""

    def __init__(self, config: SNDCGANConfig, rows: Tensor, num: int, batch_size: int) -> None:
        """Each draws from its own slice of the rows, which lie in [0, 1]."""
        self.models = [PlainSNDCGAN(config, rows.shape[1:]).to(rows.device) for _ in range(num)]

        def adam(side: nn.Module) -> Adam:
            return Adam(side.parameters(), config.learning_rate, (config.beta1, config.beta2), fused=True)

        self.optimisers = [(adam(model.generator), adam(model.critic)) for model in self.models]
        self.shards, self.batch_size = (2 * rows - 1).tensor_split(num), batch_size

    def steps(self, num: int) -> None:
        """`num` steps of every model, model after model."""
        for model, (of_generator, of_critic), shard in zip(self.models, self.optimisers, self.shards, strict=True):
            model.train()
            for _ in range(num):
                rows = shard[torch.randint(len(shard), (self.batch_size,), device=shard.device)]
                descend(of_critic, model.critic_loss(rows))
                model.critic.requires_grad_(False)
                descend(of_generator, model.generator_loss(len(rows)))
                model.critic.requires_grad_(True)


def descend(optimiser: Adam, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
