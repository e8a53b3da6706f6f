"""Runs whose K changes: they find the modes, go on after any end, and give one digest whoever does the work."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raymix import session
from raymix.config import Config, DataConfig, DiscriminatorConfig, ResourcesConfig, ScheduleConfig
from raymix.config_values import dump_config, replaced
from raymix.evaluation.evaluate import evaluate_generation
from raymix.evaluation.report_files import report_files
from raymix.families.vae import VAEConfig
from raymix.mixture import Mixture
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.runs.record import read_record
from raymix.storage import Storage

ROUNDS = 10
DEADLINE_S = 240


def config(num_components: int = 2, trunk: str = "shared", **overrides: Any) -> Config:
    """Three blocks of rows with five modes; other fields by name with `__` for each dot."""
    small = Config(
        seed=1,
        num_components=num_components,
        data=DataConfig(name="synthetic-5", num_rows=2000, block_bytes=700 * 8),
        model=VAEConfig(encoder=(16,), decoder=(16,), latent=2),
        discriminator=DiscriminatorConfig(trunk=trunk, widths=(16,), batch_size=32, learning_rate=0.005, guard_loss=0),
        schedule=ScheduleConfig(
            rounds=ROUNDS, pretrain_epochs=4, epochs_per_round=8, batch_size=32, adapt=True, max_components=14
        ),
        resources=ResourcesConfig(pack=14, fused=True),
    )
    return replaced(small, {name.replace("__", "."): value for name, value in overrides.items()})


def trained(settings: Config, out: Path, workers: str = "local", **more: Any) -> RunDirectory:
    session.start(*resolve(settings), str(out), workers=workers, **more)
    return RunDirectory(Storage.at(out))


def interrupted(settings: Config, out: Path, round: int) -> RunDirectory:
    """Trained until a round was committed."""

    def watch(status: Any) -> None:
        if any(line.round == round for line in status.lines):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(settings, out, watch=watch)
    return RunDirectory(Storage.at(out))


@pytest.fixture(scope="module", autouse=True)
def _without_pictures() -> Iterator[None]:
    """They take as long as the rest of so small a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("raymix.evaluation.report_files.report_files", lambda *_: {"samples.png": b""})
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunDirectory]:
    """The run of a config, trained once."""
    runs: dict[str, RunDirectory] = {}

    def run(settings: Config) -> RunDirectory:
        key = settings.model_dump_json()
        if key not in runs:
            runs[key] = trained(settings, tmp_path_factory.mktemp("finished") / "run")
        return runs[key]

    return run


def kinds(directory: RunDirectory) -> set[str]:
    return {change.kind for line in read_record(directory.storage) for change in line.changes}


@pytest.mark.parametrize(
    ("num_components", "expected"), [(2, {"split"}), pytest.param(12, {"merge"}, marks=pytest.mark.slow)]
)
def test_a_run_ends_with_as_many_components_as_there_are_modes(num_components, expected, finished):
    directory = finished(config(num_components))
    last, lines = directory.require_last(), read_record(directory.storage)
    assert len(last.state.components) == 5
    assert lines[-1].clustering["ari"] > 0.9
    assert expected <= kinds(directory)
    late = [change.kind for line in lines[ROUNDS - 3 :] for change in line.changes]
    assert not any(line.changes for line in lines[:2]) and set(late) <= {"retire"}


def test_a_generation_holds_exactly_the_components_there_are(finished):
    directory = finished(config(2))
    for generation in directory.generations():
        assert generation.components == generation.state.components
        assert generation.record.components == generation.state.components
    ids = {k for generation in directory.generations() for k in generation.components}
    lineage = directory.require_last().state.lineage
    assert lineage.next_component == max(ids) + 1 and len(lineage.born_K) == 5


@pytest.mark.slow
def test_separate_discriminators_come_and_go_with_their_components(finished):
    directory = finished(config(2, trunk="separate"))
    last = directory.require_last()
    names = {name for name in last.files if name.startswith("discriminator-")}
    assert names == {f"discriminator-{k:05d}.safetensors" for k in last.state.components}
    assert last.state.components != (0, 1)


def test_the_record_tells_what_happened_and_why(finished):
    directory = finished(config(2))
    lines = read_record(directory.storage)
    for before, line in itertools.pairwise(lines):
        ids = set(before.components)
        for change in line.changes:
            assert change.reason and change.numbers
            assert set(change.components) <= ids
            ids = (ids - set(change.components)) | set(change.into)
        assert ids == set(line.components)
        assert len(line.term_K("loss")) == len(line.discriminator_loss_K) == len(line.components)
        assert sum(line.won_K) == 2000 and sum(map(sum, line.contingency_KC)) == 2000
    born = set(lines[-1].components) - {0, 1}
    assert born and not set(range(2, max(born) + 1)) - {k for line in lines for k in line.components}


@pytest.mark.slow
@pytest.mark.parametrize("round", [1, 3])
def test_a_run_that_was_interrupted_ends_as_if_it_had_not_been(round, finished, tmp_path):
    reference = finished(config(2))
    directory = interrupted(config(2), tmp_path / "run", round)
    assert directory.require_last().state.round == round
    assert session.resume(str(tmp_path / "run"), workers="local")
    assert digest(directory) == digest(reference)
    assert [line.changes for line in read_record(directory.storage)] == [
        line.changes for line in read_record(reference.storage)
    ]


def test_a_run_without_adapt_has_no_lineage_in_its_files(tmp_path):
    directory = trained(config(2, schedule__adapt=False, schedule__rounds=0), tmp_path / "run")
    last = directory.require_last()
    manifest = json.loads((tmp_path / "run" / last.folder / "manifest.json").read_text())
    assert "lineage" not in json.dumps(manifest) and last.record.changes == ()
    assert last.state.lineage is None


def test_a_mixture_whose_components_changed_can_be_used(finished, tmp_path):
    directory = finished(config(2))
    mixture = Mixture.load(directory.storage.uri)
    ids = set(mixture.state_.components)
    rows, components = mixture.sample(500)
    assert set(components) <= ids and len(set(components)) == 5
    assert (mixture.predict(rows) == components).mean() > 0.7
    assert evaluate_generation(directory, directory.require_last(), num_samples=500)["modes_captured"] >= 4


def test_the_page_tells_how_k_changed(finished):
    page = report_files(finished(config(2)))["report.html"].decode()
    assert "How K changed" in page and "split into" in page and "5 components on synthetic-5" in page


@pytest.mark.slow
def test_as_many_components_as_are_allowed(tmp_path):
    directory = trained(config(2, schedule__max_components=3, resources__pack=3), tmp_path / "run")
    assert all(len(line.components) <= 3 for line in read_record(directory.storage))


@pytest.mark.slow
def test_a_component_that_diverges_can_be_dropped(tmp_path, monkeypatch):
    from raymix.errors import DivergedError
    from raymix.training.generators import GeneratorPack

    train_pack = GeneratorPack.train

    def diverging(self, phase, round, shards, steps, *rest):
        if round == 1 and 1 in steps:
            raise DivergedError(1, round, 0, "the loss")
        return train_pack(self, phase, round, shards, steps, *rest)

    monkeypatch.setattr(GeneratorPack, "train", diverging)
    directory = trained(config(3, schedule__on_divergence="drop", schedule__rounds=7), tmp_path / "run")
    last = directory.require_last()
    assert 1 not in last.state.components and 1 not in last.components
    assert len(last.state.components) >= 4 and last.state.lineage.next_component > max(last.state.components)


def assert_same(one: RunDirectory, other: RunDirectory) -> None:
    assert digest(one) == digest(other)
    lines = [[replace(line, seconds={}) for line in read_record(each.storage)] for each in (one, other)]
    assert lines[0] == lines[1]
    np.testing.assert_array_equal(one.require_last().state.log_z_K, other.require_last().state.log_z_K)


@pytest.mark.slow
@pytest.mark.parametrize(("trunk", "pack"), [("shared", 14), ("separate", 2), ("shared", 3)])
def test_in_process_and_ray_give_one_digest(trunk, pack, finished, tmp_path, ray_cluster):
    settings = config(3, trunk, resources__pack=pack)
    assert_same(finished(settings), trained(settings, tmp_path / "ray", "ray"))


@pytest.mark.slow
def test_a_run_on_ray_whose_driver_was_killed_ends_with_the_same_digest(finished, tmp_path, ray_cluster):
    settings, out = config(3, "separate", resources__pack=2), tmp_path / "run"
    (tmp_path / "settings.yaml").write_text(dump_config(settings))
    command = ["-m", "raymix.cli", "train", "--config", str(tmp_path / "settings.yaml"), "--out", str(out)]
    driver = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + DEADLINE_S
    while len(list(out.glob("generations/*/manifest.json"))) < 4:  # K has changed
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    assert session.resume(str(out), workers="ray")
    assert_same(finished(settings), RunDirectory(Storage.at(out)))
