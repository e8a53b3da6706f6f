"""Settings of centroids."""

import math
from typing import Literal, Self

from raymix.config import FamilyConfig
from raymix.data.source import DataSpec
from raymix.errors import ConfigError


class CentroidConfig(FamilyConfig, extra="forbid"):
    """A centroid."""

    family: Literal["centroid"] = "centroid"
    """This family."""
    centres: tuple[tuple[float, ...], ...] | None = None
    """Where each component starts, in scaled units; unset: at a row drawn at random."""

    def resolved(self, spec: DataSpec) -> Self:
        columns = math.prod(spec.row_shape)
        if self.centres is not None and any(len(centre) != columns for centre in self.centres):
            raise ConfigError(f"every centre needs {columns} numbers", "model.centres", "match the data's columns")
        return self
