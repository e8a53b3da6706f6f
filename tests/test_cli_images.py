"""The commands on folders of images: runs that lie among their data, grounds, links."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from raymix.cli import main
from raymix.errors import ConfigError
from raymix.mixture import Mixture

QUICK = [
    "--workers=local",
    "--num-components=2",
    "--rounds=1",
    "--schedule.pretrain-epochs=1",
    "--schedule.epochs-per-round=1",
    "--schedule.evaluate-every=1",
]


def glyphs(folder: Path, level: int, num: int = 20, ground: int | None = None) -> None:
    """Bars of a level of grey, on clear ground or on a level of grey."""
    folder.mkdir(exist_ok=True)
    for row in range(num):
        picture = np.full((9, 9, 4), 0 if ground is None else (ground,) * 3 + (255,), np.uint8)
        picture[row % 7 : row % 7 + 2] = (level,) * 3 + (255,)
        Image.fromarray(picture).save(folder / f"{row:02}.png")


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("raymix: error: ") and err.count("\n") == 1
    return err


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of dark pictures in which a run was trained on it."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    glyphs(folder, level=10)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", "--data", ".", *QUICK]) == 0
    return folder


def test_a_run_among_its_data_changes_nothing_for_it_or_the_next(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos)
    first = Path("runs/photos-001")
    assert (first / "samples.png").exists()
    assert main(["train", "--data", ".", *QUICK]) == 0  # reads no picture of the first
    err = capsys.readouterr().err
    assert "file:photos: passed over: 1 folder of a run" in err and "run directory runs/photos-002" in err
    (first / "samples.png").unlink()
    for argv in (["resume", str(first), "--workers=local"], ["report", str(first)], ["evaluate", str(first)]):
        assert main(argv) == 0, argv
    assert main(["digest", str(first)]) == main(["digest", "runs/photos-002"]) == 0
    one, two = capsys.readouterr().out.splitlines()[-2:]
    assert one == two


def test_a_run_keeps_the_ground_it_took_and_assigns_other_images_on_it(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = photos / "runs" / "photos-001"
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["ground"] == "white"
    glyphs(tmp_path / "bright", level=200)
    glyphs(tmp_path / "on-white", level=200, ground=255)
    for name in ("bright", "on-white"):
        assert main(["assign", str(run), str(tmp_path / name), "--out", str(tmp_path / f"{name}.npy")]) == 0
    linked = tmp_path / "linked"
    linked.mkdir()
    for row in range(20):
        (linked / f"{row:02}.png").symlink_to(tmp_path / "bright" / f"{row:02}.png")
    out = str(tmp_path / "linked.npy")
    assert main(["assign", str(run), str(linked), "--out", out, "--links-within", str(tmp_path)]) == 0
    found, expected = (np.load(tmp_path / f"{name}.npy") for name in ("bright", "on-white"))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.load(out), expected)


@pytest.mark.parametrize("command", [["train", *QUICK], ["tune", "--num-components=1,2"]])
@pytest.mark.parametrize("out", [".", "../photos", "cats"])
def test_a_run_is_not_written_over_data(
    command: list[str], out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    glyphs(tmp_path / "photos", level=10)
    glyphs(tmp_path / "photos" / "cats", level=20)
    monkeypatch.chdir(tmp_path / "photos")
    before = sorted(tmp_path.rglob("*"))
    said = refused([*command, "--data", ".", "--out", out], capsys)
    assert "is the folder of the data" in said or "would make the images in" in said
    assert "give another --out" in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_mixture_is_not_written_over_its_data(tmp_path: Path) -> None:
    glyphs(tmp_path / "photos", level=10)
    before = sorted(tmp_path.rglob("*"))
    data = {"data.name": "file", "data.path": str(tmp_path / "photos")}
    with pytest.raises(ConfigError, match="is the folder of the data"):
        Mixture("digits", num_components=2, workers="local", out=tmp_path / "photos", overrides=data).fit()
    assert sorted(tmp_path.rglob("*")) == before


def test_inspect_says_on_what_transparency_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    glyphs(tmp_path / "bright", level=200)
    (tmp_path / "bright" / "about.txt").write_text("bars")
    assert main(["data", "inspect", str(tmp_path / "bright")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["read: transparency is shown on black", "read: passed over: 1 file that is no image (.txt)"]
    assert "values: 0 to 200" in lines[1]
    assert main(["data", "inspect", str(tmp_path / "bright"), "--ground", "#ffffff"]) == 0
    assert "values: 200 to 255" in capsys.readouterr().out
    said = refused(["data", "inspect", str(tmp_path / "bright"), "--ground", "blue"], capsys)
    assert "data.ground: must be auto, white, black or #rrggbb, got 'blue'" in said


def test_links_are_followed_where_the_command_line_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    glyphs(tmp_path / "blobs", level=10)
    (tmp_path / "snapshot").mkdir()
    for row in range(20):
        (tmp_path / "snapshot" / f"{row}.png").symlink_to(f"../blobs/{row:02}.png")
    data, root = str(tmp_path / "snapshot"), str(tmp_path)
    assert "set data.links_within" in refused(["train", "--data", data, *QUICK], capsys)
    for option in ("--data.links-within", "--data.links_within"):
        assert main(["train", "--data", data, option, root, "--dry-run", *QUICK]) == 0
        out = capsys.readouterr().out
        assert f"links_within: {root}" in out and "on 20 rows" in out
    assert "set data.links_within" in refused(["data", "inspect", data], capsys)
    assert main(["data", "inspect", data, "--links-within", root]) == 0
    assert "20 rows" in capsys.readouterr().out
