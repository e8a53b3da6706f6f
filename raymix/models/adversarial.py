"""Generative adversarial networks as components (Goodfellow et al. 2014): what all families of them share.

A family builds a generator and a critic (which is not the component's discriminator: that one only judges). One update
is `critic_steps` steps of the critic, each on a batch of its own, and one of the generator. Budgets count the
generator's steps: an update counts as one step of one batch, and what the critic sees beyond that is not counted.

A further family is a subclass that adds networks, names in `sides` who descends on which side's losses, says in `real`
and `fake` what the critic sees, or gives the losses itself; further ones get a name and a unit in `units`.

Images lie in [0, 1] outside. Inside they lie in [-1, 1], as published: real rows are stretched, and tanh ends what a
generator makes. Vectors stay as they are, and nothing bounds a generator of them.

Shapes: M members, B rows of a batch, Z latent.
"""

import copy
from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import ClassVar

import torch
from torch import Tensor, nn

from raymix.families.adversarial import AdversarialConfig
from raymix.models import critic_losses
from raymix.models.base import Noise, StackedGenerator, Terms
from raymix.models.optimisers import Adam, Optimiser


class Adversarial(StackedGenerator):
    """Generators with critics."""

    sides: ClassVar[Mapping[str, tuple[str, ...]]] = {"generator": ("generator",), "critic": ("critic",)}
    """The networks (attributes) that descend on the losses of each side."""

    def __init__(self, config: AdversarialConfig, generator: nn.Module, critic: nn.Module) -> None:
        """`generator` takes (M, B, Z) to (M, B, *row_shape), before any tanh, `critic` what `real` and `fake` give to
        logits (M, B, 1)."""
        super().__init__()
        self.config, self.generator, self.critic = config, generator, critic
        self.average = copy.deepcopy(generator).requires_grad_(False) if config.ema else None
        self.units = dict.fromkeys(("generator", "critic"), critic_losses.unit(config.loss))

    def generator_terms(self, rows: Tensor, noise: Noise) -> Terms:
        """(M,) each, of a batch of real rows, inside; the generator's side descends on their sum."""
        logits_MB = self.logits(*self.fake(rows.shape[1], noise))
        return {"generator": critic_losses.generator_loss(self.config.loss, logits_MB)}

    def critic_terms(self, rows: Tensor, noise: Noise) -> Terms:
        """The same of the critic's side."""
        with torch.no_grad():
            fake, real = self.fake(rows.shape[1], noise), self.real(rows, noise)
        loss_M = critic_losses.critic_loss(self.config.loss, self.logits(*real), self.logits(*fake))
        if self.config.loss == "wgan-gp":
            share_MB = noise.uniform(rows.shape[1])
            penalty_M = critic_losses.gradient_penalty(self.logits, real, fake, share_MB)
            loss_M = loss_M + self.config.gradient_penalty * penalty_M
        return {"critic": loss_M}

    def saturated(self, critic_loss: float) -> bool:
        return critic_losses.is_saturated(self.config.loss, critic_loss)

    def real(self, rows: Tensor, noise: Noise) -> tuple[Tensor, ...]:
        """What the critic sees of real rows, inside: tensors (M, B, *)."""
        return (rows,)

    def fake(self, num: int, noise: Noise) -> tuple[Tensor, ...]:
        """What it sees of as many fakes, inside: tensors (M, num, *) of the same shapes."""
        return (self.made(self.generator, self.prior(num, noise)),)

    def logits(self, *seen: Tensor) -> Tensor:
        """(M, B) of what `real` or `fake` gave."""
        logits_MB1: Tensor = self.critic(*seen)
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

    def update(self, rows: Tensor, noise: Noise) -> Terms:
        batches = self.inside(rows).unflatten(1, (self.batches, -1)).unbind(1)
        turns = [("critic", batch) for batch in batches]
        turns.insert(0 if self.config.first == "generator" else len(turns), ("generator", batches[-1]))
        found: dict[str, list[Tensor]] = {name: [] for name in self.units}
        for side, batch in turns:
            for name, loss_M in self._descend(side, batch, noise).items():
                found[name].append(loss_M.detach())
        self._follow()
        return {name: torch.stack(losses, 1).mean(1) for name, losses in found.items()}

    def _descend(self, side: str, rows: Tensor, noise: Noise) -> Terms:
        """One step of one side's networks; the other's stay as they are and get no gradient."""
        terms = self.generator_terms(rows, noise) if side == "generator" else self.critic_terms(rows, noise)
        self.optimisers()[side].descend(reduce(add, terms.values()))
        return terms

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

    def prior(self, num: int, noise: Noise) -> Tensor:
        return noise.normal(num, self.latent)

    def decode(self, latents_MBZ: Tensor) -> Tensor:
        rows = self.made(self.generator if self.average is None else self.average, latents_MBZ)
        return (rows + 1) / 2 if self.config.output == "unit" else rows

    def sample(self, num: int, noise: Noise) -> Tensor:
        return self.decode(self.prior(num, noise))
