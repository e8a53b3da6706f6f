"""The report of a run directory, and the command that writes it."""

import io
import json
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from raymix.cli import main
from raymix.evaluation.portrait import portray
from raymix.evaluation.report_files import report_files
from raymix.report.contents import Portrait
from raymix.runs.checkpoint import Generation, RunDirectory
from raymix.runs.record import read_record
from raymix.storage import Storage

QUICK = [
    "synthetic-3",
    "--workers=local",
    "--rounds=2",
    "--data.num-rows=300",
    "--schedule.pretrain-epochs=2",
    "--schedule.epochs-per-round=2",
    "--schedule.report=false",
    "--resources.pack=3",
    "--resources.fused=true",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "run"
    assert main(["train", *QUICK, "--out", str(out)]) == 0
    return out


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def test_page_and_picture_come_from_the_committed_round_and_write_nothing(run: Path) -> None:
    before = sorted(path for path in run.rglob("*"))
    files = report_files(RunDirectory(Storage.at(run)))
    assert files.keys() == {"report.html", "samples.png"}
    assert Image.open(io.BytesIO(files["samples.png"])).format == "PNG"
    page = files["report.html"].decode()
    assert "All rounds are done (2 of 2)." in page and "NMI" in page and 'id="plane"' in page
    lines = [json.loads(line) for line in (run / "record.jsonl").read_text().splitlines()]
    for k, won in enumerate(lines[-1]["won"]):
        assert f"Component {k}" in page and f"{won:,} rows won" in page
    assert sum(rows for _, _, rows in lines[1]["flow"]) == lines[1]["rows_moved"] > 0 and lines[0]["flow"] == []
    assert sorted(path for path in run.rglob("*")) == before


def test_the_style_of_the_user_changes_nothing_and_stays(run: Path) -> None:
    strange = {"text.usetex": True, "savefig.format": "pdf", "axes.formatter.limits": (0, 0), "savefig.bbox": "tight"}
    plain = report_files(RunDirectory(Storage.at(run)))
    with matplotlib.rc_context(strange):
        before = dict(matplotlib.rcParams)
        assert report_files(RunDirectory(Storage.at(run))) == plain
        assert dict(matplotlib.rcParams) == before


def test_the_command_writes_into_the_run_or_where_it_is_told(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # a later page takes the place of an earlier one
        assert main(["report", str(copy)]) == 0
        assert capsys.readouterr() == (f"{copy}/report.html\n", "")
    assert main(["report", str(copy), "--out", str(tmp_path / "it.html")]) == 0
    assert (tmp_path / "it.html").read_bytes() == (copy / "report.html").read_bytes()
    assert not list(copy.glob("*.part-*"))


def test_a_run_that_stopped_is_reported_from_its_last_round(copy: Path) -> None:
    last = sorted((copy / "generations").iterdir())[-1]
    shutil.rmtree(last)
    page = report_files(RunDirectory(Storage.at(copy)))["report.html"].decode()
    assert "Round 1 of 2: the run is still going on, or was stopped" in page


def test_a_run_of_an_older_version_is_reported_told_of_and_gone_on_with(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = Storage.at(copy)
    shutil.rmtree(max((copy / "generations").iterdir()))
    for folder in (copy / "generations").iterdir():
        name = f"generations/{folder.name}/manifest.json"
        manifest = storage.read_json(name)
        record = manifest["record"]
        losses = {"generator_loss": record.pop("terms")["bound"]["values"], "critic_loss": [None] * 3}
        del record["changes"], record["spilled_bytes"]
        storage.write_json(name, manifest | {"record": record | losses})
    assert main(["status", str(copy)]) == 0
    assert "loss: 0: " in capsys.readouterr().out
    page = report_files(RunDirectory(storage))["report.html"].decode()
    assert "loss: mean over" in page and "critic" not in page
    assert main(["resume", str(copy), "--workers", "local"]) == 0
    lines = read_record(storage)
    assert [line.round for line in lines] == [0, 1, 2]
    assert [list(line.terms) for line in lines] == [["loss"], ["loss"], ["bound", "reconstruction", "kl"]]
    assert None not in (*lines[0].term_K("loss"), *lines[2].term_K("bound"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NOWHERE"], "holds no run"),
        (["COPY", "--out", "page.pdf"], "ends in '.pdf'"),
        (["COPY", "--out", "nowhere/page.html"], "is in a folder that does not exist"),
        (["COPY", "--seed", "1"], "unknown field seed"),
    ],
)
def test_misuse_is_refused_in_one_line(
    copy: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["report", *(str(copy) if word == "COPY" else word for word in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err and err.count("\n") == 1


def test_a_run_without_a_complete_round_is_refused_in_one_line(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(copy / "generations")
    (copy / "report.html").unlink(missing_ok=True)
    assert main(["report", str(copy)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "holds no complete round yet" in err
    assert not (copy / "report.html").exists()


@pytest.mark.slow
def test_a_run_whose_rows_are_gone_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.npy"
    np.save(rows, np.random.default_rng(0).normal(size=(60, 5)))
    assert main(["train", "--data", str(rows), *QUICK[1:3], *QUICK[4:], "--out", str(tmp_path / "run")]) == 0
    assert main(["report", str(tmp_path / "run")]) == 0
    rows.unlink()
    capsys.readouterr()
    assert main(["report", str(tmp_path / "run")]) == 2
    assert str(rows) in capsys.readouterr().err


def test_a_generation_that_is_pruned_meanwhile_gives_way_to_a_newer_one(copy: Path, tmp_path: Path) -> None:
    older, newer = sorted((copy / "generations").iterdir())[-2:]
    shutil.move(newer, tmp_path / newer.name)  # it is still to come
    looks = []

    def portray_late(directory: RunDirectory, generation: Generation) -> Portrait:
        looks.append(generation.name)
        if len(looks) == 1:  # while somebody looks, the run goes on and prunes
            shutil.move(tmp_path / newer.name, newer)
            next(older.glob("generator-*")).unlink()
        return portray(directory, generation)

    directory = RunDirectory(Storage.at(copy))
    generation, _ = directory.look(lambda last: portray_late(directory, last))
    assert looks == [older.name, newer.name] and generation.name == newer.name
