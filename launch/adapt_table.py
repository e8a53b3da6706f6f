"""How many components a run ends with when it chooses itself (`schedule.adapt`), and how good it is beside fixed ones.

    python -m launch.adapt_table --out runs/adapt [--recipes synthetic-5 synthetic-9] [--starts 2 3 12 20]

Runs one after another, in this process: about a minute each on one core, 36 of them. Each is measured at its end
against fresh rows and told in a line of `OUT/results.jsonl`; runs that have a line are not run again. The table is
printed at the end, as Markdown.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import tyro

FIXED = {"synthetic-3": (3, 6), "synthetic-5": (5, 8), "synthetic-9": (9, 12)}


@dataclass(frozen=True)
class Arguments:
    """Train recipes with a K that changes from several beginnings, and with fixed ones, and print a table."""

    out: Path
    """Folder for the runs' results."""
    recipes: tuple[str, ...] = ("synthetic-5", "synthetic-9")
    """Whose data, networks and budgets are taken."""
    starts: tuple[int, ...] = (2, 3, 12, 20)
    """Numbers of components that runs begin with."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the runs."""
    rounds: int | None = None
    """Rounds, where not the recipe's."""


class Case(NamedTuple):
    """One run."""

    recipe: str
    num_components: int
    adapt: bool
    seed: int


def cases(arguments: Arguments) -> list[Case]:
    """First of each beginning the first seed, so that what fails is seen early."""
    return [
        Case(recipe, num, adapt, seed)
        for seed in arguments.seeds
        for adapt in (True, False)
        for recipe in arguments.recipes
        for num in (arguments.starts if adapt else FIXED[recipe])
    ]


def measured(case: Case, rounds: int | None, folder: Path) -> dict[str, Any]:
    """Train one run and measure it; everything that the table tells."""
    from raymix import session
    from raymix.config_values import replaced
    from raymix.data.synthetic import modes
    from raymix.evaluation.evaluate import evaluate_generation
    from raymix.recipes.catalogue import recipe
    from raymix.recipes.resolve import resolve
    from raymix.runs.checkpoint import RunDirectory
    from raymix.storage import Storage

    base = recipe(case.recipe)
    changes: dict[str, Any] = {
        "num_components": case.num_components,
        "seed": case.seed,
        "schedule.adapt": case.adapt,
        "schedule.rounds": rounds or base.schedule.rounds,
        "resources.fused": True,
    }
    out = folder / f"{case.recipe}-{'adapt' if case.adapt else 'fixed'}-{case.num_components}-{case.seed}"
    start = time.perf_counter()
    session.start(*resolve(replaced(base, changes)), str(out), workers="local")
    minutes = (time.perf_counter() - start) / 60
    directory = RunDirectory(Storage.at(out))
    last = directory.require_last()
    measures = evaluate_generation(directory, last)
    return {
        **case._asdict(),
        "modes": len(modes(case.recipe).centres),
        "ended_with": len(last.state.components),
        "kde_log_likelihood": measures["kde_log_likelihood"],
        "real": measures["real"]["kde_log_likelihood"],
        "ari": measures["ari"],
        "modes_captured": measures["modes_captured"],
        "high_quality_share": measures["high_quality_share"],
        "changes": sum(len(each.record.changes) for each in directory.generations()),
        "minutes": round(minutes, 2),
    }


def table(found: list[dict[str, Any]]) -> str:
    """Markdown: a line per beginning, mean and standard deviation over seeds."""
    lines = [
        "| data | K | ends with | log-likelihood, nats | ARI | minutes |",
        "|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, bool, int], list[dict[str, Any]]] = {}
    for each in found:
        groups.setdefault((each["recipe"], not each["adapt"], each["num_components"]), []).append(each)
    for (recipe, fixed, num), group in sorted(groups.items()):
        ends = ", ".join(str(each["ended_with"]) for each in group)
        cells = [recipe, f"{num} fixed" if fixed else f"from {num}", ends]
        cells += [spread([each[name] for each in group]) for name in ("kde_log_likelihood", "ari", "minutes")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def verdicts(found: list[dict[str, Any]]) -> list[str]:
    """How many runs end with as many components as there are modes, and how far they are from the best fixed K."""
    told = []
    for recipe in sorted({each["recipe"] for each in found}):
        own = [each for each in found if each["recipe"] == recipe]
        adapted = [each for each in own if each["adapt"]]
        right = [each for each in adapted if each["ended_with"] == each["modes"]]
        told.append(f"{recipe}: {len(right)} of {len(adapted)} end with {own[0]['modes']} components")
        if right:
            told[-1] += f", with an ARI of {min(each['ari'] for each in right):.3f} or more"
        fixed = sorted({each["num_components"] for each in own if not each["adapt"]})
        means = {
            num: mean(e["kde_log_likelihood"] for e in own if not e["adapt"] and e["num_components"] == num)
            for num in fixed
        }
        if adapted and means:
            best = max(means, key=lambda num: means[num])
            gap = mean(each["kde_log_likelihood"] for each in adapted) - means[best]
            told[-1] += (
                f"; log-likelihood {gap:+.3f} nats from the best fixed K ({best}), real rows {own[0]['real']:.3f}"
            )
    return told


def main(arguments: Arguments) -> int:
    os.environ["OMP_NUM_THREADS"] = "1"
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = arguments.out / "results.jsonl"
    found = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    known = {tuple(each[name] for name in Case._fields) for each in found}
    for case in cases(arguments):
        if tuple(case) not in known:
            found.append(measured(case, arguments.rounds, arguments.out))
            with results.open("a") as file:
                file.write(json.dumps(found[-1]) + "\n")
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    print(table(found), *(f"- {text}" for text in verdicts(found)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments, description=Arguments.__doc__)))
