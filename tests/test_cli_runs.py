"""The commands around one small run, trained once in this process."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from raymix.cli import main
from raymix.config_values import load_config
from raymix.metrics import catalogue

QUICK = [
    "synthetic-3",
    "--workers=local",
    "--rounds=2",
    "--data.num-rows=300",
    "--schedule.pretrain-epochs=2",
    "--schedule.epochs-per-round=2",
    "--schedule.evaluate-every=2",
    "--resources.pack=3",
    "--resources.fused=true",
]
MEASURES = [
    "kde_log_likelihood",
    "modes_captured",
    "high_quality_share",
    "nmi",
    "ari",
    "purity",
    "matched_accuracy",
    "effective_components",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", *QUICK, "--out", str(out)]) == 0
    return str(out)


def answer(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_train_shows_rounds_on_stderr_and_the_outcome_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, report in ((1, True), (2, False)):
        assert main(["train", *QUICK, f"--schedule.report={str(report).lower()}"]) == 0
        out, err = capsys.readouterr()
        folder = f"runs/synthetic-3-00{number}"
        lines = out.splitlines()
        assert " ".join(lines[0].split()) == "component weight load bound, nats per row discriminator loss"
        assert [line.split()[0] for line in lines[1:4]] == ["0", "1", "2"]
        assert lines[4].startswith("nmi ")
        assert f"run: {folder}" in lines
        for name, file in (("picture", "samples.png"), ("report", "report.html")):
            assert (f"{name}: {folder}/{file}" in lines) is Path(folder, file).exists() is report
        assert err.startswith(f"raymix: run directory {folder}\n")
        for round in range(3):
            assert err.count(f"round {round}/2: ") == 1
    assert answer(["digest", "runs/synthetic-3-001"], capsys) == answer(["digest", "runs/synthetic-3-002"], capsys)


def test_train_into_a_run_is_refused_and_overwrites_nothing(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in Path(run).rglob("*") if path.is_file()}
    for more in ([], ["--dry-run"]):
        assert main(["train", *QUICK, "--out", run, *more]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert "already holds a run" in err
    assert before == {path: path.read_bytes() for path in Path(run).rglob("*") if path.is_file()}


def test_status_tells_a_finished_run(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = answer(["status", run], capsys)
    for text in (run, "mode compete, K = 3", "synthetic-3, 300 rows", "state: finished", "round 2/2", "nmi "):
        assert text in shown
    assert [line.split(": ")[:2] for line in shown.splitlines()[-4:]] == [
        [heading, "0"] for heading in ("weight", "load", "bound, nats per row", "discriminator loss")
    ]


def test_resume_of_a_finished_run_does_nothing(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = answer(["digest", run], capsys)
    assert main(["resume", run, "--workers", "local"]) == 0
    assert "finished already" in capsys.readouterr().err
    assert answer(["digest", run], capsys) == before


def test_resume_of_an_interrupted_run_ends_with_the_same_digest(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = str(tmp_path / "half")
    shutil.copytree(run, half)
    last = max(Path(half, "generations").iterdir())
    shutil.rmtree(last)
    Path(half, "samples.png").unlink()
    assert "unfinished; go on with `raymix resume" in answer(["status", half], capsys)
    assert main(["resume", half, "--workers", "local"]) == 0
    out, err = capsys.readouterr()
    assert "round 2/2" in err
    assert "round 1/2" not in err
    assert "picture: " in out
    assert answer(["digest", half], capsys) == answer(["digest", run], capsys)


def test_digest_is_one_hash(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    digest = answer(["digest", run], capsys).splitlines()[-1]
    assert len(digest) == 64
    int(digest, 16)


def test_evaluate_prints_one_object_with_every_measure(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["evaluate", run, "--num-samples", "200", "--seed", "5"]
    measures = json.loads(answer([*argv, "--json"], capsys))
    assert [name for name in catalogue.MEASURES if measures[name] is not None] == MEASURES
    assert (measures["num_samples"], measures["seed"]) == (200, 5)
    assert sum(each["weight"] for each in measures["components"]) == pytest.approx(1)
    assert json.loads(Path(run, "evaluation.json").read_text())["measures"] == measures
    shown = answer(argv, capsys)
    assert [line.split(":")[0] for line in shown.splitlines()][: len(MEASURES)] == MEASURES
    assert "200 samples, seed 5" in answer(["compare", run, "--markdown"], capsys)


def test_sample_writes_rows_and_components(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.npz"
    argv = ["sample", run, "--num", "50", "--out", str(out)]
    assert answer(argv, capsys) == ""
    drawn = np.load(out, allow_pickle=False)
    assert drawn["rows"].shape == (50, 2)
    assert drawn["components"].shape == (50,)
    assert main(argv) == 2
    assert "exists already" in capsys.readouterr().err
    answer([*argv, "--force"], capsys)
    np.testing.assert_array_equal(np.load(out)["rows"], drawn["rows"])
    answer([*argv, "--force", "--component", "1", "--seed", "3"], capsys)
    assert set(np.load(out)["components"]) == {1}


@pytest.mark.parametrize("wrong", [["--component", "3"], ["--num", "0"], ["--seed", "-1"]])
def test_sample_refuses_what_cannot_be_drawn(
    run: str, wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", run, "--num", "5", "--out", str(tmp_path / "x.npz"), *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_sample_draws_a_picture(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer(["sample", run, "--num", "50", "--out", str(tmp_path / "x.png")], capsys)
    with Image.open(tmp_path / "x.png") as picture:
        assert min(picture.size) > 200


def test_assign_writes_component_and_log_ratio(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.random.default_rng(0).normal(0, 5, (40, 2)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    parquet, npy = str(tmp_path / "a.parquet"), str(tmp_path / "a.npy")
    for out in (parquet, npy):
        assert answer(["assign", run, str(tmp_path / "rows.npy"), "--out", out], capsys) == ""
    table, array = pq.read_table(parquet), np.load(npy, allow_pickle=False)
    assert table.column_names == ["component", "log_ratio"]
    np.testing.assert_array_equal(table["component"].to_numpy(), array["component"])
    np.testing.assert_array_equal(table["log_ratio"].to_numpy(), array["log_ratio"])
    assert set(array["component"]) <= {0, 1, 2}
    assert np.isfinite(array["log_ratio"]).all()
    assert main(["assign", run, str(tmp_path / "rows.npy"), "--out", npy]) == 2
    assert "exists already" in capsys.readouterr().err


def test_assign_refuses_rows_of_another_shape_and_nan(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "nan.npy", np.array([[0, 1], [np.nan, 2]], np.float32))
    for data, said in (("digits", "shape (1, 8, 8)"), (str(tmp_path / "nan.npy"), "row 1")):
        assert main(["assign", run, data, "--out", str(tmp_path / "x.npy")]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    assert not (tmp_path / "x.npy").exists()


def test_control_without_discriminators_goes_through_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "single")
    assert main(["train", *QUICK, "--schedule.report=false", "--mode", "single", "--out", out]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert (row[0], row[-1]) == ("0", "-")
    assert "mode single" in answer(["status", out], capsys)
    assert main(["assign", out, "synthetic-3", "--out", str(tmp_path / "a.npy")]) == 2
    assert "single trains no discriminators" in capsys.readouterr().err


HEAVY = ("torch", "ray", "torchvision", "sklearn", "scipy.optimize", "scipy.linalg", "matplotlib", "optuna")
# Runs commands one after another in one process and prints what heavy modules each has loaded.
LISTENER = f"""
import contextlib, io, json, sys
from raymix.cli import main
for argv in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(argv) == 0, argv
    print(*(name for name in {HEAVY!r} if name in sys.modules))
"""


def test_commands_that_only_look_load_nothing_heavy(run: str, tmp_path: Path) -> None:
    """They answer at once: torch and Ray alone take seconds to import."""
    np.save(tmp_path / "rows.npy", np.zeros((4, 2)))
    commands = [["--help"], ["recipes"], ["data", "inspect", str(tmp_path / "rows.npy")], ["train", "--help"]]
    commands += [["train", "gan-mnist-small", "--help"], ["resume", "--help"], ["status", run], ["logs", run]]
    command = [sys.executable, "-c", LISTENER, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert dict(zip(map(str, commands), done.stdout.splitlines(), strict=True)) == dict.fromkeys(map(str, commands), "")


@pytest.mark.usefixtures("ray_cluster")
def test_train_on_ray_shows_the_same(tmp_path: Path, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The rounds; what an actor measures and draws beside them is seen in runtime/test_evaluator.py."""
    out, there = str(tmp_path / "ray"), [word for word in QUICK if "workers" not in word and "evaluate" not in word]
    assert main(["train", *there, "--workers=ray", "--schedule.report=false", "--out", out]) == 0
    err = capsys.readouterr().err
    for round in range(3):
        assert err.count(f"round {round}/2: ") == 1
    assert answer(["digest", out], capsys) == answer(["digest", run], capsys)


# ---- rows whose columns have names


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    owner = np.arange(150) % 3
    rows = np.array([[0, 0], [8, 0], [0, 8.0]])[owner] + rng.normal(size=(150, 2))
    frame = pd.DataFrame({"height": rows[:, 0], "weight": 30 * rows[:, 1], "class": owner})
    return frame.sample(frac=1, random_state=0)


@pytest.fixture(scope="module")
def of_frame(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("frame")
    frame.to_parquet(folder / "people.parquet")
    out = str(folder / "run")
    quick = [each for each in QUICK[1:] if "num-rows" not in each]
    assert main(["train", "synthetic-3", "--data", str(folder / "people.parquet"), *quick, "--out", out]) == 0
    return out


def test_inspect_says_what_was_taken_by_name(
    frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame.to_parquet(tmp_path / "people.parquet")
    lines = answer(["data", "inspect", str(tmp_path / "people.parquet")], capsys).splitlines()
    assert lines[0] == "file:people.parquet: 150 rows, vectors (D,) = (2,), float64, 0.0 MiB"
    assert lines[1] == "columns: height, weight"
    assert lines[-2:] == [
        "read: column class is taken for labels by its name; to train on it, list it in data.columns",
        "read: column __index_level_0__ is the frame's index and left out",
    ]


def test_a_run_knows_the_names_of_its_columns(
    of_frame: str, frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = json.loads(Path(of_frame, "run.json").read_text())
    assert (run["format"], run["data"]["columns"]) == (4, ["height", "weight"])
    page = Path(of_frame, "report.html").read_text()
    assert "2 columns (file:people.parquet: height, weight)" in page
    answer(["sample", of_frame, "--num", "20", "--out", str(tmp_path / "x.parquet")], capsys)
    assert pq.read_table(tmp_path / "x.parquet").column_names == ["height", "weight", "component"]


def test_columns_are_chosen_of_a_file_that_holds_others(
    frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "people.parquet")
    frame.assign(name="x").to_parquet(path)
    columns = ["weight", "height"]
    for argv in (["data", "inspect", path], ["train", "--data", path, "--dry-run"]):
        assert main(argv) == 2
        assert "column name holds" in capsys.readouterr().err
    assert "columns: weight, height" in answer(["data", "inspect", path, "--columns", *columns], capsys)
    argv = ["train", "synthetic-3", "--data", path, "--data.columns", *columns, "--dry-run"]
    assert main(argv) == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"]["columns"] == columns


def test_assign_matches_columns_by_name(
    of_frame: str, frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for name, each in (("as_trained", frame), ("swapped", frame[["weight", "class", "height"]].assign(note="x"))):
        each.to_parquet(tmp_path / f"{name}.parquet")
        answer(["assign", of_frame, str(tmp_path / f"{name}.parquet"), "--out", str(tmp_path / f"{name}.npy")], capsys)
        found.append(np.load(tmp_path / f"{name}.npy"))
    np.testing.assert_array_equal(*found)
    frame[["height"]].to_parquet(tmp_path / "half.parquet")
    assert main(["assign", of_frame, str(tmp_path / "half.parquet"), "--out", str(tmp_path / "half.npy")]) == 2
    assert "half.parquet: has no column weight" in capsys.readouterr().err


def test_a_run_goes_on_with_its_file_in_another_order_of_columns(
    of_frame: str, frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = load_config(str(Path(of_frame, "config.yaml")))
    kept = Path(config.data.path).read_bytes()
    half = str(tmp_path / "half")
    shutil.copytree(of_frame, half)
    shutil.rmtree(max(Path(half, "generations").iterdir()))
    measured = json.loads(answer(["evaluate", of_frame, "--json"], capsys))
    try:
        frame[["weight", "class", "height"]].to_parquet(config.data.path)
        again = json.loads(answer(["evaluate", of_frame, "--json"], capsys))
        assert main(["resume", half, "--workers=local"]) == 0
        frame[["weight"]].to_parquet(config.data.path)
        capsys.readouterr()
        assert main(["evaluate", of_frame]) == 2
        assert "people.parquet: has no column height" in capsys.readouterr().err
    finally:
        Path(config.data.path).write_bytes(kept)
    assert {name: again[name] for name in ("nmi", "purity")} == {name: measured[name] for name in ("nmi", "purity")}
    assert answer(["digest", half], capsys) == answer(["digest", of_frame], capsys)
