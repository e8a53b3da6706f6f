"""Measures of vectors: likelihood of held-out rows, coverage of known modes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raymix.data.open import open_test_source
from raymix.data.synthetic import is_synthetic, modes
from raymix.evaluation.subject import Measured, Subject
from raymix.features.reference import drawn_rows
from raymix.metrics.density import choose_bandwidth, kde_log_likelihood
from raymix.metrics.modes import mode_coverage

NUM_HELD_OUT = 2_000
SYNTHETIC_BANDWIDTH = 0.3
BANDWIDTHS = tuple(0.005 * 2 ** (i / 2) for i in range(18))  # of the mean standard deviation of a column


def vector_measures(subject: Subject) -> Measured:
    """Measures of rows (n, D) in data units. Raises `DataError`."""
    data, settings = subject.config.data, subject.settings
    pieces = list(subject.samples())
    samples = np.concatenate([rows for _, rows in pieces])
    train = subject.training_rows()
    real = drawn_rows(train, min(settings.num_samples, train.spec.num_rows), settings.seed).astype(np.float64)
    held_out = open_test_source(data)
    test = None
    if held_out is not None:
        num = min(NUM_HELD_OUT, held_out.spec.num_rows)
        test = drawn_rows(held_out, num, settings.seed).astype(np.float64)
    bandwidth = bandwidth_of(subject, real)
    about = {
        "num_real": len(real),
        "real": f"training rows of {subject.spec.name}",
        "num_held_out": 0 if test is None else len(test),
        "bandwidth": bandwidth,
    }

    def measured(rows: NDArray[np.floating]) -> dict[str, float]:
        subject.count(1)
        likelihood = {} if test is None else {"kde_log_likelihood": kde_log_likelihood(rows, test, bandwidth)}
        return likelihood | coverage(data.name, rows)

    own = {k: np.concatenate([rows for j, rows in pieces if j == k]) for k in dict(pieces)}
    components = {k: coverage(data.name, rows) for k, rows in own.items()}
    return Measured(measured(samples), measured(real), components, about)


def bandwidth_of(subject: Subject, real: NDArray[np.floating]) -> float:
    """The kernel's standard deviation in data units. One that is chosen is chosen on training rows, so that mixtures of
    one data set are measured alike."""
    bandwidth = subject.settings.bandwidth
    if bandwidth != "auto":
        return bandwidth
    name = subject.config.data.name
    if is_synthetic(name) and modes(name).warped:
        return SYNTHETIC_BANDWIDTH
    spread, some = float(real.std(axis=0).mean()), real[:: max(1, len(real) // NUM_HELD_OUT)]
    return choose_bandwidth(some, [spread * share for share in BANDWIDTHS])


def coverage(name: str, rows: NDArray[Any]) -> dict[str, float]:
    """Captured modes and share of high quality, where the modes are known."""
    if not is_synthetic(name):
        return {}
    known = modes(name)
    found = mode_coverage(known.unwarp(rows.astype(np.float64)), known.centres, known.sds)
    return {"modes_captured": found.captured, "high_quality_share": found.high_quality_share}
