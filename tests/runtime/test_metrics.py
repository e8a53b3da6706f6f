"""A run's metrics: what they are of a record line, and that Prometheus gets them; its actors' names and log files."""

import math
import time
import urllib.request
from dataclasses import dataclass, replace
from importlib.util import find_spec

import pytest
import ray

from raymix import session
from raymix.config import Config, DataConfig, DiscriminatorConfig, ResourcesConfig, ScheduleConfig
from raymix.families.vae import VAEConfig
from raymix.recipes.resolve import resolve
from raymix.runs.record import read_record
from raymix.runs.rounds import RoundRecord, TermValues
from raymix.runs.run import Status
from raymix.runtime.identity import prefix_of, run_id_of
from raymix.runtime.logs import log_folder, session_folder
from raymix.runtime.metrics import METRICS, Exporter, Sample, samples
from raymix.storage import Storage

EXPORTS = bool(find_spec("prometheus_client") and find_spec("opencensus"))  # which come with ray[default]
SHOWN_S = 60
ACTORS = {f"{role}-{k}" for role in ("generator", "discriminator") for k in (0, 1)}

LINE = RoundRecord(
    round=4,
    components=(0, 2),
    won_K=(90, 10),
    loads_K=(90, 25),
    rows_moved=7,
    generator_steps_K=(5, 0),
    terms={"bound": TermValues("nats per row", (0.5, None)), "kl": TermValues("", (0.25, 0.75))},
    discriminator_steps_K=(0, 0),
    discriminator_loss_K=(None, None),
    seconds={"score": 1.5},
    mendings=(("a worker was lost", "retry"),),
)


def test_a_line_gives_a_sample_for_each_value_there_is():
    assert list(samples(LINE)) == [
        Sample("raymix_round", 4),
        Sample("raymix_components", 2),
        Sample("raymix_rows_moved", 7),
        Sample("raymix_starved_components", 1),
        Sample("raymix_phase_seconds", 1.5, ("score",)),
        Sample("raymix_rows_won", 90, ("0",)),
        Sample("raymix_rows_won", 10, ("2",)),
        Sample("raymix_load", 90, ("0",)),
        Sample("raymix_load", 25, ("2",)),
        Sample("raymix_loss_term", 0.5, ("0", "bound", "nats per row")),
        Sample("raymix_loss_term", 0.25, ("0", "kl", "")),
        Sample("raymix_loss_term", 0.75, ("2", "kl", "")),
    ]
    judged = replace(LINE, discriminator_loss_K=(0.6, 0.5), committed_bytes=4096)
    assert set(samples(judged)) - set(samples(LINE)) == {
        Sample("raymix_committed_bytes", 4096),
        Sample("raymix_discriminator_loss", 0.6, ("0",)),
        Sample("raymix_discriminator_loss", 0.5, ("2",)),
    }
    assert all(len(tags) == len(METRICS[metric][1]) for metric, _, tags in samples(judged))


def test_failures_are_counted_over_all_lines_and_the_rest_is_the_last_ones():
    exporter = Exporter("1f0c", "runs/digits-001")
    due = exporter.due([LINE, replace(LINE, round=5)])
    assert due == [Sample("raymix_mended_failures", 2), Sample("raymix_round", 5), *list(samples(LINE))[1:]]
    assert exporter.due([]) == []
    assert exporter.due([LINE])[0] == Sample("raymix_mended_failures", 3)
    assert exporter.tags == {"run": "1f0c", "name": "digits-001"}


def test_a_component_that_is_gone_has_no_values_left(make_record):
    exporter = Exporter("1f0c", "runs/digits-001")
    exporter.due([LINE])
    terms = {"bound": TermValues("nats per row", (0.5,))}
    due = exporter.due([make_record(components=(0,), won_K=(100,), terms=terms, seconds={"score": 1.0})])
    assert [each.value for each in due if each.metric == "raymix_rows_won" and each.tags == ("0",)] == [100]
    gone = [(metric, tags) for metric, value, tags in due if math.isnan(value)]
    assert gone == [
        ("raymix_load", ("2",)),
        ("raymix_loss_term", ("0", "kl", "")),
        ("raymix_loss_term", ("2", "kl", "")),
        ("raymix_rows_won", ("2",)),
    ]


def test_a_run_goes_on_where_metrics_cannot_be_set(caplog):
    exporter = Exporter("1f0c", "runs/digits-001")
    exporter(Status([replace(LINE, round="no number")], rounds=5, doing=""))
    assert "metrics could not be set" in caplog.text


def scraped(run):
    """Values of a run's metrics at all nodes, by name without `ray_`, and tags."""
    found = {}
    for node in ray.nodes():
        url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        for line in urllib.request.urlopen(url, timeout=10).read().decode().splitlines():
            name, _, rest = line.partition("{")
            if name.startswith("ray_raymix_") and f'run="{run}"' in rest:
                labels, _, value = rest.rpartition("} ")
                tags = dict(each.split("=", 1) for each in labels.replace('"', "").split(",") if "=" in each)
                metric = name.removeprefix("ray_")
                found[metric, tuple(tags.get(tag, "") for tag in METRICS[metric][1])] = float(value)
    return found


def settings():
    return Config(
        num_components=2,
        data=DataConfig(name="synthetic-3", num_rows=300, block_bytes=100 * 8),
        model=VAEConfig(encoder=(8,), decoder=(8,), latent=2),
        discriminator=DiscriminatorConfig(widths=(8,), batch_size=32),
        schedule=ScheduleConfig(rounds=2, pretrain_epochs=1, epochs_per_round=1, report=False),
        resources=ResourcesConfig(pack=1, fused=False),
    )


@dataclass
class Seen:
    """What was seen of a run, while and after it went on."""

    record: list[RoundRecord]
    names: set[str]
    logs: dict[str, str]
    metrics: dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture(scope="module")
def seen(ray_cluster, tmp_path_factory):
    out = tmp_path_factory.mktemp("metrics") / "tiny"
    run = run_id_of(str(out))
    config, spec = resolve(settings())
    names, metrics = set(), {}

    def watch(status):
        names.update(each["name"] for each in ray.util.list_named_actors(all_namespaces=True))
        deadline = time.monotonic() + SHOWN_S
        while EXPORTS and status.ended and metrics.get(("raymix_round", ())) != config.schedule.rounds:
            assert time.monotonic() < deadline, metrics
            time.sleep(0.5)
            metrics.update(scraped(run))

    session.start(config, spec, str(out), watch=watch)
    logs = {file.stem: file.read_text() for file in log_folder(session_folder(), run).iterdir()}
    own = {name.removeprefix(prefix_of(run)) for name in names if name.startswith(prefix_of(run))}
    return Seen(read_record(Storage.at(out)), own, logs, metrics)


@pytest.mark.slow
def test_actors_are_named_after_their_components(seen):
    assert seen.names == ACTORS


@pytest.mark.slow
def test_every_actor_has_a_log_file_named_after_its_component(seen):
    assert set(seen.logs) == ACTORS | {"coordinator"}
    assert "train of round 2 took" in seen.logs["generator-1"]
    assert "score of round 2 took" in seen.logs["discriminator-0"]


@pytest.mark.slow
@pytest.mark.skipif(not EXPORTS, reason="Ray's agents export nothing here (pip install 'ray[default]')")
def test_prometheus_finds_what_the_record_says(seen):
    expected = {(metric, tags): value for metric, value, tags in samples(seen.record[-1])}
    assert seen.metrics == {**expected, ("raymix_mended_failures", ()): 0.0}
    assert {metric for metric, _ in seen.metrics} == set(METRICS)
