"""A commit that was killed or damaged: the last good generation is found, nothing wrong is loaded, the bits are the
same."""

import json
import logging
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from raymix import cli, session
from raymix.config import Config, DataConfig, DiscriminatorConfig, ScheduleConfig
from raymix.errors import CheckpointError, DamagedError
from raymix.evaluation import report_files as reporting
from raymix.families.centroid import CentroidConfig
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import Generation, RunDirectory, digest
from raymix.runs.record import read_record
from raymix.storage import Storage

PROGRAM = Path(__file__).with_name("killed_commits.py")
ROUNDS = 2
TRUNCATIONS, FLIPS = 16, 64
Harm = Callable[[bytes], bytes]


# ---- killed


def killed(folder: Path, most: int) -> dict:
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), str(folder), f"{folder}/{{}}", str(most)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.mark.slow
def test_a_commit_killed_at_some_of_its_calls_is_whole_or_absent(tmp_path: Path) -> None:
    found = killed(tmp_path, most=6)
    assert found["failures"] == [] and found["done"] == 6
    assert found["older"] and found["newer"]


@pytest.mark.faults
def test_a_commit_killed_at_every_call_is_whole_or_absent(tmp_path: Path) -> None:
    found = killed(tmp_path, most=sys.maxsize)
    print(json.dumps(found))
    assert found["failures"] == [] and found["older"] + found["newer"] == found["cases"]


# ---- damaged


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest."""
    monkeypatch.setattr(reporting, "report_files", lambda *args: {"samples.png": b"drawn"})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three blocks, and three components with a discriminator each."""
    folder = tmp_path_factory.mktemp("finished")
    rows = folder / "rows.npy"
    np.save(rows, np.random.default_rng(0).normal(size=(60, 2)))
    config = Config(
        num_components=3,
        data=DataConfig(name="file", path=str(rows), block_bytes=20 * 16),
        model=CentroidConfig(),
        discriminator=DiscriminatorConfig(widths=(4,), batch_size=16),
        schedule=ScheduleConfig(rounds=ROUNDS, pretrain_epochs=0),
    )
    session.start(*resolve(config), str(folder / "run"), workers="local")
    return folder / "run"


@pytest.fixture
def directory(tmp_path: Path, finished: Path) -> RunDirectory:
    """A copy of it."""
    return RunDirectory(Storage.at(shutil.copytree(finished, tmp_path / "run")))


def truncations(content: bytes, num: int, seed: int) -> Iterator[tuple[str, bytes]]:
    for length in (0, *random.Random(seed).sample(range(1, len(content) - 1), num - 2), len(content) - 1):
        yield f"cut to {length} bytes", content[:length]


def flips(content: bytes, num: int, seed: int) -> Iterator[tuple[str, bytes]]:
    for bit in random.Random(seed).sample(range(8 * len(content)), min(num, 8 * len(content))):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} flipped", bytes(changed)


def damages(path: Path, num_truncations: int, num_flips: int) -> Iterator[str]:
    """Damages the file in one way after another; it is whole again at the end."""
    content = path.read_bytes()
    seed = sum(path.name.encode())
    for name, changed in (*truncations(content, num_truncations, seed), *flips(content, num_flips, seed)):
        path.write_bytes(changed)
        yield f"{path.name} {name}"
    path.write_bytes(content)


def damage_generation(directory: RunDirectory, caplog: pytest.LogCaptureFixture, truncations: int, flips: int) -> int:
    """Damages each file of the newest generation; returns how many damages were tried, all of which were found."""
    newest, older = directory.generations()[-1], directory.generations()[-2]
    num = 0
    for file in [*newest.files, "manifest.json"]:
        for damage in damages(Path(directory.storage.uri) / newest.folder / file, truncations, flips):
            caplog.clear()
            found = RunDirectory(directory.storage).last()
            assert found == older, damage
            (message,) = [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING]
            assert newest.name in message and file in message and "\n" not in message, damage
            num += 1
    assert RunDirectory(directory.storage).last() == newest
    return num


def test_some_damage_to_any_file_of_a_generation_is_found(
    directory: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    assert damage_generation(directory, caplog, 3, 5) == 10 * 8


@pytest.mark.faults
def test_every_damage_to_any_file_of_a_generation_is_found(
    directory: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    assert damage_generation(directory, caplog, TRUNCATIONS, FLIPS) == 10 * (TRUNCATIONS + FLIPS)


def damage_settings(directory: RunDirectory, truncations: int, flips: int) -> int:
    num = 0
    for file in ("run.json", "config.yaml"):
        for damage in damages(Path(directory.storage.uri) / file, truncations, flips):
            with pytest.raises(DamagedError) as caught:
                RunDirectory(directory.storage).load()
            assert str(caught.value).startswith(f"{directory.storage.uri}/{file}: is not what was written"), damage
            num += 1
    RunDirectory(directory.storage).load()
    return num


def test_some_damage_to_the_settings_is_found(directory: RunDirectory) -> None:
    assert damage_settings(directory, 3, 5) == 2 * 8


@pytest.mark.faults
def test_every_damage_to_the_settings_is_found(directory: RunDirectory) -> None:
    assert damage_settings(directory, TRUNCATIONS, FLIPS) == 2 * (TRUNCATIONS + FLIPS)


def damage_writer(directory: RunDirectory, caplog: pytest.LogCaptureFixture, truncations: int, flips: int) -> int:
    """A writer that cannot tell whether it still is the one stops; the next takes over nevertheless."""
    directory.take_over()
    newest = directory.last()
    num = 0
    for damage in damages(Path(directory.storage.uri) / "writer.json", truncations, flips):
        with pytest.raises(DamagedError, match="raymix resume"):
            directory.publish(newest)
        caplog.clear()
        successor = RunDirectory(directory.storage)
        assert successor.take_over(restarted=True) == 0 and successor.writer == 2, damage
        assert "writer.json" in caplog.text
        with pytest.raises(CheckpointError, match="another writer took over"):
            directory.prune("nmi")
        num += 1
    directory.require_writer()
    return num


def test_some_damage_to_the_writers_mark_ends_the_writer_and_not_the_run(
    directory: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    assert damage_writer(directory, caplog, 3, 5) == 8


@pytest.mark.faults
def test_every_damage_to_the_writers_mark_ends_the_writer_and_not_the_run(
    directory: RunDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    assert damage_writer(directory, caplog, TRUNCATIONS, FLIPS) == TRUNCATIONS + FLIPS


def files_of(directory: RunDirectory, newest: Generation) -> list[str]:
    beside = ["writer.json", "record.jsonl", "events/events.out.tfevents.0.raymix"]
    return [*beside, *(f"{newest.folder}/{file}" for file in [*newest.files, "manifest.json"])]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.faults) for seed in range(1, 8))])
def test_a_damaged_run_ends_with_the_same_bits(directory: RunDirectory, seed: int) -> None:
    """Whatever can be made again is: each file of the run is damaged in turn, and the run resumed."""
    reference, folder = digest(directory), Path(directory.storage.uri)
    newest = len(files_of(directory, directory.generations()[-1]))
    for number in range(newest):
        file = files_of(directory, RunDirectory(directory.storage).generations()[-1])[number]
        (folder / "samples.png").unlink()
        content = (folder / file).read_bytes()
        kind = truncations if (number + seed) % 2 else flips
        _, changed = list(kind(content, 4, seed))[seed % 4]
        (folder / file).write_bytes(changed)
        assert session.resume(str(folder), workers="local")
        assert digest(RunDirectory(directory.storage)) == reference, file
        assert [line.round for line in read_record(directory.storage)] == list(range(ROUNDS + 1)), file


@pytest.mark.parametrize("file", ["run.json", "config.yaml", "writer.json", "record.jsonl", "manifest.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"{", b"[1]", b"a: [", b"{}"])
def test_commands_tell_of_damage_in_one_line(
    directory: RunDirectory, capsys: pytest.CaptureFixture, file: str, content: bytes
) -> None:
    folder = Path(directory.storage.uri)
    for path in folder.rglob(file):
        path.write_bytes(content)
    for command in ("status", "digest"):
        code = exit_code([command, str(folder)])
        error = capsys.readouterr().err
        assert "Traceback" not in error
        if file in ("run.json", "config.yaml"):
            assert code != 0 and len(error.splitlines()) == 1 and file in error, error
        elif file != "manifest.json":
            assert code == 0, error


def exit_code(argv: list[str]) -> int:
    try:
        return cli.main(argv) or 0
    except SystemExit as ending:
        return int(ending.code or 0)
