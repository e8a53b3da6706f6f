"""Measure a mixture at one round: its samples against real rows, its assignment against known classes.

What each number is stands in `raymix.metrics.catalogue`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from raymix.config_values import replaced
from raymix.evaluation.images import image_measures
from raymix.evaluation.subject import Count, Subject, ignore
from raymix.evaluation.vectors import vector_measures
from raymix.metrics import clustering
from raymix.metrics.catalogue import MEASURES
from raymix.metrics.health import effective_components
from raymix.models.registry import close
from raymix.runs.checkpoint import Generation, RunDirectory, finite_or_none
from raymix.runs.rounds import RoundRecord
from raymix.training.packs import load_generators


def evaluate_generation(
    directory: RunDirectory, generation: Generation, count: Count = ignore, **settings: Any
) -> dict[str, Any]:
    """`evaluate` from what is written, as the run's config says; `settings` replace fields of its `evaluation`. Raises
    `CheckpointError`, `ConfigError`, `DataError`."""
    config, spec = directory.load()
    config = close(replaced(config, {f"evaluation.{name}": value for name, value in settings.items()}))
    generators = load_generators(config, spec, directory.storage, generation)
    return evaluate(Subject(generators, directory.storage, generation, config.evaluation, count))


def evaluate(subject: Subject) -> dict[str, Any]:
    """Every measure that the data allows, by name; the others are None.

    Beside them `num_parameters` (of all generators), `num_samples`, `seed`, `about` (what samples were compared with),
    `real` (the same measures with training rows in the samples' place: what a perfect mixture would reach) and
    `components` (some for each alone).
    Raises `DataError`.
    """
    settings, state = subject.settings, subject.state
    measured = image_measures(subject) if subject.spec.is_image else vector_measures(subject)
    found = measured.mixture | agreement(subject.generation.record)
    found["effective_components"] = effective_components(np.array(state.weights_K))
    counts = dict(subject.counts)
    components = [
        {"component": k, "weight": weight, "num_samples": counts[k], **finite(measured.components.get(k, {}))}
        for k, weight in zip(state.components, state.weights_K, strict=True)
    ]
    return {
        **dict.fromkeys(MEASURES),
        **finite(found),
        "num_parameters": num_parameters(subject),
        "num_samples": settings.num_samples,
        "seed": settings.seed,
        "about": measured.about,
        "real": finite(measured.real),
        "components": components,
    }


def num_parameters(subject: Subject) -> int:
    """Trainable numbers of the generators that compete."""
    pack = subject.generators
    whole = sum(value.numel() for stack in pack.stacks for value in stack.network.parameters())
    return whole * len(subject.state.components) // len(pack.components)


def agreement(record: RoundRecord) -> dict[str, float]:
    """How the assignment agrees with known classes, from a record's counts."""
    if record.contingency_KC is None:
        return {}
    return {**record.clustering, "matched_accuracy": clustering.matched_accuracy(np.array(record.contingency_KC))}


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: finite_or_none(value) for name, value in values.items()}
