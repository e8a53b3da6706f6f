"""A setting of small networks on rows of two columns."""

from collections.abc import Callable
from typing import Any

import pytest

from raymix.config import (
    AssignConfig,
    Config,
    DataConfig,
    DiscriminatorConfig,
    FamilyConfig,
    ResourcesConfig,
    ScheduleConfig,
)
from raymix.data.source import DataSpec
from raymix.models import discriminators
from raymix.models.registry import close
from raymix.training.setting import Setting


@pytest.fixture
def make_setting() -> Callable[..., Setting]:
    """Settings of the discriminator by name; `model` is a mapping of the family's, `columns` the width of a row.

    Members train as one model unless `fused` is false.
    """

    def make(
        *,
        columns: int = 2,
        num: int = 10,
        seed: int = 0,
        model: dict[str, Any] | None = None,
        fused: bool = True,
        **discriminator: Any,
    ) -> Setting:
        spec = DataSpec("file", 100, (columns,), "float32")
        family = {"family": "vae", "encoder": (8,), "decoder": (8,), "latent": 2} if model is None else model
        config = close(
            Config(
                num_components=num,
                seed=seed,
                data=DataConfig(offset=(0.0,), scale=(1.0,)),
                model=FamilyConfig(**family),
                discriminator=discriminators.resolved(DiscriminatorConfig(**discriminator), spec),
                schedule=ScheduleConfig(batch_size=16),
                assign=AssignConfig(),
                resources=ResourcesConfig(fused=fused),
            )
        )
        return Setting.of(config.model_copy(update={"model": config.model.resolved(spec)}), spec)

    return make
