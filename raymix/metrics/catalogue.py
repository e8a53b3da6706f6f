"""Every measure by name: what it is, and which direction is better. Numbers travel under these names."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple


class About(NamedTuple):
    """What a number means."""

    definition: str
    better: Literal["higher", "lower"]


MEASURES = {
    "kde_log_likelihood": About(
        "mean log-density of held-out rows under a Gaussian kernel density of the samples, nats per row, data units",
        "higher",
    ),
    "modes_captured": About("known modes that are nearest to at least one sample of high quality", "higher"),
    "high_quality_share": About("share of samples within 3 standard deviations of the nearest known mode", "higher"),
    "fd_classifier": About(
        "Fréchet distance of samples to real rows, on the features of a classifier of the set's labels", "lower"
    ),
    "fid": About("Fréchet distance of samples to real rows, on the 2,048 features of pytorch-fid's Inception", "lower"),
    "fd_pixels": About("Fréchet distance of samples to real rows, on their pixels in [0, 1]", "lower"),
    "precision": About(
        "share of samples inside the manifold of real rows (k = 3 nearest neighbours of features)", "higher"
    ),
    "recall": About(
        "share of real rows inside the manifold of samples (k = 3 nearest neighbours of features)", "higher"
    ),
    "ivom": About(
        "inference via optimisation: mean squared error per value between held-out rows and the nearest sample of any "
        "component, in scaled units",
        "lower",
    ),
    "nmi": About("normalised mutual information of winner and class over the training rows", "higher"),
    "ari": About("adjusted Rand index of winner and class over the training rows", "higher"),
    "purity": About(
        "share of training rows in the most frequent class of their winner (accuracy by majority vote)", "higher"
    ),
    "matched_accuracy": About(
        "accuracy over the training rows under the best one-to-one match of winners and classes (Hungarian)", "higher"
    ),
    "effective_components": About("exp of the entropy of the mixing weights, from 1 to K", "higher"),
}


OBJECTIVES = ("kde_log_likelihood", "fd_classifier", "fid", "fd_pixels", "nmi")
"""What mixtures are chosen by, where nothing else is asked: the first that was measured."""


def objective(measures: Mapping[str, Any], metric: str = "auto") -> float | None:
    """The number to make small: a measure, turned around where higher is better; None where it was not measured."""
    names = OBJECTIVES if metric == "auto" else (metric,)
    for name in names:
        value = measures.get(name)
        if value is not None:
            return -float(value) if MEASURES[name].better == "higher" else float(value)
    return None
