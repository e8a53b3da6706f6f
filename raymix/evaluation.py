"""The measures of one mixture: how close its samples are to held-out rows, how its shards agree with known classes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raymix.checkpoint import finite_or_none
from raymix.config import Config
from raymix.data.open import open_test_source
from raymix.data.source import DataSpec
from raymix.data.synthetic import is_synthetic, modes
from raymix.seeds import ALL, Phase, numpy_rng, phase_seed
from raymix.state import State

SampleComponent = Callable[[int, int, int], NDArray[np.floating]]
"""(component, number, seed) -> rows in data units."""

KDE_BANDWIDTH = 0.3
NUM_SAMPLES = 10_000
NUM_HELD_OUT = 2_000


def sample_mixture(
    components: Sequence[int], weights_K: Sequence[float], num: int, seed: int, sample: SampleComponent
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """`num` rows (num, *row_shape) of the mixture in random order, and the component each came from."""
    rng = numpy_rng(phase_seed(seed, 0, ALL, Phase.EVALUATE))
    labels = rng.choice(np.array(components), size=num, p=np.array(weights_K) / np.sum(weights_K))
    drawn = {k: sample(k, int((labels == k).sum()), phase_seed(seed, 0, k, Phase.EVALUATE)) for k in components}
    first = drawn[components[0]]
    rows = np.empty((num, *first.shape[1:]), first.dtype)
    for k, part in drawn.items():
        rows[labels == k] = part
    return rows, labels


def evaluate(
    config: Config,
    spec: DataSpec,
    state: State,
    clustering: dict[str, float] | None,
    sample: SampleComponent,
    *,
    num: int = NUM_SAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Every measure that this data set allows; the others are None.

    `kde_log_likelihood`: mean nats per row of at most 2,000 held-out rows under a Gaussian kernel density of bandwidth
    0.3 (data units) over `num` samples, for vectors. `modes_captured`, `high_quality_share`: 2-D sets with known modes.
    `clustering` holds the assignment's agreement with known classes as the record has it.
    """
    measures: dict[str, Any] = dict.fromkeys(("kde_log_likelihood", "modes_captured", "high_quality_share"))
    if not spec.is_image:
        rows, _ = sample_mixture(state.components, state.weights_K, num, seed, sample)
        measures |= vector_measures(config, rows)
    measures |= clustering or dict.fromkeys(("nmi", "ari", "purity"))
    return measures | {"mixing_weights": list(state.weights_K), "num_samples": num, "seed": seed}


def vector_measures(config: Config, rows: NDArray[np.floating]) -> dict[str, Any]:
    """Likelihood of held-out rows and coverage of known modes, for samples (N, D) in data units."""
    from raymix.metrics.density import kde_log_likelihood  # scikit-learn takes seconds to import
    from raymix.metrics.modes import mode_coverage

    measures: dict[str, Any] = {}
    held_out = open_test_source(config.data)
    if held_out is not None:
        test = held_out.read(0, min(NUM_HELD_OUT, held_out.spec.num_rows)).rows
        likelihood = kde_log_likelihood(rows, test.astype(np.float64), KDE_BANDWIDTH)
        measures["kde_log_likelihood"] = finite_or_none(likelihood)
    if is_synthetic(config.data.name):
        known = modes(config.data.name)
        coverage = mode_coverage(known.unwarp(rows), known.centres, known.sds)
        measures["modes_captured"] = coverage.captured
        measures["high_quality_share"] = coverage.high_quality_share
    return measures
