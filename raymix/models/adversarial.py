"""Generative adversarial networks as components (Goodfellow et al. 2014): what all families of them share.

A family builds a generator and a critic (which is not the component's discriminator: that one only judges). One update
is `critic_steps` steps of the critic, each on a batch of its own, and one of the generator. Budgets count the
generator's steps: an update counts as one step of one batch, and what the critic sees beyond that is not counted.

A further family is a subclass that adds networks, names in `sides` who descends on which loss, and gives the two
losses.

Images lie in [0, 1] outside. Inside they lie in [-1, 1], as published: real rows are stretched, and tanh ends what a
generator makes. Vectors stay as they are, and nothing bounds a generator of them.

Shapes: M members, B rows of a batch, Z latent.
"""

import copy
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from raymix.config import FamilyConfig, Fraction, Positive
from raymix.data.source import DataSpec
from raymix.models import critic_losses
from raymix.models.base import Noise, StackedGenerator
from raymix.models.critic_losses import Adversary
from raymix.models.optimisers import Adam, Optimiser


class AdversarialConfig(FamilyConfig, extra="forbid"):
    """What every adversarial family can be told."""

    latent: Positive = 128
    """Dimensions of the latent space."""
    loss: Adversary = "non-saturating"
    """What generator and critic descend on. For wgan-gp its authors take critic_steps 5, learning_rate 1e-4, beta1 0
    and beta2 0.9."""
    gradient_penalty: Annotated[float, Field(ge=0)] = 10.0
    """Weight of wgan-gp's penalty."""
    critic_steps: Positive = 1
    """Steps of the critic for each of the generator's, every one on a batch of its own."""
    first: Literal["critic", "generator"] = "critic"
    """Who steps first in an update."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the average of the generator's weights that samples come from; 0 samples from the weights themselves."""
    output: Literal["auto", "unit", "linear"] = "auto"
    """auto is unit for images (scaled to [0, 1]), linear for vectors."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """Adam's step size."""
    beta1: Fraction = 0.5
    """Adam's first moment decay."""
    beta2: Fraction = 0.999
    """Adam's second moment decay."""

    def resolved(self, spec: DataSpec) -> Self:
        output = self.output if self.output != "auto" else "unit" if spec.is_image else "linear"
        return self.model_copy(update={"output": output})


class Adversarial(StackedGenerator):
    """Generators with critics."""

    sides: ClassVar[Mapping[str, tuple[str, ...]]] = {"generator": ("generator",), "critic": ("critic",)}
    """The networks (attributes) that descend on each of the two losses."""

    def __init__(self, config: AdversarialConfig, generator: nn.Module, critic: nn.Module) -> None:
        """`generator` takes (M, B, Z) to (M, B, *row_shape), before any tanh, `critic` rows to logits (M, B, 1)."""
        super().__init__()
        self.config, self.generator, self.critic = config, generator, critic
        self.average = copy.deepcopy(generator).requires_grad_(False) if config.ema else None

    def generator_loss(self, rows: Tensor, noise: Noise) -> Tensor:
        """(M,) of a batch of real rows, inside."""
        return critic_losses.generator_loss(self.config.loss, self.logits(self.fakes(rows.shape[1], noise)))

    def critic_loss(self, rows: Tensor, noise: Noise) -> Tensor:
        """(M,) of a batch of real rows, inside."""
        with torch.no_grad():
            fakes = self.fakes(rows.shape[1], noise)
        loss_M = critic_losses.critic_loss(self.config.loss, self.logits(rows), self.logits(fakes))
        if self.config.loss != "wgan-gp":
            return loss_M
        share_MB = torch.special.ndtr(noise.normal(rows.shape[1]))
        return loss_M + self.config.gradient_penalty * critic_losses.gradient_penalty(
            self.logits, rows, fakes, share_MB
        )

    def saturated(self, critic_loss: float) -> bool:
        return critic_losses.is_saturated(self.config.loss, critic_loss)

    def fakes(self, num: int, noise: Noise) -> Tensor:
        """(M, num, *row_shape), inside."""
        return self.made(self.generator, noise.normal(num, self.latent))

    def logits(self, rows: Tensor) -> Tensor:
        """(M, B) of rows, inside."""
        logits_MB1: Tensor = self.critic(rows)
        return logits_MB1.squeeze(2)

    def make_optimisers(self) -> dict[str, Optimiser]:
        config, parameters = self.config, dict(self.named_parameters())
        return {
            side: Adam(
                {name: value for name, value in parameters.items() if name.split(".")[0] in networks},
                config.learning_rate,
                config.beta1,
                config.beta2,
            )
            for side, networks in self.sides.items()
        }

    @property
    def batches(self) -> int:
        return self.config.critic_steps

    def update(self, rows: Tensor, noise: Noise) -> Tensor:
        batches = self.inside(rows).unflatten(1, (self.batches, -1)).unbind(1)
        turns = [("critic", batch) for batch in batches]
        turns.insert(0 if self.config.first == "generator" else len(turns), ("generator", batches[-1]))
        losses: dict[str, list[Tensor]] = {"generator": [], "critic": []}
        for side, batch in turns:
            losses[side].append(self._descend(side, batch, noise))
        self._follow()
        return torch.stack([torch.stack(losses[side], 1).mean(1) for side in ("generator", "critic")], 1)

    def _descend(self, side: str, rows: Tensor, noise: Noise) -> Tensor:
        """One step of one side's networks; the other's stay as they are and get no gradient."""
        loss_M = self.generator_loss(rows, noise) if side == "generator" else self.critic_loss(rows, noise)
        self.optimisers()[side].descend(loss_M)
        return loss_M.detach()

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the average follow the generator: in its first steps faster, min(decay, (1 + t) / (10 + t))."""
        if self.average is None:
            return
        adam = self.optimisers()["generator"]
        assert isinstance(adam, Adam)
        decay_M = ((1 + adam.steps_M) / (10 + adam.steps_M)).clamp(max=self.config.ema)
        share_M = (1 - decay_M).to(next(self.average.parameters()))
        for mean, value in zip(self.average.state_dict().values(), self.generator.state_dict().values(), strict=True):
            mean.lerp_(value, share_M.view(-1, *[1] * (value.dim() - 1)))

    def made(self, generator: nn.Module, latents_MBZ: Tensor) -> Tensor:
        """(M, B, *row_shape) that a generator makes of latents, inside."""
        rows: Tensor = generator(latents_MBZ)
        return rows.tanh() if self.config.output == "unit" else rows

    def inside(self, rows: Tensor) -> Tensor:
        """Scaled rows as the networks want them."""
        return 2 * rows - 1 if self.config.output == "unit" else rows

    @property
    def latent(self) -> int:
        return self.config.latent

    def decode(self, latents_MBZ: Tensor) -> Tensor:
        rows = self.made(self.generator if self.average is None else self.average, latents_MBZ)
        return (rows + 1) / 2 if self.config.output == "unit" else rows

    def sample(self, num: int, noise: Noise) -> Tensor:
        return self.decode(noise.normal(num, self.latent))
