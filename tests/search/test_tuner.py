"""Real searches on Ray: what ends, what goes on after a kill, where trials run. Each takes a minute."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import raymix
from raymix import session
from raymix.cli import main
from raymix.config_values import load_config, replaced
from raymix.recipes.catalogue import recipe
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.runs.record import read_record
from raymix.runtime.driver import cluster
from raymix.search.objective import measured_often
from raymix.storage import Storage

pytestmark = pytest.mark.slow

SMALL = {
    "data.num_rows": 1_000,
    "schedule.pretrain_epochs": 1,
    "schedule.epochs_per_round": 2,
    "evaluation.num_samples": 500,
    "resources.fused": True,
}
WORDS = [f"--{name.replace('_', '-')}={str(value).lower()}" for name, value in SMALL.items()]


def run(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """`raymix tune` in a process of its own, with a Ray of its own."""
    with log.open("wb") as file:
        return subprocess.Popen([sys.executable, "-m", "raymix.cli", "tune", *words], stdout=file, stderr=file)


def digests(out: Path) -> dict[tuple[int, int], str]:
    """The digest of every trial, by K and seed."""
    found = {}
    for folder in (out / "trials").iterdir():
        directory = RunDirectory(Storage.at(folder))
        config, _ = directory.load()
        found[config.num_components, config.seed] = digest(directory)
    return found


def test_a_search_whose_driver_is_killed_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    space = ["synthetic-5", "--num-components", "1,3", "--seed", "0,1", "--rounds", "4", "--scheduler", "none", *WORDS]
    log, out = tmp_path / "log", tmp_path / "search"
    process = run([*space, "--out", str(out)], log)
    deadline = time.monotonic() + 300
    while not ("ended" in log.read_text() and log.read_text().count("round 1,") > 2):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {folder.name: read_record(Storage.at(folder)) for folder in (out / "trials").iterdir()}
    ended = {
        name: (out / "trials" / name / "record.jsonl").stat().st_mtime_ns for name in before if len(before[name]) == 5
    }
    assert ended
    again = tmp_path / "again"
    assert run(["--resume", str(out)], again).wait(timeout=300) == 0, again.read_text()
    said = again.read_text()
    assert {folder.name for folder in (out / "trials").iterdir()} >= set(before)
    assert len(list((out / "trials").iterdir())) == 4
    for name, lines in before.items():
        record = out / "trials" / name / "record.jsonl"
        assert [line.round for line in read_record(Storage.at(record.parent))] == [0, 1, 2, 3, 4]
        if name in ended:
            assert record.stat().st_mtime_ns == ended[name]
        else:
            assert read_record(Storage.at(record.parent))[: len(lines)] == lines
    assert (out / "best.yaml").exists() and "best:" in said
    whole = tmp_path / "whole"
    assert run([*space, "--out", str(whole)], tmp_path / "log2").wait(timeout=300) == 0
    assert digests(out) == digests(whole)


@pytest.mark.usefixtures("ray_cluster")
def test_python_gets_tunes_own_results_and_optuna_draws_from_ranges(tmp_path: Path) -> None:
    told = []
    results = raymix.tune(
        "synthetic-5",
        {"num_components": [1, 2], "model.learning_rate": {"log": [1e-3, 1e-2]}},
        out=tmp_path / "search",
        num_samples=3,
        scheduler="none",
        overrides=SMALL | {"schedule.rounds": 1},
        tell=told.append,
    )
    assert len(results) == 3 and results.num_errors == 0
    best = results.get_best_result()
    assert best.metrics["kde_log_likelihood"] == max(results[i].metrics["kde_log_likelihood"] for i in range(3))
    assert all(1e-3 <= results[i].config["model.learning_rate"] <= 1e-2 for i in range(3))
    assert sum(news.ended for news in told) == 3
    config = load_config(tmp_path / "search" / "best.yaml")
    assert config.model.learning_rate == pytest.approx(best.config["model.learning_rate"])  # type: ignore[attr-defined]
    assert (config.data.holdout, config.schedule.evaluate_every, config.resources.pack) == (0.0, 0, "auto")
    assert main(["compare", str(tmp_path / "search"), "--json"]) == 0


@pytest.mark.usefixtures("ray_cluster")
def test_asha_stops_trials_at_a_rung_and_not_before_round_three(tmp_path: Path) -> None:
    """Runs wait until it is decided whether they go on, so none has done more rounds than it was allowed."""
    told = []
    space = {"num_components": [1, 3], "seed": [0, 1, 2]}
    overrides = SMALL | {"schedule.rounds": 5}
    results = raymix.tune("synthetic-5", space, out=tmp_path / "search", overrides=overrides, tell=told.append)
    assert results.num_errors == 0
    rounds = {
        folder.name: read_record(Storage.at(folder))[-1].round for folder in (tmp_path / "search" / "trials").iterdir()
    }
    assert sorted(set(rounds.values())) == [3, 5]
    assert rounds == {news.trial: news.round for news in told if news.ended}


@pytest.mark.usefixtures("ray_cluster")
def test_populations_take_over_each_others_weights(tmp_path: Path) -> None:
    """Of two, the worse can take over at its turn what the better one kept at its own turn before: there are four."""
    results = raymix.tune(
        "synthetic-5",
        {"model.learning_rate": {"log": [1e-5, 1e-2]}},
        out=tmp_path / "search",
        search="pbt",
        num_samples=2,
        overrides=SMALL | {"schedule.rounds": 13, "num_components": 2},
    )
    assert results.num_errors == 0
    folders = list((tmp_path / "search" / "trials").iterdir())
    assert [read_record(Storage.at(folder))[-1].round for folder in folders] == [13, 13]
    packings = [json.loads((folder / "run.json").read_text())["environment"]["packing"] for folder in folders]
    assert any(packing.startswith("as trial") for packing in packings)  # somebody did


@pytest.mark.usefixtures("ray_cluster")
def test_a_trial_that_could_never_fit_is_refused_by_name_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asks = ["--resources.cpus-per-component=1", "--resources.pack=1", "--resources.place-s=2"]
    started = time.monotonic()
    words = ["tune", "synthetic-5", "--num-components", "1,40", *WORDS, *asks, "--out", str(tmp_path / "search")]
    assert main(words) == 2
    assert time.monotonic() - started < 10
    err = capsys.readouterr().err
    assert "the trial with K 40" in err and "the cluster 2 CPUs" in err
    assert not (tmp_path / "search").exists()


NODES = """
import json, logging, sys, time
import ray
from ray.cluster_utils import Cluster
from ray.core.generated import gcs_pb2
from ray.util.placement_group import placement_group_table
import raymix
from raymix.errors import ResourceError

overrides, out = json.loads(sys.argv[1]), sys.argv[2]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
for _ in range(2):
    cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, namespace="raymix", log_to_driver=False, logging_level=logging.ERROR)
tables = []

def tell(news):
    made = [group for group in placement_group_table().values() if group["state"] == "CREATED"]
    accessor = ray._private.state.state._connect_and_get_accessor()  # the public tables leave out the group
    alive = [gcs_pb2.ActorTableData.FromString(actor) for actor in accessor.get_actor_table(None, "ALIVE")]
    places = [a.placement_group_id.hex() for a in alive if a.class_name in ("GeneratorActor", "DiscriminatorActor")]
    tables.append([{group["placement_group_id"]: len(group["bundles"]) for group in made}, places])

settings = {"scheduler": "none", "overrides": overrides, "tell": tell}
results = raymix.tune("synthetic-5", {"num_components": [2, 5]}, out=out, **settings)
print(json.dumps({"errors": results.num_errors, "tables": tables}))

busy = ray.util.placement_group([{"CPU": 1}] * 3, strategy="SPREAD")
ray.get(busy.ready())
started = time.monotonic()
try:
    hurried = overrides | {"resources.place_s": 3}
    raymix.tune("synthetic-5", {"num_components": [2]}, out=out + "-busy", overrides=hurried)
except ResourceError as error:
    print(json.dumps({"refused": str(error), "seconds": time.monotonic() - started}))
ray.shutdown()
cluster.shutdown()
"""


def test_trials_of_different_size_run_side_by_side_each_in_its_placement_group(tmp_path: Path) -> None:
    overrides = SMALL | {"schedule.rounds": 3, "resources.pack": 2}
    words = [sys.executable, "-c", NODES, json.dumps(overrides), str(tmp_path / "search")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=400, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    first, refused = (json.loads(line) for line in done.stdout.splitlines()[-2:])
    assert first["errors"] == 0
    at_once = [groups for groups, _ in first["tables"] if sorted(groups.values()) == [2, 4]]
    assert at_once  # K = 2 in one pack and K = 5 in three, with a bundle for helpers each
    for groups, actors in first["tables"]:
        assert all(place in groups for place in actors)
    assert any(set(actors) == set(groups) for groups, actors in first["tables"] if len(groups) == 2)
    assert "too little for any trial" in refused["refused"] and refused["seconds"] < 10


def test_trials_take_little_more_than_plain_runs(tmp_path: Path) -> None:
    """Four of the recipe's size one after another, each way with one Ray and the same settings. Asks for a quiet
    machine."""
    overrides = {"schedule.rounds": 10, "resources.fused": True, "resources.pack": 5}
    base = measured_often(replaced(recipe("synthetic-5"), overrides))
    seconds = {}
    with cluster(None, num_cpus=1):
        started = time.monotonic()
        for seed in range(4):
            config, spec = resolve(replaced(base, {"seed": seed}))
            session.start(config, spec, str(tmp_path / f"plain-{seed}"))
        seconds["plain"] = time.monotonic() - started
        started = time.monotonic()
        out = tmp_path / "search"
        raymix.tune(base, {"seed": [0, 1, 2, 3]}, out=out, scheduler="none", max_concurrent=1)
        seconds["search"] = time.monotonic() - started
    print(f"{seconds}, ratio {seconds['search'] / seconds['plain']:.3f}")
    assert seconds["search"] <= 1.2 * seconds["plain"]
    plain = {digest(RunDirectory(Storage.at(tmp_path / f"plain-{seed}"))) for seed in range(4)}
    assert plain == set(digests(out).values())
