"""Runs on S3, as a server in this process plays it: the same bits, the same commits, and addresses with options."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from moto.server import ThreadedMotoServer

from raymix import cli, session
from raymix.config import Config, DataConfig, DiscriminatorConfig, ResourcesConfig, ScheduleConfig
from raymix.errors import CheckpointError, DamagedError, MissingError
from raymix.evaluation import report_files as reporting
from raymix.families.vae import VAEConfig
from raymix.mixture import Mixture
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.runs.record import Events, read_record
from raymix.storage import Storage

PROGRAM = Path(__file__).with_name("killed_commits.py")
ROUNDS = 3


@pytest.fixture(scope="module")
def options(s3_options: str) -> str:
    """What leads an address to the server, which holds one bucket."""
    return s3_options


@pytest.fixture
def uri(options: str, request: pytest.FixtureRequest) -> str:
    """A folder of its own for each test."""
    return f"s3://bucket/runs/{re.sub(r'[^a-z_]', '-', request.node.name)}?{options}"


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(reporting, "report_files", lambda *args: {"samples.png": b"drawn"})


def config() -> Config:
    return Config(
        num_components=2,
        data=DataConfig(name="synthetic-3", num_rows=60, block_bytes=20 * 8),
        model=VAEConfig(encoder=(4,), decoder=(4,), latent=2),
        discriminator=DiscriminatorConfig(widths=(4,), batch_size=16),
        schedule=ScheduleConfig(rounds=ROUNDS, pretrain_epochs=1, epochs_per_round=1, batch_size=16),
        resources=ResourcesConfig(pack=2, fused=True),
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("local") / "run"
    session.start(*resolve(config()), str(folder), workers="local")
    return digest(RunDirectory(Storage.at(folder)))


@pytest.fixture(scope="module")
def finished(options: str) -> str:
    """A run that was trained on S3 from its first to its last round."""
    uri = f"s3://bucket/finished?{options}"
    session.start(*resolve(config()), uri, workers="local")
    return uri


# ---- files


def test_files_of_an_address_with_options(uri: str) -> None:
    storage = Storage.at(uri)
    assert not storage.is_local
    storage.write("a/b/c.bin", b"\x00\xff")
    storage.write("a/b/c.bin", b"new")
    storage.write("a/two", b"")
    assert storage.read("a/b/c.bin") == b"new" and storage.names("a") == ["b", "two"]
    assert storage.exists("a/two") and storage.exists("a") and not storage.exists("a/three")
    storage.delete("a/two")
    storage.delete("a/three")
    assert storage.names("a") == ["b"]
    storage.delete("a")
    assert not storage.exists("a/b/c.bin") and storage.names("a") == []
    with pytest.raises(MissingError, match=r"^s3://bucket/runs/test_files_of_an_address_with_options/x: is missing$"):
        storage.read("x")


def test_a_slash_at_the_end_changes_nothing(options: str) -> None:
    Storage.at(f"s3://bucket/slash?{options}").write("a", b"1")
    assert Storage.at(f"s3://bucket/slash/?{options}").read("a") == b"1"


def test_a_bucket_that_is_not_there_is_named(options: str) -> None:
    with pytest.raises(CheckpointError, match=r"^s3://none/run/a: cannot be written \(.*bucket does not exist"):
        Storage.at(f"s3://none/run?{options}").write("a", b"1")


def test_keys_in_an_address_are_not_shown(options: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        RunDirectory(Storage.at(f"s3://key:secret@bucket/none?{options}")).load()
    assert str(caught.value).startswith("s3://bucket/none: holds no run")


# ---- runs


def test_a_run_has_the_bits_of_a_local_one(finished: str, reference: str) -> None:
    directory = RunDirectory(Storage.at(finished))
    assert digest(directory) == reference
    assert [line.round for line in read_record(directory.storage)] == list(range(ROUNDS + 1))
    kept = [g.state.round for g in directory.generations() if directory.damage(g) is None]
    assert kept == [ROUNDS - 1, ROUNDS] and len(directory.generations()) == ROUNDS + 1
    assert directory.storage.read("samples.png").startswith(b"\x89PNG")
    assert not session.resume(finished, workers="local")


def test_events_of_a_run_can_be_kept_there(uri: str, finished: str) -> None:
    storage = copied(finished, uri)
    lines = read_record(storage)
    Events(storage, lines[:ROUNDS]).append(lines[ROUNDS])
    assert storage.names("events") == ["events.out.tfevents.0.raymix"]
    content = storage.read("events/events.out.tfevents.0.raymix")
    assert content.count(b"mixture/rows_moved") == ROUNDS + 1


def test_a_run_can_be_used_from_there(finished: str, capsys: pytest.CaptureFixture) -> None:
    mixture = Mixture.load(finished)
    assert mixture.sample(3)[0].shape == (3, 2)
    assert cli.main(["status", finished]) == 0
    assert "state: finished" in capsys.readouterr().out


def test_training_there_again_is_refused(finished: str) -> None:
    with pytest.raises(CheckpointError, match=r"^s3://bucket/finished: already holds a run"):
        session.start(*resolve(config()), finished, workers="local")


def test_an_old_writer_writes_nothing_more(finished: str) -> None:
    old, new = RunDirectory(Storage.at(finished)), RunDirectory(Storage.at(finished))
    old.take_over()
    new.take_over()
    last = old.last()
    for write in (
        lambda: old.publish(last),
        lambda: old.write("samples.png", b"old"),
        lambda: old.prune("nmi"),
        lambda: old.drop_after(0),
    ):
        with pytest.raises(CheckpointError, match=r"^s3://bucket/finished: another writer took over"):
            write()
    assert new.last() == last and new.storage.read("samples.png") != b"old"


HARMED = {  # each harm and each file once, every day; the other pairs are tried with the faults
    "flipped": "generator-00001.safetensors",
    "cut": "labels-00002.parquet",
    "gone": "manifest.json",
}


@pytest.mark.parametrize(
    ("harm", "file"),
    [
        pytest.param(harm, file, marks=() if HARMED[harm] == file else pytest.mark.faults)
        for harm in HARMED
        for file in HARMED.values()
    ],
)
def test_damage_falls_back_and_the_bits_are_the_same(
    uri: str, finished: str, reference: str, caplog: pytest.LogCaptureFixture, file: str, harm: str
) -> None:
    storage = copied(finished, uri)
    newest = RunDirectory(storage).last()
    name = f"{newest.folder}/{file}"
    content = storage.read(name)
    middle = len(content) // 2
    if harm == "gone":
        storage.delete(name)
    else:
        flipped = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
        storage.write(name, flipped if harm == "flipped" else content[:middle])
    with caplog.at_level(logging.WARNING):
        assert RunDirectory(storage).last().state.round == ROUNDS - 1
    if not (file == "manifest.json" and harm == "gone"):  # then it was never published
        assert newest.name in caplog.text
    storage.delete("samples.png")
    assert session.resume(uri, workers="local")
    assert digest(RunDirectory(storage)) == reference


def test_damaged_settings_are_refused(uri: str, finished: str) -> None:
    storage = copied(finished, uri)
    storage.write("config.yaml", storage.read("config.yaml").replace(b"seed: 0", b"seed: 1"))
    with pytest.raises(DamagedError, match=r"/config\.yaml: is not what was written"):
        session.resume(uri, workers="local")


def copied(finished: str, to: str) -> Storage:
    source, target = Storage.at(finished), Storage.at(to)
    names = ["run.json", "config.yaml", "writer.json", "record.jsonl", "samples.png"]
    names += [f"{g}/{f}" for g in (f"generations/{g}" for g in source.names("generations")) for f in source.names(g)]
    for name in names:
        target.write(name, source.read(name))
    return target


@pytest.mark.slow
@pytest.mark.parametrize(
    "look",
    [
        lambda directory, newest: directory.damage(newest),
        pytest.param(lambda directory, newest: RunDirectory(directory.storage).last(), marks=pytest.mark.faults),
        pytest.param(lambda directory, newest: directory.require_writer(), marks=pytest.mark.faults),
    ],
    ids=["damage", "last", "writer"],
)
def test_a_server_that_is_away_loses_no_round(finished: str, look: Callable) -> None:
    """What cannot be read is not taken for damaged: `resume` would drop it. (pyarrow tries again for seconds.)"""
    away = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    away.start()
    address = f"endpoint_override=127.0.0.1:{away.get_host_and_port()[1]}&scheme=http"
    pafs.FileSystem.from_uri(f"s3://away?{address}&allow_bucket_creation=true")[0].create_dir("away")
    directory = RunDirectory(copied(finished, f"s3://away/run?{address}"))
    newest = directory.last()
    away.stop()
    with pytest.raises(CheckpointError, match=r"^s3://away/run/.*: cannot be (read|listed) \(") as caught:
        look(directory, newest)
    assert not isinstance(caught.value, DamagedError)


# ---- kills


def killed(folder: Path, options: str, most: int) -> dict:
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    location = f"s3://bucket/{folder.name}/{{}}?{options}"
    command = [sys.executable, str(PROGRAM), str(folder), location, str(most)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.mark.slow
def test_a_commit_killed_at_some_of_its_calls_is_whole_or_absent(tmp_path: Path, options: str) -> None:
    found = killed(tmp_path, options, most=3)
    assert found["failures"] == [] and found["done"] == 3
    assert found["older"] and found["newer"]


@pytest.mark.faults
def test_a_commit_killed_at_every_call_is_whole_or_absent(tmp_path: Path, options: str) -> None:
    found = killed(tmp_path, options, most=sys.maxsize)
    print(json.dumps(found))
    assert found["failures"] == [] and found["older"] + found["newer"] == found["cases"]
