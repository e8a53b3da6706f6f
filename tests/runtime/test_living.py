"""Runs that go on by themselves on a cluster: watched, stopped and resumed by other processes."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray

from raymix import session
from raymix.cli import main
from raymix.config import Config, DataConfig, DiscriminatorConfig, ResourcesConfig, ScheduleConfig
from raymix.families.vae import VAEConfig
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, digest
from raymix.runs.record import read_record
from raymix.runtime.groups import _held
from raymix.runtime.identity import name_of, prefix_of, run_id_of
from raymix.runtime.living import living_coordinator
from raymix.runtime.messages import FILE, Messages
from raymix.storage import Storage


def settings(rounds: int) -> Config:
    return Config(
        num_components=2,
        data=DataConfig(name="synthetic-3", num_rows=300, block_bytes=100 * 8),
        model=VAEConfig(encoder=(16,), decoder=(16,), latent=2),
        discriminator=DiscriminatorConfig(trunk="shared", widths=(16,), batch_size=32),
        schedule=ScheduleConfig(rounds=rounds, pretrain_epochs=2, epochs_per_round=2, batch_size=32, report=False),
        resources=ResourcesConfig(pack=2, fused=True),
    )


def digest_of(out: Path) -> str:
    return digest(RunDirectory(Storage.at(out)))


def wait_for(done: Callable[[], Any], what: str, limit_s: float = 60) -> Any:
    deadline = time.monotonic() + limit_s
    while not (found := done()):
        assert time.monotonic() < deadline, f"waited {limit_s} s for {what}"
        time.sleep(0.1)
    return found


def is_named(out: Path) -> bool:
    return name_of(run_id_of(str(out))) in [each["name"] for each in ray.util.list_named_actors(all_namespaces=True)]


# ---- names


def test_a_run_has_one_id_however_its_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert len({run_id_of(place) for place in ("run", "./run/", str(tmp_path / "run"), str(tmp_path / "link"))}) == 1
    assert run_id_of("run") != run_id_of("run-2")


def test_an_id_does_not_depend_on_keys_but_on_the_endpoint() -> None:
    assert run_id_of("s3://key:secret@bucket/run/") == run_id_of("s3://bucket/run")
    assert run_id_of("s3://bucket/run?endpoint_override=a") != run_id_of("s3://bucket/run")


# ---- messages


def test_messages_wait_until_the_run_is_taken_over_and_go_on_after_those_of_before(tmp_path: Path) -> None:
    log = logging.getLogger("raymix.test")
    kept = []
    for text in ("first", "second"):
        directory = RunDirectory(Storage.at(tmp_path))
        messages = Messages(directory)
        try:
            log.info(text)
            assert kept == lines_of(tmp_path)
            directory.take_over()
            messages.save()
        finally:
            logging.getLogger("raymix").removeHandler(messages)
        kept = lines_of(tmp_path)
        assert kept[-1].endswith(f" INFO {text}")
    assert len(kept) == 2


def test_messages_of_a_writer_that_was_fenced_off_are_not_written(tmp_path: Path) -> None:
    old, new = RunDirectory(Storage.at(tmp_path)), RunDirectory(Storage.at(tmp_path))
    messages = Messages(old)
    try:
        old.take_over()
        new.take_over()
        logging.getLogger("raymix.test").info("too late")
    finally:
        logging.getLogger("raymix").removeHandler(messages)
    assert not lines_of(tmp_path)


def lines_of(out: Path) -> list[str]:
    file = out / FILE
    return file.read_text().splitlines() if file.exists() else []


# ---- misuse


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["train", "synthetic-3", "--detach"], "add --address"),
        (["train", "synthetic-3", "--detach", "--workers", "local"], "add --address"),
        (["train", "synthetic-3", "--address", "ray://h:1", "--out", "here"], "ray:// leads to"),
        (["stop", "nowhere"], "address"),
        (["stop", "nowhere", "--address", "h:1"], "holds no run"),
        (["logs", "nowhere"], "holds no run"),
    ],
)
def test_misuse_is_one_line(argv: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and part in err


# ---- on a cluster


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_detached_run_is_seen_stopped_resumed_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, alone = tmp_path / "run", tmp_path / "alone"
    config, spec = resolve(settings(rounds=60))
    places: list[Any] = []
    session.start(config, spec, str(out), detached=places.append)
    assert [place.name for place in places] == ["coordinator"]
    wait_for(lambda: len(read_record(Storage.at(out))) > 1, "a round")

    assert main(["status", str(out), "--address", "auto"]) == 0
    shown = capsys.readouterr().out
    assert "state: lives; round " in shown
    assert f"coordinator: process {places[0].pid} on " in shown and "generators of pack-0: process " in shown

    assert main(["stop", str(out), "--address", "auto"]) == 0
    assert "will end after round " in capsys.readouterr().out
    wait_for(lambda: living_coordinator(str(out)) is None, "the stop")
    done = read_record(Storage.at(out))[-1].round
    assert 1 <= done < 60
    assert main(["stop", str(out), "--address", "auto"]) == 2
    assert "does not live on this cluster" in capsys.readouterr().err
    wait_for(lambda: not is_named(out), "the coordinator to leave")
    assert not _held(prefix_of(run_id_of(str(out))))

    assert main(["logs", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"round {done}/60: " in told
    assert "detached coordinator starts on " in told and "asked to end after the present round" in told

    short = config.model_copy(update={"schedule": config.schedule.model_copy(update={"rounds": done})})
    session.start(short, spec, str(alone), workers="local")
    assert digest_of(out) == digest_of(alone)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_resume_watches_a_run_that_lives_and_a_run_that_was_ended_at_once_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, alone = tmp_path / "run", tmp_path / "alone"
    config, spec = resolve(settings(rounds=12))
    session.start(config, spec, str(alone), workers="local")
    session.start(config, spec, str(out), detached=lambda place: None)
    wait_for(lambda: read_record(Storage.at(out)), "a round")
    assert main(["stop", str(out), "--address", "auto", "--now"]) == 0
    assert "go on with `raymix resume" in capsys.readouterr().out
    assert not is_named(out)
    assert not _held(prefix_of(run_id_of(str(out))))

    assert session.resume(str(out), detached=lambda place: None)
    rounds: list[int] = []
    assert session.resume(str(out), watch=lambda status: rounds.extend(line.round for line in status.lines))
    assert rounds == list(range(13))
    assert digest_of(out) == digest_of(alone)
    assert not session.resume(str(out))
    wait_for(lambda: not is_named(out), "the coordinator to leave")
