"""Runs side by side, from directories that hold a config, a record and measures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from raymix.cli import main
from raymix.config import Config, DataConfig
from raymix.config_values import replaced
from raymix.data.source import DataSpec
from raymix.metrics.catalogue import MEASURES
from raymix.report import comparison
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.record import EVALUATION, Record
from raymix.runs.rounds import RoundRecord
from raymix.state import State
from raymix.storage import Storage

SPEC = DataSpec("synthetic-5", 600, (2,), "float32")
BASE = Config(num_components=2, data=DataConfig(name="synthetic-5"))


def run(folder: Path, config: Config, likelihood: float | None, seconds: float = 60.0) -> str:
    """A finished run of one round with this measure, as far as a comparison looks."""
    directory = RunDirectory(Storage.at(folder))
    directory.create(config, SPEC, {})
    directory.take_over()
    K = len(config.components)
    line = RoundRecord(
        round=0,
        components=config.components,
        won_K=(300,) * K,
        loads_K=(300,) * K,
        rows_moved=600,
        generator_steps_K=(30 // K,) * K,
        terms={},
        discriminator_steps_K=(0,) * K,
        discriminator_loss_K=(None,) * K,
        seconds={"train generators": seconds},
    )
    generation = directory.prepared(State.fresh(config.components).next_round(), {}, line)
    directory.publish(generation)
    Record(directory, [line])
    if likelihood is not None:
        measures = dict.fromkeys(MEASURES) | {"kde_log_likelihood": likelihood, "num_parameters": 1234}
        measures |= {"num_samples": 500, "seed": 0, "about": {"num_held_out": 100}, "components": []}
        measures |= {"real": {"kde_log_likelihood": -1.0}}
        directory.storage.write_json(EVALUATION, {"generation": generation.name, "measures": measures})
    return str(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two seeds of competition, one bag, one wider single generator."""
    run(tmp_path / "a0", BASE, -3.0, 60)
    run(tmp_path / "a1", replaced(BASE, {"seed": 1, "resources.threads": 2}), -4.0, 120)
    run(tmp_path / "bag", replaced(BASE, {"mode": "bag"}), -5.0)
    run(tmp_path / "wide", replaced(BASE, {"mode": "single", "model.encoder": [150, 150]}), -3.6)
    return tmp_path


def repeats(folder: Path) -> list[comparison.Repeats]:
    return comparison.grouped([comparison.entry(str(folder / name)) for name in ("a0", "a1", "bag", "wide")])


def test_runs_that_differ_in_seed_or_machine_are_repeats(folder: Path) -> None:
    found = repeats(folder)
    assert [len(each.entries) for each in found] == [2, 1, 1]
    assert [each.label for each in found] == ["", "", "encoder 150-150"]
    assert found[0].values("kde_log_likelihood") == [-3.0, -4.0]
    assert found[0].entries[0].num_rows_seen == 30 * BASE.schedule.batch_size


def test_runs_measured_otherwise_or_on_other_rows_are_no_repeats(tmp_path: Path) -> None:
    first = comparison.entry(run(tmp_path / "a", BASE, -3.0))
    other = comparison.entry(run(tmp_path / "b", replaced(BASE, {"seed": 1}), -4.0))
    fewer = replace(other, measures={**(other.measures or {}), "num_samples": 100})
    shorter = replace(other, spec=replace(SPEC, num_rows=300))
    moved = replace(other, config=replaced(other.config, {"data.path": "somewhere/rows.npy"}))
    assert [each.label for each in comparison.grouped([first, other])] == [""]
    assert [each.label for each in comparison.grouped([first, fewer])] == ["num_samples 500", "num_samples 100"]
    assert [each.label for each in comparison.grouped([first, shorter])] == ["rows 600", "rows 300"]
    assert [each.label for each in comparison.grouped([first, moved])] == ["data synthetic-5", "data rows"]


def test_a_field_is_named_in_full_where_its_last_part_is_not_enough() -> None:
    fields = {"discriminator.lr": 0.1, "model.lr": 0.2, "model.latent": 4}
    assert comparison.label(fields, ["model.lr", "model.latent"]) == "model.lr 0.2, latent 4"


def test_a_seed_that_was_trained_twice_is_told(tmp_path: Path) -> None:
    entries = [comparison.entry(run(tmp_path / name, BASE, -3.0)) for name in "ab"]
    assert comparison.seeds(entries) == "1 in 2 runs"


def test_a_row_has_mean_and_spread_and_the_best_is_marked(folder: Path) -> None:
    table = comparison.compare(repeats(folder))
    assert table.headings == [
        *("differs in", "mode", "K", "parameters", "rows seen", "seeds"),
        *("kde_log_likelihood", "minutes"),
    ]
    texts = [[cell.text for cell in row] for row in table.rows]
    assert texts[0][1:] == ["compete", "2", "1,234", "1,920", "2", "-3.5 ± 0.71", "1.5 ± 0.71"]
    assert texts[2][1:] == ["single", "1", "1,234", "1,920", "1", "-3.6", "1"]
    assert [row[6].best for row in table.rows] == [True, False, False]
    assert "500 samples, seed 0" in table.notes
    assert "real rows in the samples' place: kde_log_likelihood -1 ± 0" in table.notes


def test_lower_is_better_where_it_is_and_some_do_not_compete() -> None:
    assert comparison.is_best("fid", [1.0, 3.0], [2.0, 2.5])
    assert not comparison.is_best("fid", [3.0], [2.0, 3.0])
    assert not comparison.is_best("nmi", [], [0.1, 0.2])
    assert not comparison.is_best("nmi", [0.2], [0.2])  # one alone is no best


def test_modes_apart_are_not_marked(folder: Path) -> None:
    table = comparison.compare(repeats(folder), apart=("compete",))
    assert [row[6].best for row in table.rows] == [False, False, True]


def test_markdown_and_latex_hold_the_same_cells(folder: Path) -> None:
    table = comparison.compare(repeats(folder))
    lines = comparison.markdown(table).splitlines()
    assert lines[1] == "| " + " | ".join(["---"] * 8) + " |"
    assert "| **-3.5 ± 0.71** |" in lines[2]
    text = comparison.latex(table)
    assert r"\textbf{-3.5 $\pm$ 0.71}" in text and r"kde\_log\_likelihood" in text
    assert text.count(r" \\") == 4


def test_an_evaluation_of_an_earlier_round_does_not_count(tmp_path: Path) -> None:
    out = run(tmp_path / "run", BASE, -3.0)
    storage = Storage.at(out)
    found = storage.read_json(EVALUATION)
    storage.write_json(EVALUATION, {"generation": "000009-0001", "measures": found["measures"]})
    assert comparison.entry(out).measures is None


def test_command_prints_tables_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(folder), "--no-evaluate"]) == 0
    shown = capsys.readouterr().out
    assert "-3.5 ± 0.71*" in shown and "compete" in shown
    assert main(["compare", str(folder / "a0"), str(folder / "bag"), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["mode"] for each in listed] == ["compete", "bag"]
    assert listed[0]["runs"][0]["measures"]["kde_log_likelihood"] == -3.0


def test_a_run_named_twice_counts_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(folder), str(folder / "bag"), f"{folder}/./a0", "--json"]) == 0
    assert sum(len(each["runs"]) for each in json.loads(capsys.readouterr().out)) == 4


def test_a_damaged_run_of_a_folder_is_left_out_and_one_that_is_named_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "bag" / "config.yaml").write_text("seed: 1\n")
    assert main(["compare", str(folder), "--json"]) == 0
    assert [each["mode"] for each in json.loads(capsys.readouterr().out)] == ["compete", "single"]
    assert "left out" in caplog.text
    assert main(["compare", str(folder / "bag")]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--markdown", "--latex"], "--markdown, --latex, --json: exclude each other"),
        (["--measures", "fidd"], "is unknown: fidd"),
    ],
)
def test_unfit_options_are_refused(
    folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(folder), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_runs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path)]) == 2
    assert "holds no run with a complete round" in capsys.readouterr().err
