"""One round as the record keeps it: what everybody reads who shows, compares or measures a run.

Axes: K components, C classes, F pairs of components between which rows moved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np

from raymix.metrics import clustering
from raymix.metrics.health import effective_components
from raymix.state import Change, Standing


class TermValues(NamedTuple):
    """One named term of the generators' losses."""

    unit: str
    """Such as "nats per row"; "" where it has none."""
    values_K: tuple[float | None, ...]
    """Each component's mean over the round; None where it took no step."""


@dataclass(frozen=True)
class RoundRecord(Standing):
    """One committed round: a line of `record.jsonl`. Values of components are in the order of `components`."""

    rows_moved: int
    """Rows whose owner changed; all of them at the first assignment."""
    generator_steps_K: tuple[int, ...]
    """Steps of each generator."""
    terms: Mapping[str, TermValues]
    """What the generators' losses are made of, by name, in the order that the family gives them."""
    discriminator_steps_K: tuple[int, ...]
    """Steps of each discriminator."""
    discriminator_loss_K: tuple[float | None, ...]
    """Smoothed loss of each discriminator at the end of the round, in nats; None where there is none."""
    seconds: Mapping[str, float]
    """Wall time per phase."""
    flow_F3: tuple[tuple[int, int, int], ...] = ()
    """Owner before, owner after, rows: the pairs between which most rows moved, the largest first."""
    reseeded: Mapping[int, int] = field(default_factory=dict)
    """Starved components that began anew as copies of another, and that one."""
    mendings: tuple[tuple[str, str], ...] = ()
    """What failed before the round could be committed, and what was done about it."""
    changes: tuple[Change, ...] = ()
    """What happened to the set of components at the end of the round; those who came to be by it have no losses and
    took no steps."""
    contingency_KC: tuple[tuple[int, ...], ...] | None = None
    """Rows won by component and class, where labels are known."""
    saturated_critics: tuple[int, ...] = ()
    """Components whose family says that their critic has little left to teach."""
    warnings: tuple[str, ...] = ()
    """What a reader of the numbers should not have to find."""
    committed_bytes: int | None = None
    """Size of the round's files; None in records of older versions."""
    spilled_bytes: int = 0
    """Rows' bytes that lay on disks at the commit because they outgrow the cluster's memory."""
    measures: Mapping[str, Any] | None = None
    """What was evaluated, None where nothing was."""

    @property
    def num_rows(self) -> int:
        """Rows of the data set."""
        return sum(self.won_K)

    @property
    def moved_share(self) -> float:
        """Rows that moved, of all."""
        return self.rows_moved / self.num_rows

    @property
    def effective_components(self) -> float:
        """exp of the entropy of the mixing weights."""
        return effective_components(np.array(self.weights_K))

    @property
    def clustering(self) -> dict[str, float]:
        """How well the assignment agrees with known classes; empty where none are."""
        if self.contingency_KC is None:
            return {}
        counts_KC = np.array(self.contingency_KC)
        return {
            "nmi": clustering.nmi(counts_KC),
            "ari": clustering.ari(counts_KC),
            "purity": clustering.purity(counts_KC),
        }

    @property
    def total_s(self) -> float:
        """Wall time of all phases."""
        return sum(self.seconds.values())

    def term_K(self, name: str) -> tuple[float | None, ...]:
        """The values of a term, None where it is not known."""
        return self.terms[name].values_K if name in self.terms else (None,) * len(self.components)

    def as_json(self) -> dict[str, Any]:
        """Plain values, what is derived among them; without what is not known."""
        values = {
            "round": self.round,
            "components": self.components,
            "won": self.won_K,
            "loads": self.loads_K,
            "weights": [round(weight, 6) for weight in self.weights_K],
            "effective_components": self.effective_components,
            "rows_moved": self.rows_moved,
            "flow": self.flow_F3,
            "starved": self.starved,
            "reseeded": {str(k): donor for k, donor in self.reseeded.items()},
            "mendings": self.mendings,
            "generator_steps": self.generator_steps_K,
            "terms": {name: {"unit": term.unit, "values": term.values_K} for name, term in self.terms.items()},
            "discriminator_loss": self.discriminator_loss_K,
            "discriminator_steps": self.discriminator_steps_K,
            "seconds": dict(self.seconds),
            "changes": [change._asdict() for change in self.changes],
            "clustering": self.clustering or None,
            "contingency": self.contingency_KC,
            "saturated_critics": self.saturated_critics,
            "warnings": self.warnings,
            "committed_bytes": self.committed_bytes,
            "spilled_bytes": self.spilled_bytes,
            "measures": self.measures,
        }
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Self:
        """What `as_json` gave, after it was written and read; lines of older versions lack fields and name no terms."""
        components = tuple(values["components"])
        contingency_KC = values.get("contingency")
        return cls(
            round=values["round"],
            components=components,
            won_K=tuple(values["won"]),
            loads_K=tuple(values["loads"]),
            rows_moved=values["rows_moved"],
            generator_steps_K=tuple(values["generator_steps"]),
            terms=_terms(values),
            # older versions wrote empty lists where nobody judges
            discriminator_steps_K=tuple(values["discriminator_steps"] or [0] * len(components)),
            discriminator_loss_K=tuple(values["discriminator_loss"] or [None] * len(components)),
            seconds=values["seconds"],
            flow_F3=tuple((source, target, rows) for source, target, rows in values.get("flow", ())),
            reseeded={int(k): donor for k, donor in values["reseeded"].items()},
            mendings=tuple((failure, done) for failure, done in values["mendings"]),
            changes=tuple(Change.of_json(change) for change in values.get("changes", ())),
            contingency_KC=contingency_KC and tuple(map(tuple, contingency_KC)),
            saturated_critics=tuple(values.get("saturated_critics", ())),
            warnings=tuple(values["warnings"]),
            committed_bytes=values.get("committed_bytes"),
            spilled_bytes=values.get("spilled_bytes", 0),
            measures=values.get("measures"),
        )


def _terms(values: Mapping[str, Any]) -> dict[str, TermValues]:
    """The terms of a line; of an older one the losses that it has instead, whose units nobody wrote down."""
    if "terms" in values:
        return {name: TermValues(term["unit"], tuple(term["values"])) for name, term in values["terms"].items()}
    older = {"loss": values["generator_loss"], "critic": values.get("critic_loss", ())}
    return {
        name: TermValues("", tuple(values_K))
        for name, values_K in older.items()
        if any(value is not None for value in values_K)
    }
