"""What every autoencoder can be told."""

from typing import Annotated, Literal, Self

from pydantic import Field

from raymix.config import Body, FamilyConfig, Fraction, Positive, Widths
from raymix.data.source import DataSpec
from raymix.families.shapes import chosen_body, require_decodable, require_encodable, scaled


class AutoencoderConfig(FamilyConfig, extra="forbid"):
    """An encoder and a decoder, and what the decoder's output means."""

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
        body = chosen_body(self.body, spec.row_shape, "model.body")
        encoder = self.encoder or ((8, 16, 32, 64) if body == "conv" else (50, 50))
        decoder = self.decoder or ((64, 32, 16) if body == "conv" else (50, 50))
        if body == "conv":
            require_encodable(spec.row_shape, encoder, self.kernel, "model.encoder")
            require_decodable(spec.row_shape, decoder, "model.decoder")
        likelihood = self.likelihood if self.likelihood != "auto" else "bernoulli" if spec.is_image else "gaussian"
        fitted = {"body": body, "encoder": encoder, "decoder": decoder, "likelihood": likelihood}
        return self.model_copy(update=fitted)

    def unfitted(self) -> Self:
        unset = {"body": "auto", "encoder": None, "decoder": None, "likelihood": "auto"}
        return self.model_copy(update=unset)

    @property
    def unbounded(self) -> tuple[str, str] | None:
        return ("likelihood", "gaussian") if self.likelihood == "bernoulli" else None

    @property
    def width(self) -> int:
        return max((*(self.encoder or ()), *(self.decoder or ())), default=0)

    def with_width(self, width: int) -> Self:
        assert self.encoder and self.decoder
        encoder, decoder = (scaled(widths, width, self.width) for widths in (self.encoder, self.decoder))
        return self.model_copy(update={"encoder": encoder, "decoder": decoder})
