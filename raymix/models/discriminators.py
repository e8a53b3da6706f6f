"""Discriminators: observers whose logits estimate log ratios (label 1 = real).

One network serves both forms: a separate discriminator is a trunk with one head, a shared one has a head per component.
Images pass a low-pass first, on both sides and in scoring, so that blur is not what is judged.

Shapes: M members (separate discriminators stacked as one model), B rows, H heads.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raymix.config import DiscriminatorConfig
from raymix.data.source import DataSpec
from raymix.families.shapes import chosen_body, require_encodable
from raymix.models import networks
from raymix.models.base import StackedModule
from raymix.models.networks import Leaky
from raymix.models.optimisers import SGD, Adam, Optimiser
from raymix.models.stacked import Linear


def resolved(config: DiscriminatorConfig, spec: DataSpec) -> DiscriminatorConfig:
    """The config with body, widths and low-pass fitted to the data."""
    assert config.body != "if-needed"
    if config.body == "none":
        return config.model_copy(update={"lowpass": 0})
    body = chosen_body(config.body, spec.row_shape, "discriminator.body")
    lowpass = config.lowpass
    if lowpass == "auto":
        # 5 was found for sides of 28; the same share of other sides, rounded to an odd number
        lowpass = 2 * round((min(spec.row_shape[1:]) * 5 / 28 - 1) / 2) + 1 if spec.is_image else 0
    widths = config.widths or ((16, 32, 64) if body == "conv" else (50, 50))
    if body == "conv":
        require_encodable(spec.row_shape, widths, config.kernel, "discriminator.widths")
    return config.model_copy(update={"body": body, "widths": widths, "lowpass": 0 if lowpass == 1 else lowpass})


class Discriminator(StackedModule):
    """Rows (M, B, *row_shape) -> logits (M, B, H). Built with one member."""

    def __init__(self, config: DiscriminatorConfig, row_shape: tuple[int, ...], num_heads: int) -> None:
        super().__init__()
        assert config.widths and isinstance(config.lowpass, int)
        self.config, self.lowpass = config, config.lowpass
        assert config.body in ("mlp", "conv")
        self.trunk, features = networks.encoder(
            config.body, row_shape, config.widths, config.kernel, Leaky, config.batch_norm
        )
        self.heads = Linear(features, num_heads)

    def forward(self, rows: Tensor) -> Tensor:
        if self.lowpass:
            smooth = F.avg_pool2d(rows.flatten(0, 1), self.lowpass, stride=1, padding=self.lowpass // 2)
            rows = smooth.view(rows.shape)
        logits: Tensor = self.heads(self.trunk(rows))
        return logits

    def make_optimisers(self) -> dict[str, Optimiser]:
        config, parameters = self.config, dict(self.named_parameters())
        if config.optimiser == "sgd":
            return {"sgd": SGD(parameters, config.learning_rate)}
        return {"adam": Adam(parameters, config.learning_rate, config.beta1, config.beta2)}

    def descend(self, loss_M: Tensor) -> None:
        """One step of every member on its own loss."""
        for optimiser in self.optimisers().values():
            optimiser.descend(loss_M)

    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step of every member, the gradients in the order of the parameters."""
        for optimiser in self.optimisers().values():
            optimiser.step(gradients)


def partial_loss(real_logits_MbH: Tensor, fake_logits_MbH: Tensor, num_real: int, num_fakes: int) -> Tensor:
    """What a part of a batch of `num_real` rows and `num_fakes` of each head's fakes adds to `discriminator_loss`."""
    real = F.softplus(-real_logits_MbH).sum(1) / num_real
    return 0.5 * (real + F.softplus(fake_logits_MbH).sum(1) / num_fakes)


def discriminator_loss(real_logits_MBH: Tensor, fake_logits_MBH: Tensor) -> Tensor:
    """Half the sum of mean softplus(-l) over real and mean softplus(l) over fake rows, per head, (M, H).

    Each side is averaged by itself, so log ratios need no correction for unequal numbers; chance is log 2. Column h of
    `fake_logits_MBH` holds head h's logits of its own component's fakes.
    """
    return 0.5 * (F.softplus(-real_logits_MBH).mean(1) + F.softplus(fake_logits_MBH).mean(1))
