"""What every adversarial family can be told."""

from typing import Annotated, Literal, Self

from pydantic import Field

from raymix.config import FamilyConfig, Fraction, Positive
from raymix.data.source import DataSpec

Adversary = Literal["non-saturating", "hinge", "wgan-gp"]
"""What generator and critic descend on."""


class AdversarialConfig(FamilyConfig, extra="forbid"):
    """A generator and a critic, and how they take turns."""

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

    def unfitted(self) -> Self:
        return self.model_copy(update={"output": "auto"})

    @property
    def unbounded(self) -> tuple[str, str] | None:
        return ("output", "linear") if self.output == "unit" else None
