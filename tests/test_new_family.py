"""A new adversarial family is one class and one line: defined here, it goes through every command."""

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from raymix.checkpoint import RunDirectory
from raymix.cli import main
from raymix.config import Positive
from raymix.models import networks
from raymix.models.adversarial import Adversarial, AdversarialConfig
from raymix.models.base import Noise
from raymix.models.registry import FAMILIES, Family
from raymix.models.stacked import Linear
from raymix.record import read_record
from raymix.resolve import resolve
from raymix.search.match import matched
from raymix.storage import Storage


class NewConfig(AdversarialConfig, extra="forbid"):
    """Least squares between a critic's logits and 1 or 0, with a network that finds latents again."""

    family: Literal["new"] = "new"
    """This family."""
    units: Positive = 16
    """Units of every hidden layer."""
    latent: Positive = 2
    """Dimensions of the latent space."""

    @property
    def width(self) -> int:
        return self.units

    def with_width(self, width: int) -> "NewConfig":
        return self.model_copy(update={"units": width})


def mlp(inputs: int, units: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*networks.mlp(inputs, (units,), nn.ReLU), Linear(units, outputs))


class New(Adversarial):
    """Least squares GANs (Mao et al. 2016) with the reconstructor of VEEGAN (Srivastava et al. 2017)."""

    sides = {"generator": ("generator", "reconstructor"), "critic": ("critic",)}  # noqa: RUF012

    def __init__(self, config: NewConfig, row_shape: tuple[int, ...]) -> None:
        (columns,) = row_shape
        super().__init__(config, mlp(config.latent, config.units, columns), mlp(columns, config.units, 1))
        self.reconstructor = mlp(columns, config.units, config.latent)

    def generator_loss(self, rows: Tensor, noise: Noise) -> Tensor:
        latents = noise.normal(rows.shape[1], self.latent)
        fakes = self.made(self.generator, latents)
        lost_M = (self.reconstructor(fakes) - latents).square().mean((1, 2))
        return (self.logits(fakes) - 1).square().mean(1) + lost_M

    def critic_loss(self, rows: Tensor, noise: Noise) -> Tensor:
        with torch.no_grad():
            fakes = self.fakes(rows.shape[1], noise)
        return 0.5 * ((self.logits(rows) - 1).square().mean(1) + self.logits(fakes).square().mean(1))


OPTIONS = [
    "synthetic-3",
    "--model.family=new",
    "--model.ema=0.9",
    "--model.critic-steps=2",
    "--workers=local",
    "--rounds=2",
    "--data.num-rows=300",
    "--schedule.pretrain-epochs=2",
    "--schedule.epochs-per-round=2",
    "--resources.pack=3",
    "--resources.fused=true",
]


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "new", Family(NewConfig, New))


@pytest.fixture
def run(tmp_path: Path) -> str:
    out = str(tmp_path / "run")
    assert main(["train", *OPTIONS, "--out", out]) == 0
    return out


def answer(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(argv) == 0
    return capsys.readouterr().out


def test_a_new_family_goes_through_every_command(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = read_record(Storage.at(run))[-1]
    assert len(line.term_K("critic")) == 3 and np.isfinite(line.term_K("critic")).all()
    assert "family new" in answer(["status", run], capsys)
    assert "critic: mean over" in Path(run, "report.html").read_text()

    half = str(tmp_path / "half")
    shutil.copytree(run, half)
    shutil.rmtree(max(Path(half, "generations").iterdir()))
    answer(["resume", half, "--workers", "local"], capsys)
    assert answer(["digest", half], capsys) == answer(["digest", run], capsys)

    answer(["sample", run, "--num", "20", "--out", str(tmp_path / "rows.npz")], capsys)
    rows = np.load(tmp_path / "rows.npz")["rows"]
    assert rows.shape == (20, 2) and np.isfinite(rows).all()
    np.save(tmp_path / "rows.npy", rows)
    answer(["assign", run, str(tmp_path / "rows.npy"), "--out", str(tmp_path / "who.parquet")], capsys)
    assert set(pq.read_table(tmp_path / "who.parquet")["component"].to_pylist()) <= {0, 1, 2}
    assert "modes_captured" in answer(["evaluate", run, "--num-samples", "200"], capsys)
    answer(["report", run], capsys)


def test_a_new_family_is_matched_to_others_and_searched_by_width(run: str) -> None:
    """Trials are runs in other processes, which know the registry as it is written; what they are given is this."""
    config, spec = RunDirectory(Storage.at(run)).load()
    config, _ = resolve(config)
    wide = matched(config.model_copy(update={"num_components": 1}), spec, config, "params")
    assert wide.model.width > config.model.width
