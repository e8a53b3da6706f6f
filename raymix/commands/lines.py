"""Lines of a run's record as a person reads them."""

from collections.abc import Mapping
from typing import Any

from raymix.metrics.catalogue import MEASURES


def round_line(line: Mapping[str, Any], rounds: int) -> str:
    """One round in plain text."""
    seconds = line["seconds"]
    phases = ", ".join(f"{phase} {spent:.1f}" for phase, spent in seconds.items())
    parts = [f"round {line['round']}/{rounds}: {line['rows_moved']:,} rows moved"]
    if "clustering" in line:
        parts.append(f"nmi {line['clustering']['nmi']:.3f}")
    parts.append(f"{sum(seconds.values()):.1f} s ({phases})")
    if line["starved"]:
        parts.append(f"starved: {' '.join(map(str, line['starved']))}")
    if line["reseeded"]:
        parts.append(f"reseeded: {', '.join(f'{k} from {donor}' for k, donor in line['reseeded'].items())}")
    if spilled := line.get("spilled_bytes"):
        parts.append(f"{spilled / 2**20:,.0f} MiB on disks")
    if changes := [change["kind"] for change in line.get("changes", ())]:
        counts = ", ".join(f"{kind} {changes.count(kind)}" for kind in dict.fromkeys(changes))
        parts.append(f"{len(line['components'])} components ({counts})")
    parts += [f"mended: {failure.split('; ')[0]} ({done})" for failure, done in line["mendings"]]
    return ", ".join(parts)


def component_rows(line: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Number, weight, load and losses of each component; `-` where there is no such network or number."""
    K = len(line["components"])
    losses = [line[name] or [None] * K for name in ("generator_loss", "discriminator_loss")]
    return [
        (str(k), f"{weight:.1%}", f"{load:,}", *("-" if loss is None else f"{loss:.3f}" for loss in pair))
        for k, weight, load, *pair in zip(line["components"], line["weights"], line["loads"], *losses, strict=True)
    ]


def measure_lines(line: Mapping[str, Any]) -> list[str]:
    """Agreement with known classes and what was evaluated, where there is any."""
    lines = []
    if "clustering" in line:
        lines.append(", ".join(f"{name} {value:.3f}" for name, value in line["clustering"].items()))
    measures = line.get("measures") or {}
    told = [name for name in MEASURES if measures.get(name) is not None and name not in line.get("clustering", {})]
    return lines + [f"{name} {measures[name]:.4g}" for name in told]
