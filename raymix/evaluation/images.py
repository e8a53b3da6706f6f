"""Measures of images: Fréchet distance, precision and recall, on the features of one network.

Samples are compared with rows that were not trained on where there are any, else with training rows.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from raymix.config import Config, EvaluationConfig
from raymix.data.open import open_test_source
from raymix.data.source import DataSpec, Source
from raymix.errors import DataError
from raymix.evaluation.subject import Measured, Subject
from raymix.features.base import Features
from raymix.features.classifier import NUM_FEATURES, classifier
from raymix.features.pixels import pixels
from raymix.features.reference import Reference, drawn_numbers, drawn_rows, reference
from raymix.metrics.frechet import frechet_distance, statistics
from raymix.metrics.precision_recall import precision_recall
from raymix.training.inversion import invert

DISTANCES = {"classifier": "fd_classifier", "inception": "fid", "pixels": "fd_pixels"}
"""Names of the Fréchet distance by features."""
INCEPTION_FEATURES = 2_048
NUM_NEIGHBOURS = 5_000  # rows of each side that precision and recall look at: their cost is the product


def image_measures(subject: Subject) -> Measured:
    """Measures of rows (n, C, H, W). Raises `DataError` for features that the data or the machine does not allow."""
    features = chosen_features(subject)
    held_out = inversion_errors(subject)
    if features is None:
        told = "none: the data has no labels and Inception no weights, or rows are fewer than features"
        return Measured(held_out, {}, {}, {"features": told})
    settings, name = subject.settings, DISTANCES[features.name]
    train, test = subject.training_rows(), open_test_source(subject.config.data)
    real = described(subject, train, features)
    target = real if test is None else described(subject, test, features)
    pieces = [(k, features(rows)) for k, rows in subject.samples()]
    samples_ND = np.concatenate([part for _, part in pieces])

    def measured(features_ND: NDArray[np.float32]) -> dict[str, float]:
        subject.count(1)
        near = precision_recall(spread(target.features_ND, NUM_NEIGHBOURS), spread(features_ND, NUM_NEIGHBOURS))
        return {name: distance(features_ND, target), "precision": near.precision, "recall": near.recall}

    of_rows = {} if test is None else measured(real.features_ND)
    numbers = drawn_numbers(train.spec, min(settings.num_samples, train.spec.num_rows), settings.seed)
    winners = subject.winners(numbers)
    components = {}
    for k, _ in subject.counts:
        own = [part for j, part in pieces if j == k]
        components[k] = own_distance(own, real.features_ND[winners == k], name)
    about = {
        "features": features.definition,
        "num_real": len(target.features_ND),
        "real": f"{'training' if test is None else 'held-out'} rows of {subject.spec.name}",
    }
    return Measured(measured(samples_ND) | held_out, of_rows, components, about)


def chosen_features(subject: Subject) -> Features | None:
    """The network that is asked for, or the best that data and machine allow. Raises `DataError`."""
    settings, data, device = subject.settings, subject.config.data, subject.generators.setting.device
    kind: str = settings.features
    if kind == "auto":
        kind = usual_features(subject.config, settings, subject.spec)
    if kind == "classifier":
        found = classifier(data, device, progress=lambda done, total: subject.count(1)).features
        return replace(found, count=subject.count)
    if kind == "inception":
        from raymix.features.inception import inception  # torchvision takes seconds to import

        return replace(inception(data, device, weights=settings.inception_weights), count=subject.count)
    return pixels(data, device) if kind == "pixels" else None


def require_measurable(config: Config, spec: DataSpec) -> None:
    """Raises `DataError` for features that the data or the machine does not allow, before a run is trained."""
    kind = config.evaluation.features
    if not spec.is_image:
        return
    if kind == "classifier" and len(spec.classes) < 2:
        raise DataError("has no labels to train a classifier on", spec.name, "choose other evaluation.features")
    if kind == "inception":
        from raymix.features.inception import inception

        inception(config.data, weights=config.evaluation.inception_weights)
    if kind == "pixels":
        pixels(config.data)


def usual_features(config: Config, settings: EvaluationConfig, spec: DataSpec) -> str:
    """`auto_features` for as many rows as samples are compared with."""
    test = open_test_source(config.data)
    num = min(settings.num_samples, spec.num_rows, *([test.spec.num_rows] if test else []))
    return auto_features(spec, settings.inception_weights, num)


def auto_features(spec: DataSpec, weights: str | None, num_rows: int) -> str:
    """A classifier where the data has labels, else Inception where its weights are, else none; none too where
    `num_rows` are too few to fit a covariance of the features."""
    if len(spec.classes) > 1 and num_rows > NUM_FEATURES:
        return "classifier"
    if len(spec.classes) > 1 or spec.row_shape[0] not in (1, 3) or num_rows <= INCEPTION_FEATURES:
        return "none"
    from raymix.features.inception import usual_weights

    return "inception" if weights is not None or usual_weights().is_file() else "none"


def described(subject: Subject, source: Source, features: Features) -> Reference:
    """Real rows by their features, kept from one evaluation to the next."""
    count = min(subject.settings.num_samples, source.spec.num_rows)
    found = reference(source, features, count, subject.settings.seed)
    subject.count(1)
    return found


def distance(features_ND: NDArray[np.float32], target: Reference) -> float:
    """Fréchet distance of samples to real rows."""
    return frechet_distance(*statistics(features_ND), target.mean_D, target.cov_DD).distance


def own_distance(samples: list[NDArray[np.float32]], owned_ND: NDArray[np.float32], name: str) -> dict[str, float]:
    """Fréchet distance of one component's samples to the training rows it won; nothing where either are too few to fit
    a covariance."""
    num_features = owned_ND.shape[1]
    if min(sum(map(len, samples)), len(owned_ND)) <= num_features:
        return {}
    pairs = (*statistics(np.concatenate(samples)), *statistics(owned_ND))
    return {f"{name}_to_own_rows": frechet_distance(*pairs).distance}


def spread(rows: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """At most so many rows, from all over."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]


def inversion_errors(subject: Subject) -> dict[str, float]:
    """How near the components come to rows that were not trained on. Raises `DataError` where there are none."""
    num = subject.settings.inversions
    if not num:
        return {}
    test = open_test_source(subject.config.data)
    if test is None:
        raise DataError("has no rows beside those trained on", subject.spec.name, "set evaluation.inversions to 0")
    rows = drawn_rows(test, min(num, test.spec.num_rows), subject.settings.seed)
    found = invert(subject.generators, rows, subject.settings.seed, count=subject.count)
    competing = [subject.generators.components.index(k) for k in subject.state.components]
    return {"ivom": float(found.error_Kn[competing].min(axis=0).mean())}
