"""`raymix tune`: what is read from the command line, and what is refused before Ray starts."""

from pathlib import Path

import numpy as np
import pytest

from raymix.cli import main
from raymix.commands.tune import listed_options, parse_tune
from raymix.search.space import Choices, Range

SMALL = ("synthetic-5", "--data.num-rows", "200")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_lists_and_ranges_are_varied_and_the_rest_is_set() -> None:
    argv = [*SMALL, "--num-components", "1,2", "--width=16,50", "--rounds", "4", "--model.latent", "2..8"]
    arguments, config, space, name = parse_tune([*argv, "--schedule.batch-size=16,32", "--out", "a,b"])
    assert space == {
        "num_components": Choices((1, 2)),
        "width": Choices((16, 50)),
        "model.latent": Range(2, 8, log=False, whole=True),
        "schedule.batch_size": Choices((16, 32)),
    }
    assert (config.schedule.rounds, config.data.num_rows, name) == (4, 200, "synthetic-5")
    assert arguments.out == "a,b"
    assert (config.schedule.evaluate_every, config.data.holdout) == (0, 0.0)


def test_places_are_no_lists() -> None:
    words = ["--data.path", "rows,1.npy", "--data-dir", "../data", "--labels=a,b.npy"]
    assert listed_options(words) == ({}, words)


def test_options_of_the_command_line_take_the_place_of_those_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("num_components: [1, 2]\nmodel.latent: [3]\n")
    space = parse_tune([*SMALL, "--space", str(file), "--num-components", "4,5"])[2]
    assert space == {"num_components": Choices((4, 5)), "model.latent": Choices((3,))}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([*SMALL], "the search space: is empty"),
        ([*SMALL, "--num-components", "0,2"], "num_components: Input should be greater than or equal to 1, got 0"),
        ([*SMALL, "--num-components", "0"], "num_components"),
        ([*SMALL, "--num-components", ","], "has no values"),
        ([*SMALL, "--num-component", "1,2"], "did you mean num-components?"),
        ([*SMALL, "--width", "0,2"], "1 or more"),
        ([*SMALL, "--num-components", "1,2", "--metric", "fidd"], "unknown measure 'fidd'; did you mean fid?"),
        ([*SMALL, "--num-components", "1,2", "--metric", "fid"], "fid needs images"),
        ([*SMALL, "--num-components", "1,2", "--search", "grd"], "invalid choice 'grd'"),
        ([*SMALL, "--model.latent", "2..9", "--search", "grid"], "model.latent is a range"),
        ([*SMALL, "--width", "2,9", "--match", "params"], "decides width, which is varied"),
        ([*SMALL, "--num-components", "1,2", "--rounds", "2,3", "--match", "steps"], "decides schedule.rounds"),
        ([*SMALL, "--num-components", "1,2", "--num-samples", "0"], "--num-samples: is 0; give 1 or more"),
        ([*SMALL, "--num-components", "1,2", "--time-budget", "-1"], "--time-budget-s: is -1"),
        ([*SMALL, "--data.num-rows", "100,200"], "data.num_rows cannot be varied"),
        (["--resume", "none", "--num-components", "1,2"], "a search goes on as it was asked"),
        ([*SMALL, "--num-components", "1,2", "--search", "pbt"], "K 1 gives other networks"),
        ([*SMALL, "--space", "none.yaml"], "none.yaml: cannot be read"),
        ([*SMALL, "--num-components", "1,300"], "300 components for 180 rows"),
        (["synthetic", "--num-components", "1,2"], "unknown recipe"),
        (["--resume", "none"], "holds no search"),
    ],
)
def test_what_cannot_be_searched_is_one_line(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert said in err


def test_a_measure_of_classes_on_data_without_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.npy"
    np.save(rows, np.random.default_rng(0).normal(size=(100, 3)))
    assert main(["tune", "--data", str(rows), "--num-components", "1,2", "--metric", "nmi"]) == 2
    err = capsys.readouterr().err
    assert "nmi needs labels, and the data has none; choose another, such as kde_log_likelihood" in err
    assert err.count("\n") == 1
