"""Rows that changed after they were looked over are never trained on."""

import numpy as np
import pytest

from raymix import session
from raymix.cli import main
from raymix.errors import DataError
from raymix.recipes.resolve import resolve


@pytest.fixture
def rows_file(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32))
    return path


@pytest.fixture
def settings(config, rows_file):
    return config("drop", data={"name": "file", "path": str(rows_file), "block_bytes": 800})


def plant_in_file(path, row, value):
    rows = np.load(path)
    rows[row, 1] = value
    np.save(path, rows)


@pytest.mark.parametrize("value", [float("nan"), -float("inf")])
def test_rows_that_are_no_longer_finite_are_refused_whatever_the_policy(value, settings, rows_file, tmp_path):
    resolved, spec = resolve(settings)
    plant_in_file(rows_file, 250, value)  # in the last block
    message = rf"rows.npy, row 250: holds {value} \(value 1 of the row\); mend or drop the row"
    with pytest.raises(DataError, match=message):
        session.start(resolved, spec, str(tmp_path / "run"), workers="local")
    assert not (tmp_path / "run" / "generations").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("pictured")
def test_a_run_goes_on_once_its_rows_are_put_back(settings, trained, interrupted, rows_file, tmp_path, capsys):
    expected = trained(settings, tmp_path / "whole").digest
    content = rows_file.read_bytes()
    run = interrupted(settings, tmp_path / "run", round=1)
    before = run.digest
    plant_in_file(rows_file, 7, float("nan"))
    capsys.readouterr()
    assert main(["resume", str(run.out), "--workers", "local"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("raymix: error: ") and "rows.npy, row 7: holds nan" in last
    assert run.digest == before
    rows_file.write_bytes(content)
    assert run.resumed().digest == expected


@pytest.mark.parametrize(
    "change",
    [lambda rows: rows[:-1], lambda rows: rows[:, :1], lambda rows: rows.astype(np.float64)],
    ids=["rows", "columns", "dtype"],
)
def test_rows_of_another_size_are_refused(change, settings, interrupted, rows_file, tmp_path):
    run = interrupted(settings, tmp_path / "run", round=0)
    np.save(rows_file, change(np.load(rows_file)))
    with pytest.raises(DataError, match=r"rows.npy: has changed since the run began, from 300 rows of \(2,\) float32"):
        session.resume(str(run.out), workers="local")
    assert run.last.state.round == 0
