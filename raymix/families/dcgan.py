"""Settings of convolutional GANs."""

from typing import Literal, Self

from raymix.config import Positive
from raymix.data.source import DataSpec
from raymix.errors import ConfigError
from raymix.families.adversarial import AdversarialConfig, Adversary
from raymix.families.shapes import scaled

LEAST_SIDE = 8


class DCGANConfig(AdversarialConfig, extra="forbid"):
    """A DCGAN."""

    family: Literal["dcgan"] = "dcgan"
    """This family."""
    filters: Positive = 64
    """Filters of the widest layer; 64, 128, 256 and 512 are usual."""
    critic_filters: Positive | None = None
    """The same of the critic; unset: as many."""

    def resolved(self, spec: DataSpec) -> Self:
        if not spec.is_image or min(spec.row_shape[1:]) < LEAST_SIDE:
            advice = f"choose gan, or give images of {LEAST_SIDE} pixels a side and more"
            raise ConfigError(f"{self.family} cannot make rows of shape {spec.row_shape}", "model.family", advice)
        return super().resolved(spec).model_copy(update={"critic_filters": self.critic_filters or self.filters})

    @property
    def width(self) -> int:
        return max(self.filters, self.critic_filters or 0)

    def with_width(self, width: int) -> Self:
        filters, critic_filters = scaled((self.filters, self.critic_filters or self.filters), width, self.width)
        return self.model_copy(update={"filters": filters, "critic_filters": critic_filters})


class SNDCGANConfig(DCGANConfig, extra="forbid"):
    """An SN-DCGAN."""

    family: Literal["sn-dcgan"] = "sn-dcgan"  # type: ignore[assignment]
    """This family."""
    loss: Adversary = "hinge"
    """What generator and critic descend on."""
