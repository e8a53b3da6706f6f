"""The data sets that go by a name: what each is, how it is opened and scaled."""

from collections.abc import Callable
from dataclasses import dataclass

from raymix.config import DataConfig
from raymix.data import mechanisms
from raymix.data.known import open_digits, open_known, open_known_test
from raymix.data.rows import RowSource
from raymix.data.synthetic import DEFAULT_ROWS, open_synthetic, open_synthetic_test


@dataclass(frozen=True)
class KnownSet:
    """A data set with a name."""

    about: str
    open: Callable[[DataConfig], RowSource]
    open_test: Callable[[DataConfig], RowSource | None]
    scale: float | None = None
    """Multiplies every value before training; None where the rows decide (`raymix.data.scan.scaling`)."""
    stored: bool = False
    """Whether it is read from files in a folder."""


def _drawn(name: str, about: str, scale: float) -> KnownSet:
    return KnownSet(
        about,
        lambda config: open_synthetic(name, config.num_rows or DEFAULT_ROWS, config.seed),
        lambda config: open_synthetic_test(name, config.num_rows or DEFAULT_ROWS, config.seed),
        scale,
    )


def _stored(name: str, about: str) -> KnownSet:
    opened = (lambda config: open_known(name, config)), (lambda config: open_known_test(name, config))
    return KnownSet(about, *opened, stored=True)


CATALOGUE = {
    "digits": KnownSet("scikit-learn's 1,797 digits, 8 x 8 grey", lambda _: open_digits(), lambda _: None, 1 / 16),
    "synthetic-3": _drawn("synthetic-3", "3 Gaussians on a bent plane, drawn", 0.1),
    "synthetic-5": _drawn("synthetic-5", "5 Gaussians on a bent plane, one of them long, drawn", 0.1),
    "synthetic-9": _drawn("synthetic-9", "9 Gaussians on a bent plane, drawn", 0.1),
    "ring": _drawn("ring", "8 narrow Gaussians on a circle, drawn", 1.0),
    "grid": _drawn("grid", "25 narrow Gaussians on a grid, drawn", 0.25),
    mechanisms.NAME: KnownSet(
        "digits on waves of 4 directions, 16 x 16 grey, drawn",
        lambda config: mechanisms.open_mechanisms(config.num_rows or mechanisms.DEFAULT_ROWS, config.seed),
        lambda config: mechanisms.open_mechanisms_test(config.num_rows or mechanisms.DEFAULT_ROWS, config.seed),
    ),
    "mnist": _stored("mnist", "MNIST, 60,000 digits, 28 x 28 grey"),
    "fashion-mnist": _stored("fashion-mnist", "Fashion-MNIST, 60,000 pieces of clothing, 28 x 28 grey"),
    "kmnist": _stored("kmnist", "Kuzushiji-MNIST, 60,000 Japanese characters, 28 x 28 grey"),
    "omniglot": _stored("omniglot", "Omniglot's background set, handwritten characters, 105 x 105 black and white"),
    "cifar10": _stored("cifar10", "CIFAR-10, 50,000 photographs, 32 x 32 colour"),
    "celeba": _stored("celeba", "CelebA, 202,599 faces, middle 140 x 140 made 64 x 64 colour"),
}
