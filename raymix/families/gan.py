"""Settings of GANs of multilayer perceptrons."""

from typing import Literal, Self

from raymix.config import Positive, Widths
from raymix.families.adversarial import AdversarialConfig
from raymix.families.shapes import scaled


class GANConfig(AdversarialConfig, extra="forbid"):
    """A GAN of multilayer perceptrons."""

    family: Literal["gan"] = "gan"
    """This family."""
    generator: Widths = (128, 128)
    """Units per hidden layer of the generator."""
    critic: Widths = (128, 128)
    """Units per hidden layer of the critic."""
    latent: Positive = 8
    """Dimensions of the latent space."""

    @property
    def width(self) -> int:
        return max(*self.generator, *self.critic)

    def with_width(self, width: int) -> Self:
        generator, critic = (scaled(widths, width, self.width) for widths in (self.generator, self.critic))
        return self.model_copy(update={"generator": generator, "critic": critic})
