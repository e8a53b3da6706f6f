"""What a search makes best: a measure that the data allows, and the settings under which it is taken."""

import difflib
from collections.abc import Callable
from typing import Any

from raymix.config import Config
from raymix.config_values import replaced
from raymix.data.source import DataSpec
from raymix.data.synthetic import is_synthetic
from raymix.errors import ConfigError
from raymix.evaluation.images import DISTANCES, require_measurable, usual_features
from raymix.metrics.catalogue import MEASURES

HOLDOUT = 0.1  # of the rows, where a config holds none out
INVERSIONS = 100  # rows that `ivom` is taken on, where a config takes none

Need = tuple[str, Callable[[Config, DataSpec], bool]]
IMAGES: Need = ("images, and rows are vectors", lambda config, spec: spec.is_image)
VECTORS: Need = ("vectors, and rows are images", lambda config, spec: not spec.is_image)
LABELS: Need = ("labels, and the data has none", lambda config, spec: len(spec.classes) > 1)
MODES: Need = ("modes that are known, and those of this data are not", lambda config, spec: is_synthetic(spec.name))
NEEDS: dict[str, tuple[Need, ...]] = {
    "kde_log_likelihood": (VECTORS,),
    "modes_captured": (MODES,),
    "high_quality_share": (MODES,),
    "fd_classifier": (IMAGES, LABELS),
    "fid": (IMAGES,),
    "fd_pixels": (IMAGES,),
    "precision": (IMAGES,),
    "recall": (IMAGES,),
    "ivom": (IMAGES,),
    "nmi": (LABELS,),
    "ari": (LABELS,),
    "purity": (LABELS,),
    "matched_accuracy": (LABELS,),
}
"""What a measure asks of the data; others can always be taken."""


ONCE = ("data.holdout", "schedule.evaluate_every", "schedule.report", "schedule.best_metric")
"""Fields that trials have in a way of their own; the best config gets back what was given."""


def measured_often(config: Config) -> Config:
    """The config with measures after every round, on rows that are never trained on; and no page, which `raymix report`
    makes of any trial."""
    changes = {"schedule.evaluate_every": 1, "schedule.report": False, "data.holdout": config.data.holdout or HOLDOUT}
    return replaced(config, changes)


def given(config: Config) -> dict[str, Any]:
    """What a config has for these fields."""
    fields = config.model_dump()
    return {name: fields[name.split(".")[0]][name.split(".")[1]] for name in ONCE}


def with_objective(metric: str, config: Config, spec: DataSpec) -> tuple[str, Config]:
    """The measure that `metric` names, `auto` the usual one for the data, and the config that takes it.

    Raises `ConfigError` for a measure that does not exist or that the data does not allow, `DataError` where the
    machine lacks what it takes.
    """
    if metric == "auto":
        metric = usual(config, spec)
    if metric not in MEASURES:
        nearest = difflib.get_close_matches(metric, MEASURES, n=1)
        raise ConfigError(
            f"unknown measure {metric!r}",
            "--metric",
            f"did you mean {nearest[0]}?" if nearest else f"one of {', '.join(MEASURES)}",
        )
    for what, holds in NEEDS.get(metric, ()):
        if not holds(config, spec):
            raise ConfigError(f"{metric} needs {what}", "--metric", f"choose another, such as {usual(config, spec)}")
    changes: dict[str, Any] = {"schedule.best_metric": metric}
    by_name = {name: kind for kind, name in DISTANCES.items()}
    if metric in by_name:
        changes["evaluation.features"] = by_name[metric]
    if metric in ("precision", "recall") and config.evaluation.features in ("auto", "none"):
        kind = usual_features(config, config.evaluation, spec)
        changes["evaluation.features"] = "pixels" if kind == "none" else kind
    if metric == "ivom" and not config.evaluation.inversions:
        changes["evaluation.inversions"] = INVERSIONS
    config = replaced(config, changes)
    require_measurable(config, spec)
    return metric, config


def usual(config: Config, spec: DataSpec) -> str:
    """Likelihood of vectors; of images the Fréchet distance on the best features there are, pixels at the worst."""
    if not spec.is_image:
        return "kde_log_likelihood"
    kind = usual_features(config, config.evaluation, spec)
    return DISTANCES["pixels" if kind == "none" else kind]
