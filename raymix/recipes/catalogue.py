"""Recipes: complete configs by name, each one experiment."""

import difflib
from collections.abc import Callable, Sequence

from raymix.config import Config, DataConfig, DiscriminatorConfig, ScheduleConfig
from raymix.data.open import open_source
from raymix.data.synthetic import is_synthetic
from raymix.errors import ConfigError
from raymix.families.dcgan import DCGANConfig, SNDCGANConfig
from raymix.families.gan import GANConfig
from raymix.families.shapes import is_large_image
from raymix.families.vae import VAEConfig
from raymix.models.registry import close


def digits() -> Config:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, K = 10; about a minute on 2 cores."""
    return Config(
        num_components=10,
        data=DataConfig(name="digits"),
        model=VAEConfig(encoder=(128,), decoder=(128,), latent=6),
        # The generators judge by their bounds. What else is set is for whoever lets discriminators judge instead.
        discriminator=DiscriminatorConfig(body="if-needed", trunk="shared", widths=(64,), epochs=4),
        schedule=ScheduleConfig(
            begin="centroids", rounds=10, pretrain_epochs=60, epochs_per_round=60, batch_size=32, settle=3
        ),
    )


def _synthetic(modes: int, discriminator: DiscriminatorConfig, pretrain_epochs: float = 10) -> Config:
    return Config(
        num_components=modes,
        data=DataConfig(name=f"synthetic-{modes}"),
        model=VAEConfig(latent=5),
        discriminator=discriminator,
        schedule=ScheduleConfig(
            rounds=15,
            pretrain_epochs=pretrain_epochs,
            pretrain_budget="each",
            epochs_per_round=10,
            batch_size=32,
        ),
    )


def synthetic_3() -> Config:
    """Three warped Gaussians in the plane (the paper's section 5.1)."""
    return _synthetic(3, DiscriminatorConfig(learning_rate=0.005, batch_size=32, epochs=2, guard_loss=0))


def synthetic_5() -> Config:
    """Five warped modes, one of them long (the paper's section 5.1)."""
    return _synthetic(5, DiscriminatorConfig(learning_rate=0.005, batch_size=32, epochs=2, guard_loss=0))


def synthetic_9() -> Config:
    """Nine warped Gaussians on a grid (the paper's section 5.1)."""
    discriminator = DiscriminatorConfig(learning_rate=0.005, batch_size=32, epochs=2, guard_loss=0, fakes=16_000)
    # Longer pre-training makes the nine alike, and more of them end with two modes, or two with one.
    return _synthetic(9, discriminator, pretrain_epochs=1)


def mnist_small() -> Config:
    """The first 10,000 digits of MNIST, K = 5, 8 rounds; a few minutes on 2 cores."""
    return Config(
        num_components=5,
        data=DataConfig(name="mnist", num_rows=10_000),
        model=VAEConfig(),
        # The generators judge by their bounds. Trunk and guard are for whoever lets discriminators judge instead.
        discriminator=DiscriminatorConfig(body="if-needed", trunk="shared", guard_loss=0.5),
        schedule=ScheduleConfig(begin="centroids", rounds=8, pretrain_epochs=10, epochs_per_round=6, settle=3),
    )


def mechanisms() -> Config:
    """Digits on waves of four directions, K = 4: how rows were made parts them; a few minutes on 2 cores."""
    return Config(
        num_components=4,
        data=DataConfig(name="mechanisms"),
        model=VAEConfig(),
        # Discriminators part the digits, and k-means parts the phases of the waves. Longer pre-training makes the
        # generators so alike that they part slowly.
        discriminator=DiscriminatorConfig(body="if-needed", trunk="shared", guard_loss=0.5),
        schedule=ScheduleConfig(rounds=15, pretrain_epochs=2, epochs_per_round=4, settle=3),
    )


def mnist() -> Config:
    """All of MNIST, K = 15, for 2 cores; a quarter of an hour, most of it bounds of each row by each component."""
    # The generators judge by their bounds. What else is set is for whoever lets discriminators judge instead: the guard
    # leaves them twenty steps in late rounds, and of small batches each head would see eighty samples in all.
    discriminator = DiscriminatorConfig(body="if-needed", trunk="shared", guard_loss=0.5, batch_size=256)
    return Config(
        num_components=15,
        data=DataConfig(name="mnist"),
        model=VAEConfig(),
        discriminator=discriminator,
        schedule=ScheduleConfig(begin="centroids", rounds=6, pretrain_epochs=3, epochs_per_round=3, settle=2),
    )


def mnist_paper() -> Config:
    """MNIST with the settings of the paper's appendix D, K = 15, 10 rounds; for GPUs."""
    return Config(
        num_components=15,
        data=DataConfig(name="mnist"),
        model=VAEConfig(latent=8, learning_rate=0.005),
        discriminator=DiscriminatorConfig(
            widths=(64, 128, 256), batch_norm=True, lowpass=0, learning_rate=0.005, restart=False, guard_loss=0
        ),
        schedule=ScheduleConfig(
            rounds=10, pretrain_epochs=10, pretrain_budget="each", pretrain_on="split", epochs_per_round=150
        ),
    )


def cifar10() -> Config:
    """CIFAR-10 in colour, K = 4, 5 rounds; about twenty minutes on 2 cores, a few with --data.num-rows 10000."""
    return Config(
        num_components=4,
        data=DataConfig(name="cifar10"),
        model=VAEConfig(encoder=(32, 64, 128), decoder=(128, 64, 32), latent=64, learning_rate=1e-3),
        discriminator=DiscriminatorConfig(trunk="shared", guard_loss=0.5),
        schedule=ScheduleConfig(rounds=5, pretrain_epochs=3, epochs_per_round=2),
    )


def celeba() -> Config:
    """CelebA at 64 x 64 with the settings of the paper's appendix E, K = 5, 26 rounds; for GPUs."""
    return Config(
        num_components=5,
        data=DataConfig(name="celeba"),
        model=VAEConfig(encoder=(64, 128, 256, 512), decoder=(256, 128, 64), kernel=5, latent=128, learning_rate=2e-4),
        discriminator=DiscriminatorConfig(
            widths=(128, 128, 128),
            kernel=3,
            lowpass=0,
            optimiser="sgd",
            learning_rate=1e-4,
            restart=False,
            guard_loss=0,
        ),
        schedule=ScheduleConfig(
            rounds=26, pretrain_epochs=10, pretrain_budget="each", pretrain_on="whole", epochs_per_round=50
        ),
    )


def _gan_2d(name: str) -> Config:
    """Four GANs of the plane. A discriminator would soon be certain against their small modes, so the guard stops it
    after some forty steps, for which batches of 64 rows are too few. Averaged weights keep modes that come and go."""
    return Config(
        num_components=4,
        data=DataConfig(name=name),
        model=GANConfig(latent=2, learning_rate=1e-3, ema=0.99),
        discriminator=DiscriminatorConfig(guard_loss=0.5, batch_size=256),
        schedule=ScheduleConfig(
            rounds=10, pretrain_epochs=10, pretrain_budget="each", epochs_per_round=20, batch_size=64
        ),
    )


def gan_ring() -> Config:
    """Eight narrow Gaussians on a ring, K = 4 GANs (the data of VEEGAN's experiments)."""
    return _gan_2d("ring")


def gan_grid() -> Config:
    """Twenty-five narrow Gaussians on a grid, K = 4 GANs (the data of VEEGAN's experiments)."""
    return _gan_2d("grid")


def gan_mnist_small() -> Config:
    """The first 10,000 digits of MNIST, K = 5 small DCGANs, 8 rounds, for 2 cores."""
    return Config(
        num_components=5,
        data=DataConfig(name="mnist", num_rows=10_000),
        model=DCGANConfig(filters=64, latent=64, learning_rate=5e-4),
        discriminator=DiscriminatorConfig(trunk="shared", guard_loss=0.5),
        schedule=ScheduleConfig(rounds=8, pretrain_epochs=30, epochs_per_round=10),
    )


def gan_cifar10() -> Config:
    """CIFAR-10 in colour, K = 3 SN-DCGANs of the published layers, 10 rounds; for GPUs."""
    return Config(
        num_components=3,
        data=DataConfig(name="cifar10"),
        model=SNDCGANConfig(filters=512, ema=0.999),
        discriminator=DiscriminatorConfig(trunk="shared", guard_loss=0.5),
        schedule=ScheduleConfig(rounds=10, pretrain_epochs=50, pretrain_budget="each", epochs_per_round=60),
    )


def gan_celeba() -> Config:
    """CelebA at 64 x 64, K = 3 SN-DCGANs of 64 filters at most (a cell of the paper's table 4), 10 rounds; for GPUs."""
    return Config(
        num_components=3,
        data=DataConfig(name="celeba"),
        model=SNDCGANConfig(filters=64, learning_rate=1e-4, ema=0.999),
        discriminator=DiscriminatorConfig(trunk="shared", guard_loss=0.5),
        schedule=ScheduleConfig(rounds=10, pretrain_epochs=10, pretrain_budget="each", epochs_per_round=15),
    )


RECIPES: dict[str, Callable[[], Config]] = {
    "digits": digits,
    "synthetic-3": synthetic_3,
    "synthetic-5": synthetic_5,
    "synthetic-9": synthetic_9,
    "mnist-small": mnist_small,
    "mechanisms": mechanisms,
    "mnist": mnist,
    "mnist-paper": mnist_paper,
    "cifar10": cifar10,
    "celeba": celeba,
    "gan-ring": gan_ring,
    "gan-grid": gan_grid,
    "gan-mnist-small": gan_mnist_small,
    "gan-cifar10": gan_cifar10,
    "gan-celeba": gan_celeba,
}


def recipe(name: str) -> Config:
    """The config of a recipe. Raises `ConfigError` with the nearest name."""
    if name not in RECIPES:
        nearest = difflib.get_close_matches(name, RECIPES, n=1)
        advice = f"did you mean {nearest[0]}?" if nearest else f"one of {', '.join(RECIPES)}"
        raise ConfigError(f"unknown recipe {name!r}", "recipe", advice)
    return RECIPES[name]()


def with_data(
    config: Config,
    path: str,
    labels: str | None = None,
    links_within: str | None = None,
    columns: Sequence[str] | None = None,
) -> Config:
    """The config with its data replaced by a file, other settings kept. `columns` are those of the new rows.

    What was fitted to the shape of a row goes back to auto when the new rows ask for another kind of network
    (convolutions, or none). Raises `DataError`.
    """
    old = config.data
    places = {"path": path, "labels": labels, "links_within": links_within}
    fresh: dict[str, object] = {"name": "file", **places, "dir": None, "num_rows": None}
    if columns is not None:
        fresh["columns"] = tuple(columns)
    if old.name == "file":  # settings written for a file are the user's own
        return config.model_copy(update={"data": old.model_copy(update=fresh)})
    fresh = {"columns": None, "offset": None, "scale": None} | fresh
    config = config.model_copy(update={"data": old.model_copy(update=fresh)})
    if is_large_image(open_source(config.data).spec.row_shape) == is_large_set(old.name):
        return config
    model, discriminator = close(config).model.unfitted(), config.discriminator
    body = discriminator.body if discriminator.body in ("none", "if-needed") else "auto"
    discriminator = discriminator.model_copy(update={"body": body, "widths": None, "lowpass": "auto"})
    return config.model_copy(update={"model": model, "discriminator": discriminator})


def is_large_set(name: str) -> bool:
    """Whether a known data set holds images for which bodies are convolutional."""
    return name != "digits" and not is_synthetic(name)
