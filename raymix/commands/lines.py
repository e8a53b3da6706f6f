"""Lines of a run's record as a person reads them."""

from raymix.metrics.catalogue import MEASURES
from raymix.runs.rounds import RoundRecord, TermValues


def round_line(line: RoundRecord, rounds: int) -> str:
    """One round in plain text."""
    phases = ", ".join(f"{phase} {spent:.1f}" for phase, spent in line.seconds.items())
    parts = [f"round {line.round}/{rounds}: {line.rows_moved:,} rows moved"]
    for name, (unit, values_K) in first_term(line).items():
        known = [value for value in values_K if value is not None]
        parts.append(f"{name} {min(known):.3f} to {max(known):.3f} {unit}".rstrip())
    if line.clustering:
        parts.append(f"nmi {line.clustering['nmi']:.3f}")
    parts.append(f"{line.total_s:.1f} s ({phases})")
    if line.starved:
        parts.append(f"starved: {' '.join(map(str, line.starved))}")
    if line.reseeded:
        parts.append(f"reseeded: {', '.join(f'{k} from {donor}' for k, donor in line.reseeded.items())}")
    if line.spilled_bytes:
        parts.append(f"{line.spilled_bytes / 2**20:,.0f} MiB on disks")
    if changes := [change.kind for change in line.changes]:
        counts = ", ".join(f"{kind} {changes.count(kind)}" for kind in dict.fromkeys(changes))
        parts.append(f"{len(line.components)} components ({counts})")
    parts += [f"mended: {failure.split('; ')[0]} ({done})" for failure, done in line.mendings]
    return ", ".join(parts)


def first_term(line: RoundRecord) -> dict[str, TermValues]:
    """The term that the family names first, by its name; none where no generator took a step."""
    return dict(list(line.terms.items())[:1])


def component_table(line: RoundRecord) -> list[tuple[str, ...]]:
    """Headings, and for each component its number, weight, load, the first term of its loss under that name and unit,
    and its discriminator's loss; `-` where there is no such network or number."""
    columns = {", ".join(filter(None, (name, term.unit))): term.values_K for name, term in first_term(line).items()}
    columns["discriminator loss"] = line.discriminator_loss_K
    rows = [
        (str(k), f"{weight:.1%}", f"{load:,}", *("-" if value is None else f"{value:.3f}" for value in values))
        for k, weight, load, *values in zip(
            line.components, line.weights_K, line.loads_K, *columns.values(), strict=True
        )
    ]
    return [("component", "weight", "load", *columns), *rows]


def measure_lines(line: RoundRecord) -> list[str]:
    """Agreement with known classes and what was evaluated, where there is any."""
    lines, measures = [], line.measures or {}
    if line.clustering:
        lines.append(", ".join(f"{name} {value:.3f}" for name, value in line.clustering.items()))
    told = [name for name in MEASURES if measures.get(name) is not None and name not in line.clustering]
    return lines + [f"{name} {measures[name]:.4g}" for name in told]
