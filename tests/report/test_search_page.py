"""The page about a search, and the table of its trials."""

from typing import Any

import pytest

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.report.search_charts import front_of
from raymix.report.search_page import render_search
from raymix.report.trials import Trial, ranked, trial_table

SPEC = DataSpec("synthetic-5", 1_800, (2,), "float32")


def trial(number: int, metric: float | None, rounds: int = 8, **values: Any) -> Trial:
    return Trial(
        id=f"t{number}",
        values=values,
        rounds=rounds,
        rounds_asked=8,
        metric=metric,
        num_components=values.get("num_components", 3),
        parameters=100 * (number + 1),
        rows=64_000,
        flops=3.5e9,
        seconds=60.0 + number,
    )


GRID = [
    trial(4 * i + j, -5.0 + i - 0.1 * j, num_components=2**i, width=2 ** (j + 3)) for i in range(3) for j in range(4)
]


def test_finished_trials_come_first_then_stopped_ones_then_those_not_measured() -> None:
    trials = [trial(0, None), trial(1, -1.0, rounds=3), trial(2, -3.0), trial(3, -2.0)]
    assert [each.id for each in ranked(trials, higher=True)] == ["t3", "t2", "t1", "t0"]
    assert [each.id for each in ranked(trials, higher=False)] == ["t2", "t3", "t1", "t0"]


def test_a_row_tells_all_three_terms() -> None:
    headings, row = trial_table([trial(0, -3.25, rounds=3, num_components=2, model_encoder=[50, 25])], "fid")
    assert headings == (
        *("trial", "num_components", "model_encoder", "fid", "rounds", "parameters", "rows", "TFLOP", "minutes"),
    )
    assert row == ("t0", "2", "50-25", "-3.25", "3/8", "100", "64,000", "0.0035", "1.00")


def test_the_front_holds_whom_nobody_beats_in_both() -> None:
    costs, values = [1, 2, 3, 4, 2], [5.0, 3.0, 4.0, 1.0, 2.0]
    assert front_of(costs, values, higher=False) == [0, 4, 3]
    assert front_of(costs, values, higher=True) == [0]
    brute = [i for i in range(5) if not any(costs[j] <= costs[i] and values[j] < values[i] for j in range(5))]
    assert sorted(front_of(costs, values, higher=False)) == brute


@pytest.mark.parametrize(
    "trials",
    [
        GRID,
        [*GRID, trial(20, None, rounds=0, num_components=2, width=8)],
        [trial(0, -3.0, num_components=2)],
        [trial(i, -3.0 + i, rounds=3, **{"model.family": name}) for i, name in enumerate(["vae", "centroid"])],
        [trial(i, -3.0, **{"model.learning_rate": 10.0**-i, "model.latent": i}) for i in range(1, 30)],
        [trial(0, None, rounds=0, width=8)],
    ],
    ids=["grid", "one not measured", "one", "names", "ranges", "none measured"],
)
def test_a_page_is_made_of_any_trials(trials: list[Trial]) -> None:
    page = render_search(trials, "kde_log_likelihood", Config(), SPEC, "params")
    assert page.count("<tr>") == len(trials) + 1
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    measured = [each for each in trials if each.metric is not None]
    assert page.count("<svg") == (4 if measured else 0)


def test_the_summary_names_the_best_and_what_was_made_equal() -> None:
    page = render_search(GRID, "kde_log_likelihood", Config(), SPEC, "params")
    assert "<strong>K 4, width 8</strong>" in page and "nearly equal params" in page
    assert "nearly equal" not in render_search(GRID, "kde_log_likelihood", Config(), SPEC, None)
