"""Kills a process at every filesystem call of a commit, then goes on with the run. A program; tests/faults start it.

    python killed_commits.py FOLDER LOCATION MOST

FOLDER is for its own files, LOCATION a folder or URI in which `{}` stands for the name of a run. The calls are those of
a process that takes over a run, does its last round, commits it and ends. Each case forks (importing torch takes
seconds), is killed before, in the middle of (writes only) or after one call, and resumes. At most MOST cases are done,
spread evenly. Prints one JSON object.
"""

import builtins
import functools
import json
import logging
import os
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorboardX  # noqa: F401  before the forks, each of which would import it
import torch

from raymix import session, storage
from raymix.config import AssignConfig, BalanceConfig, Config, DataConfig, DiscriminatorConfig, ScheduleConfig
from raymix.evaluation import report_files as reporting
from raymix.families.centroid import CentroidConfig
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import Generation, RunDirectory, digest
from raymix.runs.record import read_record
from raymix.storage import Disk, Remote, Storage

ROUNDS = 3
KILLED = 9
OS_CALLS = ("stat", "lstat", "mkdir", "open", "close", "fsync", "replace", "unlink", "rmdir", "listdir", "scandir")


class Calls:
    """Counts filesystem calls while a file operation of raymix is under way, and dies at one of them."""

    def __init__(self, at: int = 0, how: str = "before") -> None:
        self.at, self.how, self.names, self.inside = at, how, list[str](), 0

    def counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self.inside:
                return function(*args, **kwargs)
            self.names.append(name)
            here = len(self.names) == self.at
            if here and self.how == "before":
                os._exit(KILLED)
            if here and self.how == "half":
                stream = function.__self__  # type: ignore[attr-defined]
                stream.write(args[0][: len(args[0]) // 2])
                stream.flush()
                os._exit(KILLED)
            try:
                return function(*args, **kwargs)
            finally:
                if here:
                    os._exit(KILLED)

        return call

    def operation(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.inside += 1
            try:
                return function(*args, **kwargs)
            finally:
                self.inside -= 1

        return call

    def install(self) -> None:
        """For the rest of this process."""
        for name in OS_CALLS:
            setattr(os, name, self.counted(name, getattr(os, name)))
        vars(storage)["open"] = lambda *args: Counted(self, self.counted("open file", builtins.open)(*args))
        reached = storage.filesystem_at

        def filesystem(uri: str) -> tuple[Any, str]:
            found, path = reached(uri)
            return Counted(self, found), path

        storage.filesystem_at = filesystem
        for kind in (Disk, Remote):
            for name in ("write", "read", "exists", "names", "delete"):
                setattr(kind, name, self.operation(getattr(kind, name)))


class Counted:
    """A file, stream or filesystem whose methods are counted."""

    def __init__(self, calls: Calls, target: Any) -> None:
        self.calls, self.target = calls, target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.target, name)
        if not callable(value) or name == "fileno":
            return value
        call = self.calls.counted(name, value)
        if name.startswith("open_"):
            return lambda *args: Counted(self.calls, call(*args))
        return call

    def __enter__(self) -> "Counted":
        return self

    def __exit__(self, *failure: object) -> None:
        self.calls.counted("close file", self.target.close)()


def forked(work: Callable[[], Any]) -> tuple[int, Any]:
    """Do it in a child; returns its exit code and what it found."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = json.dumps(work())
        except BaseException:
            answer = json.dumps({"failure": traceback.format_exc()})
        with os.fdopen(writer, "w") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, json.loads(text) if text else None


def config(folder: Path) -> Config:
    rows = folder / "rows.npy"
    np.save(rows, np.random.default_rng(0).normal(size=(60, 2)))
    return Config(
        num_components=3,
        data=DataConfig(name="file", path=str(rows), block_bytes=20 * 16),
        model=CentroidConfig(),
        discriminator=DiscriminatorConfig(body="none"),
        schedule=ScheduleConfig(rounds=ROUNDS, pretrain_epochs=0),
        assign=AssignConfig(normalise=False),
        balance=BalanceConfig(min_share=0.5),
    )


def whole_run(folder: Path) -> str:
    session.start(*resolve(config(folder)), str(folder / "undisturbed"), workers="local")
    return digest(RunDirectory(Storage.at(folder / "undisturbed")))


def all_but_the_last_round(folder: Path) -> None:
    """A run that was killed right after the commit before its last, with leavings of one killed earlier."""
    publish = RunDirectory.publish

    def published(directory: RunDirectory, generation: Generation) -> None:
        publish(directory, generation)
        if generation.state.round == ROUNDS - 1:
            os._exit(0)

    RunDirectory.publish = published  # type: ignore[method-assign]
    started = folder / "started"
    (started / "generations" / f"{ROUNDS:06d}-0000").mkdir(parents=True)
    (started / "generations" / f"{ROUNDS:06d}-0000" / "generator-00000.safetensors").write_bytes(b"never published")
    (started / "record.jsonl.part-0123abcd").write_bytes(b"never finished")
    session.start(*resolve(config(folder)), str(started), workers="local")


def copy(folder: Path, to: str) -> None:
    place = Storage.at(to)
    if place.is_local:
        shutil.copytree(folder / "started", place.uri)
        return
    for path in sorted((folder / "started").rglob("*")):
        if path.is_file():
            place.write(str(path.relative_to(folder / "started")), path.read_bytes())


def disturbed(folder: Path, to: str, at: int, how: str) -> Any:
    copy(folder, to)
    calls = Calls(at, how)
    calls.install()
    session.resume(to, workers="local")
    return calls.names


def mended(to: str, reference: str) -> dict[str, Any]:
    """What a reader finds and what a resume makes of it."""
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda entry: warnings.append(entry.getMessage())  # type: ignore[method-assign]
    logging.getLogger("raymix").addHandler(handler)
    place = Storage.at(to)
    found = RunDirectory(place).last()
    assert found is not None and found.state.round in (ROUNDS - 1, ROUNDS)
    session.resume(to, workers="local")
    assert digest(RunDirectory(place)) == reference, "another digest"
    assert [line.round for line in read_record(place)] == list(range(ROUNDS + 1)), "another record"
    kept = [g.state.round for g in RunDirectory(place).generations() if RunDirectory(place).damage(g) is None]
    assert kept == [ROUNDS - 1, ROUNDS], f"kept {kept}"
    assert place.exists("samples.png") and place.exists("events/events.out.tfevents.0.raymix")
    assert not warnings, warnings
    if place.is_local:
        assert not list(Path(place.uri).rglob("*.part-*")), "parts are left"
        shutil.rmtree(place.uri)
    return {"round": found.state.round}


def main(folder: Path, location: str, most: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    reporting.report_files = lambda *args: {"samples.png": b"drawn"}  # drawing takes longer than all the rest
    _, reference = forked(lambda: whole_run(folder))
    forked(lambda: all_but_the_last_round(folder))
    code, names = forked(lambda: disturbed(folder, location.format("counted"), 0, ""))
    assert code == 0 and isinstance(names, list), names
    cases = [(at, how) for at in range(1, len(names) + 1) for how in ("before", "half", "after")]
    cases = [(at, how) for at, how in cases if how != "half" or names[at - 1] == "write"]
    most = min(most, len(cases))
    chosen = [int((i + 0.5) * len(cases) / most) for i in range(most)]
    found: Counter[int] = Counter()
    failures = []
    for at, how in (cases[i] for i in chosen):
        to = location.format(f"{at:04d}-{how}")
        code, _ = forked(functools.partial(disturbed, folder, to, at, how))
        _, outcome = forked(functools.partial(mended, to, reference))
        if code != KILLED or "failure" in outcome:
            failures.append({"at": at, "how": how, "call": names[at - 1], "code": code} | outcome)
        else:
            found[outcome["round"]] += 1
    return {
        "calls": len(names),
        "cases": len(cases),
        "done": len(chosen),
        "older": found[ROUNDS - 1],
        "newer": found[ROUNDS],
        "kinds": Counter(names),
        "failures": failures,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
