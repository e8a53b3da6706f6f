"""What a person types wrongly, and what is answered without training."""

import gzip
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from raymix import __version__, session
from raymix.cli import COMMANDS, main
from raymix.commands.parsing import condensed, option
from raymix.config_values import config_from_mapping
from raymix.errors import DivergedError

QUICK = ("--workers", "local", "--rounds", "1", "--data.num-rows", "300")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(argv: Sequence[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """The one line on stderr of a command that must fail, with nothing on stdout."""
    assert main(argv) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("raymix: error: ")
    return err


def save_images(folder: Path, sizes: Sequence[tuple[int, int]]) -> None:
    folder.mkdir()
    for number, size in enumerate(sizes):
        Image.new("L", size, number).save(folder / f"{number}.png")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["trian"], "did you mean train?"),
        (["data", "inspekt"], "did you mean data inspect?"),
        (["train", "digitz"], "unknown recipe 'digitz'; did you mean digits?"),
        (["train", "synthetic-3", "--shedule.rounds", "3"], "did you mean schedule.rounds?"),
        (["train", "synthetic-3", "--num-component", "3"], "did you mean num-components?"),
        (["train", "synthetic-3", "--encoder", "50"], "did you mean model.encoder?"),
        (["train", "--model.family", "gam"], "unknown family 'gam'; one of vae, centroid, gan"),
        (["train", "--model.family", "centroid", "--model.latent", "3"], "unknown field model.latent"),
        (["train", "--seed", "x"], "--seed: invalid literal"),
        (["train", "--seed"], "--seed"),
        (["train", "--seed", "-1"], "seed: Input should be greater than or equal to 0, got -1"),
        (["train", "--rounds", "-1"], "schedule.rounds: Input should be greater than or equal to 0, got -1"),
        (["train", "--mode", "compet"], "invalid choice 'compet' for argument '--mode'"),
        (["train", "--discriminator.restart", "maybe"], "give true or false, not 'maybe'"),
        (["train", "--discriminator.lowpass", "4"], "discriminator.lowpass: must be odd or 0, got 4"),
        (["train", "digits", "mnist"], "mnist"),
        (["train", "--seed", "3", "mnist"], "raymix train mnist"),
        (["train", "--workers", "local", "--address", "auto"], "--address"),
        (["train", "--config", "no.yaml"], "no.yaml: cannot be read"),
        (["train", "digits", "--config", "no.yaml"], "give one of them"),
        (["train", "--data", "no.npy"], "no.npy: does not exist"),
        (["train", "--data.name", "digitss"], "did you mean digits?"),
        (["train", "--out", "s9://bucket/run"], "s9://bucket/run: cannot be reached"),
        (["train", "--out", "/proc/none/run", *QUICK], "/proc/none/run: cannot be made"),
        (["train", "synthetic-3", *QUICK, "--num-components", "301"], "301 components for 300 rows"),
        (["resume", "none"], "holds no run"),
        (["status", "none"], "holds no run"),
        (["digest", "none"], "holds no run"),
        (["evaluate", "none"], "holds no run"),
        (["evaluate"], "DIR"),
        (["evaluate", "none", "--jsn"], "did you mean json?"),
        (["sample", "none", "--num", "3", "--out", "x.npz"], "holds no run"),
        (["sample", "none", "--out", "x.npz"], "--num"),
        (["sample", "none", "--num", "3", "--out", "x.jpg"], "give .npz or .parquet or .png"),
        (["sample", "none", "--num", "3", "--out", "no/x.npz"], "make the folder first"),
        (["assign", "none", "digits", "--out", "x.csv"], "give .parquet or .npy"),
        (["data", "inspect", "none.npy"], "none.npy: does not exist"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(
    argv: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(argv, capsys)
    assert not list(tmp_path.iterdir())


def test_unfit_data_is_refused_alike_by_train_and_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.ones((20, 3), np.float32)
    np.save("fit.npy", rows)
    Path("truncated.npy").write_bytes(Path("fit.npy").read_bytes()[:-10])
    Path("truncated.idx3-ubyte.gz").write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + bytes(12))[:-5])
    rows[7, 1] = np.nan
    np.save("nan.npy", rows)
    np.save("objects.npy", np.array([{}, None], dtype=object), allow_pickle=True)
    save_images(tmp_path / "two-shapes", [(8, 8), (8, 9)])
    unfit = ["truncated.npy", "truncated.idx3-ubyte.gz", "nan.npy", "objects.npy", "two-shapes", "none.npy"]
    for name in unfit:
        inspected = refused(["data", "inspect", name], capsys)
        trained = refused(["train", "--data", name, "--workers", "local"], capsys)
        assert name in inspected
        assert trained == inspected
    assert "row 7" in refused(["data", "inspect", "nan.npy"], capsys)
    assert not Path("runs").exists()


def test_labels_of_another_length_are_refused_alike(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("rows.npy", np.ones((20, 3), np.float32))
    np.save("labels.npy", np.arange(19))
    inspected = refused(["data", "inspect", "rows.npy", "--labels", "labels.npy"], capsys)
    assert refused(["train", "--data", "rows.npy", "--labels", "labels.npy"], capsys) == inspected
    assert "19 labels for 20 rows" in inspected


def test_inspect_says_at_most_6_lines(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("rows.npy", np.ones((20, 3), np.float32))
    for name, start in (("rows.npy", "file:rows.npy: 20 rows"), ("digits", "digits: 1,797 rows")):
        assert main(["data", "inspect", name]) == 0
        out, err = capsys.readouterr()
        assert out.startswith(start)
        assert out.count("\n") <= 6
        assert err == ""


def test_a_file_in_the_way_of_out_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("mine")
    assert "file: cannot be made" in refused(["train", "synthetic-3", *QUICK, "--out", "file"], capsys)
    assert Path("file").read_text() == "mine"


def test_dry_run_prints_a_config_that_loads_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "synthetic-3", *QUICK, "--model.encoder", "20", "30", "--dry-run"]) == 0
    out, _ = capsys.readouterr()
    config = config_from_mapping(yaml.safe_load(out), "stdout")
    assert config.schedule.rounds == 1
    assert config.data.num_rows == 300
    assert config.data.scale == (0.1,)
    assert yaml.safe_load(out)["model"]["encoder"] == [20, 30]
    assert "runs/synthetic-3-" in out
    assert not list(tmp_path.iterdir())


def dry_run(argv: Sequence[str], capsys: pytest.CaptureFixture[str]) -> dict:
    assert main(["train", *argv, "--dry-run"]) == 0
    config: dict = yaml.safe_load(capsys.readouterr().out)
    return config


def test_config_file_is_the_start_and_options_win(capsys: pytest.CaptureFixture[str]) -> None:
    first = dry_run(["synthetic-5", *QUICK, "--seed", "4", "--mode=bag"], capsys)
    Path("mine.yaml").write_text(yaml.safe_dump(first))
    assert dry_run(["--config", "mine.yaml"], capsys) == first
    again = dry_run(["--config=mine.yaml", "--num_components", "4", "--discriminator.restart", "false"], capsys)
    assert (again["seed"], again["mode"], again["num_components"]) == (4, "bag", 4)
    assert again["discriminator"]["restart"] is False


def test_unknown_field_of_a_config_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("schedule: {round: 3}\n")
    assert "mine.yaml: unknown field schedule.round; did you mean schedule.rounds?" in refused(
        ["train", "--config", "mine.yaml"], capsys
    )


def test_data_file_replaces_the_data_and_keeps_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("rows.npy", np.random.default_rng(0).normal(5, 2, (40, 3)).astype(np.float32))
    np.save("labels.npy", np.arange(40) % 2)
    config = dry_run(["digits", "--data", "rows.npy", "--labels", "labels.npy", "--model.latent", "2"], capsys)
    assert config["data"]["path"] == str(Path("rows.npy").absolute())  # a run goes on from any folder
    assert config["data"]["labels"] == str(Path("labels.npy").absolute())
    assert len(config["data"]["offset"]) == 3
    assert (config["num_components"], config["model"]["body"], config["model"]["latent"]) == (10, "mlp", 2)


def test_another_family_brings_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        "synthetic-3",
        *QUICK,
        "--model.family",
        "centroid",
        "--discriminator.body",
        "none",
        "--schedule.pretrain-epochs",
        "0",
    ]
    assert dry_run(argv, capsys)["model"] == {"family": "centroid", "centres": None}


def test_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(config: object, spec: object, out: str, **_: object) -> None:
        Path(out, "config.yaml").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "start", interrupted)
    assert main(["train", "synthetic-3", *QUICK]) == 130
    assert "go on with `raymix resume runs/synthetic-3-001`" in capsys.readouterr().err


def test_failure_of_the_run_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def diverged(*_: object, **__: object) -> None:
        raise DivergedError(2, 3, 40, "loss")

    monkeypatch.setattr(session, "start", diverged)
    assert main(["train", "synthetic-3", *QUICK]) == 1
    assert "raymix: error: component 2: loss is not finite in round 3 at step 40" in capsys.readouterr().err
    assert not list(Path("runs").iterdir())


def test_fault_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(session, "start", faulty)
    with pytest.raises(ZeroDivisionError):
        main(["train", "synthetic-3", *QUICK])


def test_help_lists_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    for name in COMMANDS:
        assert name in overview
        assert main([*name.split(), "--help"]) == 0
        assert f"usage: raymix {name}" in capsys.readouterr().out
    assert main(["train", "mnist", "--help"]) == 0
    shown = capsys.readouterr().out
    for text in ("--rounds INT, --schedule.rounds INT", "--data-dir", "--model.latent INT", "Adam's step size."):
        assert text in shown


def test_without_a_command_the_overview_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["data"]):
        assert main(argv) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "data inspect" in err


def test_version_and_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"
    assert main(["recipes"]) == 0
    shown = capsys.readouterr().out
    for name in ("digits", "synthetic-9", "mnist-paper", "celeba", "cifar10", "ring"):
        assert f"  {name} " in shown


def test_entry_point_returns_the_exit_code() -> None:
    command = [sys.executable, "-m", "raymix.cli", "train", "digitz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "raymix: error: recipe: unknown recipe 'digitz'; did you mean digits?\n"


def test_option_takes_the_last_value_in_both_spellings() -> None:
    assert option(["--data", "a", "--data=b"], "data") == "b"
    assert option(["--data"], "data") is None
    assert option(["--data.dir", "a"], "data") is None


def test_condensed_keeps_what_stands_above_the_rule() -> None:
    box = "╭─ Value error ─╮\n│ Error parsing --seed: not a   │\n│ number: 'x'. │\n│ ─────── │\n│ help │\n╰───╯\n"
    assert condensed(box) == "--seed: not a number: 'x'"
