"""What a run's record says, as metrics of Ray: Prometheus finds them at every node beside Ray's own.

Each is a gauge with the tags `run` (its id) and `name` (of its directory). Ray puts `ray_` before the names.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ray.util.metrics import Gauge

from raymix.runs.rounds import RoundRecord
from raymix.runs.run import Status
from raymix.storage import Storage

log = logging.getLogger(__name__)

METRICS = {
    "raymix_round": ("Last round committed", ()),
    "raymix_components": ("Components that compete", ()),
    "raymix_rows_moved": ("Rows that changed their component in the last round", ()),
    "raymix_starved_components": ("Components that train on lent rows", ()),
    "raymix_committed_bytes": ("Bytes of the files of the last round", ()),
    "raymix_mended_failures": ("Failures mended since the run began", ()),
    "raymix_phase_seconds": ("Seconds of a phase of the last round", ("phase",)),
    "raymix_rows_won": ("Rows won by a component", ("component",)),
    "raymix_load": ("Rows in a component's shard: won and lent", ("component",)),
    "raymix_loss_term": ("Mean of a term of a generator's losses in the last round", ("component", "term", "unit")),
    "raymix_discriminator_loss": ("Nats that a discriminator lost at the end of the last round", ("component",)),
}
"""By name: what it is, and its tags beside those of the run."""


class Sample(NamedTuple):
    """A value of a metric."""

    metric: str
    value: float
    tags: tuple[str, ...] = ()
    """In the order of `METRICS`."""


def samples(line: RoundRecord) -> Iterator[Sample]:
    """All that a record line gives, but what counts earlier lines too."""
    yield Sample("raymix_round", line.round)
    yield Sample("raymix_components", len(line.components))
    yield Sample("raymix_rows_moved", line.rows_moved)
    yield Sample("raymix_starved_components", len(line.starved))
    if line.committed_bytes is not None:
        yield Sample("raymix_committed_bytes", line.committed_bytes)
    for phase, seconds in line.seconds.items():
        yield Sample("raymix_phase_seconds", seconds, (phase,))
    of_components: list[tuple[str, tuple[str, ...], Sequence[float | None]]] = [
        ("raymix_rows_won", (), line.won_K),
        ("raymix_load", (), line.loads_K),
        *(("raymix_loss_term", (name, unit), values_K) for name, (unit, values_K) in line.terms.items()),
        ("raymix_discriminator_loss", (), line.discriminator_loss_K),
    ]
    for metric, further, values_K in of_components:
        for k, value in zip(line.components, values_K, strict=True):
            if value is not None:
                yield Sample(metric, value, (str(k), *further))


class Exporter:
    """Told of a run's status, it sets the metrics to the last committed round. It never fails a run."""

    def __init__(self, run_id: str, uri: str) -> None:
        self.tags = {"run": run_id, "name": Storage.at(uri).where().rsplit("/", 1)[-1]}
        self.gauges: dict[str, Gauge] = {}
        self.mended = 0
        self.shown: set[tuple[str, tuple[str, ...]]] = set()
        """Metrics that have a value, with their tags."""

    def __call__(self, status: Status) -> None:
        try:
            for each in self.due(status.lines):
                self._set(each)
        except Exception as error:  # metrics are for whoever watches; Ray may raise anything here
            log.warning("metrics could not be set: %s", error)

    def due(self, lines: Sequence[RoundRecord]) -> list[Sample]:
        """What is to be set after further record lines. Values that are no more become nan: the last ones would stay
        for ever."""
        if not lines:
            return []
        self.mended += sum(len(line.mendings) for line in lines)
        found = [Sample("raymix_mended_failures", self.mended), *samples(lines[-1])]
        shown = {(metric, tags) for metric, _, tags in found}
        gone = [Sample(metric, math.nan, tags) for metric, tags in sorted(self.shown - shown)]
        self.shown = shown
        return found + gone

    def _set(self, sample: Sample) -> None:
        description, names = METRICS[sample.metric]
        if sample.metric not in self.gauges:
            self.gauges[sample.metric] = Gauge(sample.metric, description, (*self.tags, *names))
        self.gauges[sample.metric].set(sample.value, self.tags | dict(zip(names, sample.tags, strict=True)))
