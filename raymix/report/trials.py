"""What is told of the trials of a search: a row each, the best first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = "width"


@dataclass(frozen=True)
class Trial:
    """One trial at its last round."""

    id: str
    values: Mapping[str, Any]
    """Values of the fields that were varied."""
    rounds: int
    """Committed so far."""
    rounds_asked: int
    """Fewer are committed where the trial was stopped early or goes on."""
    metric: float | None
    """The search's measure at the last round, None where it was not measured."""
    num_components: int
    parameters: int
    """Parameters of all generators."""
    rows: int
    """That all generators have trained on."""
    flops: float
    """Arithmetic of the generators' updates for these rows."""
    seconds: float
    """Wall time of all recorded phases."""
    failure: str = ""
    """What it failed with for good."""

    @property
    def ended(self) -> bool:
        return self.rounds >= self.rounds_asked


def ranked(trials: Sequence[Trial], higher: bool) -> list[Trial]:
    """The best first: those that did all their rounds, those that were stopped, those that were not measured."""

    def key(trial: Trial) -> tuple[bool, bool, float]:
        value = 0.0 if trial.metric is None else trial.metric
        return trial.metric is None, not trial.ended, -value if higher else value

    return sorted(trials, key=key)


def trial_table(trials: Sequence[Trial], metric: str = "metric") -> list[tuple[str, ...]]:
    """Headings and a row per trial; of equal terms all three: parameters, rows and arithmetic."""
    names = list(trials[0].values) if trials else []
    headings = ["trial", *names, metric, "rounds", "parameters", "rows", "TFLOP", "minutes"]
    rows = [
        (
            trial.id,
            *(shown(trial.values[name]) for name in names),
            "-" if trial.metric is None else f"{trial.metric:.4g}",
            f"{trial.rounds}/{trial.rounds_asked}{' failed' if trial.failure else ''}",
            f"{trial.parameters:,}",
            f"{trial.rows:,}",
            f"{trial.flops / 1e12:.3g}",
            f"{trial.seconds / 60:.2f}",
        )
        for trial in trials
    ]
    return [tuple(headings), *rows]


def described(values: Mapping[str, Any]) -> str:
    """Values of a trial as a person reads them: K 2, width 16."""
    names = {"num_components": "K"}
    return ", ".join(f"{names.get(name, name.rsplit('.', 1)[-1])} {shown(value)}" for name, value in values.items())


def shown(value: Any) -> str:
    """One value."""
    if isinstance(value, list | tuple):
        return "-".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
