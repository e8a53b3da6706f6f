"""Every experiment of the paper (Locatello et al.) at its scale, and in a small form for 2 cores.

An experiment is data sets x methods x seeds. Methods differ in the mode, for the wide one in the width of the
networks, and for competition in how its partition begins and settles; all see the same number of generator rows,
pre-training included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raymix.config import Config
from raymix.config_values import replaced
from raymix.recipes.catalogue import recipe


@dataclass(frozen=True)
class Method:
    """A mixture, or what it is compared with."""

    mode: str
    wide: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    """What else is set differently."""


JUDGED = {"discriminator.body": "auto"}
"""By discriminators, where the recipe lets generators judge by their bounds."""

METHODS = {
    "kVAE": Method("compete"),
    "kGAN": Method("compete"),
    "bag": Method("bag"),
    "single": Method("single"),
    "wide single": Method("single", wide=True),
    "random": Method("random"),
    "oracle": Method("oracle"),
    "centroids": Method("centroids"),
    "from centroids": Method("compete", changes={"schedule.begin": "centroids"}),
    "from pre-training": Method("compete", changes={"schedule.begin": "pretrain"}),
    "judged": Method("compete", changes=JUDGED | {"assign.margin": 0.3}),
    "judged, free": Method("compete", changes=JUDGED | {"schedule.settle": 0}),
    "judged, from pre-training": Method(
        "compete", changes=JUDGED | {"schedule.settle": 0, "schedule.begin": "pretrain"}
    ),
}


@dataclass(frozen=True)
class Target:
    """What one method's measure should be against another's, seed by seed or in the mean."""

    measure: str
    least: float | None = None
    most: float | None = None
    over: str | None = None
    """The method it is compared with; None for the number itself."""
    by: str = "ratio"
    """`ratio` or `difference`."""
    of: str = "each"
    """`each` seed, or the `mean` over them."""
    cases: Sequence[str] = ()
    """Data sets it holds for; all when empty."""


@dataclass(frozen=True)
class Experiment:
    """Methods on data sets, over several seeds; targets are about the first method."""

    title: str
    bases: Mapping[str, Config]
    """The config of competition by data set."""
    measures: Sequence[str]
    wide: Mapping[str, Any] = field(default_factory=dict)
    """What makes the networks of the wide method wide."""
    targets: Sequence[Target] = ()
    methods: Sequence[str] = ("kVAE", "bag", "single", "wide single", "random", "oracle")
    seeds: Sequence[int] = (0, 1, 2)
    features: str = "auto"

    def config(self, case: str, method: str, seed: int, data_dir: str | None = None) -> Config:
        """The complete config of one run."""
        chosen = METHODS[method]
        changes: dict[str, Any] = {"mode": chosen.mode, "seed": seed, "evaluation.features": self.features}
        changes |= dict(chosen.changes) | (dict(self.wide) if chosen.wide else {})
        if data_dir is not None:
            changes["data.dir"] = data_dir
        return replaced(self.bases[case], changes)


def synthetic(name: str, num_rows: int) -> Config:
    """A synthetic set in one fused pack: bits depend on how components are packed."""
    config = recipe(name)
    pack = {"resources.pack": config.num_components, "resources.fused": True}
    return replaced(config, {"data.num_rows": num_rows} | pack)


def images(name: str, **changes: Any) -> Config:
    """An image set, its components one after another, which is as fast on a CPU and independent of packing."""
    return replaced(recipe(name), {"resources.fused": False, **changes})


def gans(name: str) -> Config:
    """GANs of the plane in one fused pack, of which 2,500 samples are looked at."""
    config = recipe(name)
    pack = {"resources.pack": config.num_components, "resources.fused": True}
    return replaced(config, {"evaluation.num_samples": 2_500} | pack)


LONG = {"schedule.rounds": 12, "schedule.settle": 4, "schedule.evaluate_every": 2, "schedule.report": False}
WIDE_MLP = {"model.encoder": (150, 150), "model.decoder": (150, 150)}
WIDE_MNIST = {"model.encoder": (64, 128, 256, 512), "model.decoder": (256, 128, 64)}
WIDE_SMALL = {"model.encoder": (16, 32, 64, 128), "model.decoder": (128, 64, 32)}
WIDE_CELEBA = {"model.encoder": (96, 192, 384, 768), "model.decoder": (384, 192, 96), "model.latent": 64}

LIKELIHOOD = "kde_log_likelihood"
VECTORS = (LIKELIHOOD, "high_quality_share", "modes_captured", "nmi")
SYNTHETIC_TARGETS = (
    Target("high_quality_share", least=0.65, cases=("synthetic-5", "synthetic-9")),
    Target(LIKELIHOOD, least=0.30, over="bag", by="difference", cases=("synthetic-5",)),
    Target(LIKELIHOOD, least=0.50, over="bag", by="difference", of="mean", cases=("synthetic-5",)),
    Target("nmi", least=0.65, cases=("synthetic-5",)),
    Target(LIKELIHOOD, least=0.9, over="bag", by="difference", cases=("synthetic-9",)),
    Target(LIKELIHOOD, least=0.5, over="wide single", by="difference", cases=("synthetic-9",)),
)

EXPERIMENTS = {
    "table-1": Experiment(
        title="Table 1: synthetic sets of 64,000 rows",
        bases={name: synthetic(name, 64_000) for name in ("synthetic-3", "synthetic-5", "synthetic-9")},
        wide=WIDE_MLP,
        measures=VECTORS,
        targets=SYNTHETIC_TARGETS,
    ),
    "table-1-small": Experiment(
        title="Table 1, small: synthetic sets of 16,000 rows",
        bases={name: synthetic(name, 16_000) for name in ("synthetic-5", "synthetic-9")},
        wide=WIDE_MLP,
        measures=VECTORS,
        targets=SYNTHETIC_TARGETS,
    ),
    "table-2-small": Experiment(
        title="Table 2, small: 10,000 rows of MNIST, K = 5",
        bases={"mnist-small": images("mnist-small")},
        wide=WIDE_SMALL,
        measures=("fd_classifier", "precision", "recall", "nmi"),
        methods=(
            "kVAE",
            "centroids",
            "from pre-training",
            "judged",
            "judged, free",
            "judged, from pre-training",
            "single",
            "wide single",
            "random",
            "oracle",
        ),
        seeds=(0, 1, 2, 3, 4),
        targets=(
            Target("fd_classifier", most=1.0, over="centroids"),
            Target("fd_classifier", most=1.0, over="wide single"),
            Target("fd_classifier", most=100, of="mean"),
            Target("nmi", least=0.465),
            Target("fd_classifier", most=0.75, over="random"),
            Target("fd_classifier", most=1.0, over="single"),
        ),
    ),
    "table-2-medium": Experiment(
        title="Table 2, medium: all of MNIST, K = 15",
        bases={"mnist": images("mnist", **LONG)},
        wide=WIDE_SMALL,
        measures=("fd_classifier", "precision", "recall", "nmi"),
        methods=("kVAE", "centroids", "wide single"),
        targets=(
            Target("fd_classifier", most=1.0, over="centroids"),
            Target("fd_classifier", most=1.0, over="wide single"),
            Target("nmi", least=0.0, over="centroids", by="difference"),
        ),
    ),
    "table-2": Experiment(
        title="Table 2: MNIST with the paper's settings",
        bases={"mnist": recipe("mnist-paper")},
        wide=WIDE_MNIST,
        measures=("fid", "precision", "recall", "nmi"),
        methods=("kVAE", "bag", "single", "wide single", "random"),
        features="inception",
    ),
    "table-3": Experiment(
        title="Table 3: CelebA with the paper's settings",
        bases={"celeba": recipe("celeba")},
        wide=WIDE_CELEBA,
        measures=("fid", "precision", "recall"),
        methods=("kVAE", "bag", "wide single"),
        features="inception",
    ),
    "table-mechanisms": Experiment(
        title="Mechanisms: digits on waves of four directions, K = 4",
        bases={"mechanisms": images("mechanisms")},
        wide=WIDE_SMALL,
        measures=("fd_classifier", "precision", "recall", "nmi"),
        methods=("kVAE", "centroids", "from centroids", "judged", "single", "random", "oracle"),
        targets=(
            Target("fd_classifier", most=0.9, over="centroids"),
            Target("fd_classifier", most=1.0, over="single"),
            Target("nmi", least=0.2, over="centroids", by="difference"),
        ),
    ),
    "table-gan": Experiment(
        title="GANs of the plane: four that compete against one of the same size, at equal budget",
        bases={"ring": gans("gan-ring"), "grid": gans("gan-grid")},
        measures=("modes_captured", "high_quality_share", LIKELIHOOD),
        methods=("kGAN", "single"),
        targets=(
            Target("modes_captured", least=0, over="single", by="difference"),
            Target("high_quality_share", least=0, over="single", by="difference", of="mean"),
        ),
    ),
}
