"""One page about a search: trials and their config in, HTML text out. It needs no network and no script."""

from collections.abc import Sequence

from raymix.config import Config
from raymix.config_values import dump_config
from raymix.data.source import DataSpec
from raymix.metrics.catalogue import MEASURES
from raymix.report.page import template
from raymix.report.search_charts import against_k, parallel, pareto
from raymix.report.trials import Trial, described, ranked, trial_table


def render_search(trials: Sequence[Trial], metric: str, base: Config, spec: DataSpec, terms: str | None) -> str:
    """The page. `trials`: all with a committed round; `base` is what they vary, `terms` what was made equal."""
    about = MEASURES[metric]
    trials = ranked(trials, about.better == "higher")
    measured = [trial for trial in trials if trial.metric is not None]
    varied = bool(measured) and bool(measured[0].values)
    return template("search.html.j2").render(
        title=f"A search on {spec.name}",
        subtitle=f"{len(trials)} trials of {base.model.family} mixtures, {spec.num_rows:,} rows to train on",
        metric=metric,
        about=about,
        best=described(measured[0].values) if measured else None,
        best_value=measured[0].metric if measured else None,
        stopped=sum(not trial.ended for trial in trials),
        terms=terms,
        failed=[trial for trial in trials if trial.failure],
        table=trial_table(trials, metric),
        against_k=against_k(measured, metric) if varied else None,
        fronts=[
            pareto(measured, metric, cost, about.better == "higher") for cost in ("parameters", "seconds") if measured
        ],
        parallel=parallel(measured, metric, about.better == "higher") if varied else None,
        config=dump_config(base),
        seconds=sum(trial.seconds for trial in trials),
    )
