"""Two small runs, trained once: vectors with known modes, and images with classes."""

from pathlib import Path

import pytest

from raymix import session
from raymix.config import Config, DataConfig, DiscriminatorConfig, EvaluationConfig, ResourcesConfig, ScheduleConfig
from raymix.families.vae import VAEConfig
from raymix.recipes.resolve import resolve


def config(name: str, num_components: int = 3, **data: object) -> Config:
    return Config(
        num_components=num_components,
        data=DataConfig(name=name, **data),
        model=VAEConfig(encoder=(32,), decoder=(32,), latent=4),
        discriminator=DiscriminatorConfig(widths=(16,), trunk="shared"),
        schedule=ScheduleConfig(
            rounds=2, pretrain_epochs=5, epochs_per_round=3, batch_size=32, evaluate_every=2, report=False
        ),
        resources=ResourcesConfig(pack=num_components, fused=True),
        evaluation=EvaluationConfig(num_samples=500),
    )


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on synthetic-3."""
    out = tmp_path_factory.mktemp("plane") / "run"
    session.start(*resolve(config("synthetic-3", num_rows=900, block_bytes=300 * 8)), str(out), workers="local")
    return out


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on scikit-learn's digits."""
    out = tmp_path_factory.mktemp("digits") / "run"
    session.start(*resolve(config("digits", block_bytes=600 * 64)), str(out), workers="local")
    return out
