"""A new family is one class and one line: four kinds of them, defined here, go through every command.

Each stands for one that papers describe: a bound with a learned prior and categories (CP-VAE), a penalty that compares
latents with each other (WAE), a critic that sees pairs (ALI), a generator that looks ahead of its critic (unrolled
GAN).
"""

import math
import shutil
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from raymix.cli import main
from raymix.config import Positive
from raymix.errors import ConfigError
from raymix.families.adversarial import AdversarialConfig
from raymix.families.autoencoder import AutoencoderConfig
from raymix.models import critic_losses, networks
from raymix.models.adversarial import Adversarial
from raymix.models.autoencoder import Autoencoder
from raymix.models.base import Bounds, ComponentPosterior, Decodes, Encodes, Noise, Terms
from raymix.models.registry import FAMILIES, Family, close
from raymix.models.stacked import Linear
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.record import read_record
from raymix.search.match import matched
from raymix.storage import Storage
from raymix.training.generators import GeneratorPack
from raymix.training.inference import bound, component_posterior, encoded, log_likelihood
from raymix.training.noise import MemberNoise
from raymix.training.packs import load_generators

NATS = "nats per row"


# ---- a bound whose prior is a mixture of learned Gaussians


class MixtureConfig(AutoencoderConfig, extra="forbid"):
    """A VAE whose prior has categories."""

    family: Literal["mixture-vae"] = "mixture-vae"
    """This family."""
    categories: Positive = 3
    """Gaussians of the prior."""


class MixtureVAE(Autoencoder):
    """p(z) = mean over c of N(mu_c, diag s_c^2), learned; q(c|x) is p(c|z) at the mean of q(z|x)."""

    units = {"bound": NATS, "reconstruction": NATS, "kl": NATS}  # noqa: RUF012

    def __init__(self, config: MixtureConfig, row_shape: tuple[int, ...]) -> None:
        super().__init__(config, row_shape)
        self.posterior_of_z = Linear(self.features, 2 * config.latent)
        self.prior_mean = nn.Parameter(0.1 * torch.randn(1, config.categories, config.latent))
        self.prior_log_sd = nn.Parameter(torch.zeros(1, config.categories, config.latent))

    def terms(self, rows: Tensor, noise: Noise) -> Terms:
        lost_MB, kl_MB = self._lost(rows, noise)
        return {"bound": (lost_MB + kl_MB).mean(1), "reconstruction": lost_MB.mean(1), "kl": kl_MB.mean(1)}

    def bound(self, rows: Tensor, noise: Noise) -> Tensor:
        return -sum(self._lost(rows, noise))

    log_weights = bound  # nothing of it is in closed form

    def _lost(self, rows: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        mean, log_sd = self.posterior_of_z(self.encoder(rows)).chunk(2, 2)
        eps = noise.normal(rows.shape[1], self.latent)
        z = mean + log_sd.exp() * eps
        own_MB = (-0.5 * eps.square() - log_sd - 0.5 * math.log(2 * math.pi)).sum(2)
        kl_MB = own_MB - self._joint(z).logsumexp(2)
        return self.negative_log_likelihood(self.decoder(z), rows, by_row=True), kl_MB

    def _joint(self, z: Tensor) -> Tensor:
        """(M, B, C) log p(c) + log p(z|c)."""
        mean, log_sd = self.prior_mean.unsqueeze(1), self.prior_log_sd.unsqueeze(1)
        squares = ((z.unsqueeze(2) - mean) * torch.exp(-log_sd)).square()
        densities = (-0.5 * squares - log_sd - 0.5 * math.log(2 * math.pi)).sum(3)
        return densities - math.log(mean.shape[2])

    def encode(self, rows: Tensor) -> Tensor:
        return self.posterior_of_z(self.encoder(rows)).chunk(2, 2)[0]

    def posterior(self, rows: Tensor) -> Tensor:
        return self._joint(self.encode(rows)).softmax(2)

    def prior(self, num: int, noise: Noise) -> Tensor:
        categories = self.prior_mean.shape[1]
        c_Mn1 = (noise.uniform(num) * categories).long().clamp(max=categories - 1).unsqueeze(2)
        mean, log_sd = (p.gather(1, c_Mn1.expand(-1, -1, self.latent)) for p in (self.prior_mean, self.prior_log_sd))
        return mean + log_sd.exp() * noise.normal(num, self.latent)


# ---- a penalty on how codes lie together


class PenaltyConfig(AutoencoderConfig, extra="forbid"):
    """A WAE."""

    family: Literal["toy-wae"] = "toy-wae"
    """This family."""
    penalty: float = 10.0
    """Weight of the MMD."""


class PenaltyWAE(Autoencoder):
    """E |x - g(z)|^2 + penalty * MMD(codes, prior), with the kernel 1 / (1 + d^2)."""

    means_over_rows: ClassVar[bool] = False
    noisy: ClassVar[bool] = False
    units = {"loss": "", "reconstruction": "squared error per row", "mmd": ""}  # noqa: RUF012

    def __init__(self, config: PenaltyConfig, row_shape: tuple[int, ...]) -> None:
        super().__init__(config, row_shape)
        self.code = Linear(self.features, config.latent)

    def terms(self, rows: Tensor, noise: Noise) -> Terms:
        codes = self.encode(rows)
        lost_M = (self.decode(codes) - rows).square().flatten(2).sum(2).mean(1)
        mmd_M = mmd(codes, self.prior(rows.shape[1], noise))
        return {"loss": lost_M + self.config.penalty * mmd_M, "reconstruction": lost_M, "mmd": mmd_M}

    def encode(self, rows: Tensor) -> Tensor:
        return self.code(self.encoder(rows))


def mmd(one: Tensor, other: Tensor) -> Tensor:
    """(M,) unbiased: pairs of different points on each side."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return 1 / (1 + (a.unsqueeze(2) - b.unsqueeze(1)).square().sum(3))

    num = one.shape[1]
    within = sum((kernel(side, side).sum((1, 2)) - num) / (num * (num - 1)) for side in (one, other))
    return within - 2 * kernel(one, other).mean((1, 2))


# ---- a critic that sees rows with their latents


class PairsConfig(AdversarialConfig, extra="forbid"):
    """An ALI."""

    family: Literal["pairs"] = "pairs"
    """This family."""
    units: Positive = 16
    """Units of every hidden layer."""
    latent: Positive = 2
    """Dimensions of the latent space."""

    @property
    def width(self) -> int:
        return self.units

    def with_width(self, width: int) -> "PairsConfig":
        return self.model_copy(update={"units": width})


class Joint(nn.Sequential):
    """A critic of rows beside latents."""

    def forward(self, rows: Tensor, latents: Tensor) -> Tensor:
        return super().forward(torch.cat([rows, latents], 2))


class Pairs(Adversarial):
    """(x, E(x)) against (G(z), z) (Dumoulin et al. 2017), with VEEGAN's distance of codes (Srivastava et al. 2017)."""

    sides = {"generator": ("generator", "encoder"), "critic": ("critic",)}  # noqa: RUF012

    def __init__(self, config: PairsConfig, row_shape: tuple[int, ...]) -> None:
        (columns,), units = row_shape, (config.units,)
        generator = networks.decoder("mlp", config.latent, units, row_shape, kernel=0)
        hidden = networks.mlp(columns + config.latent, units, networks.Leaky)
        super().__init__(config, generator, Joint(*networks.ending(hidden, config.units, (1,))))
        self.encoder = networks.decoder("mlp", columns, units, (config.latent,), kernel=0)
        self.units = {**self.units, "reconstruction": "squared error per latent"}

    def real(self, rows: Tensor, noise: Noise) -> tuple[Tensor, ...]:
        return rows, self.encoder(rows)

    def fake(self, num: int, noise: Noise) -> tuple[Tensor, ...]:
        latents = self.prior(num, noise)
        return self.made(self.generator, latents), latents

    def generator_terms(self, rows: Tensor, noise: Noise) -> Terms:
        fakes, latents = self.fake(rows.shape[1], noise)
        real_MB, fake_MB = self.logits(*self.real(rows, noise)), self.logits(fakes, latents)
        fooled_M = 0.5 * sum(critic_losses.generator_loss("non-saturating", each) for each in (-real_MB, fake_MB))
        found_M = (self.encoder(fakes) - latents).square().mean((1, 2))
        return {"generator": fooled_M, "reconstruction": found_M}

    def encode(self, rows: Tensor) -> Tensor:
        return self.encoder(self.inside(rows))


# ---- a generator that sees where its critic goes


class UnrolledConfig(PairsConfig, extra="forbid"):
    """An unrolled GAN."""

    family: Literal["unrolled"] = "unrolled"  # type: ignore[assignment]
    """This family."""
    unroll: int = 2
    """Steps of the critic that the generator looks ahead."""
    look_ahead_rate: float = 0.1
    """Their size."""


class Unrolled(Adversarial):
    """The generator's loss after some steps of the critic, differentiated through them (Metz et al. 2017)."""

    def __init__(self, config: UnrolledConfig, row_shape: tuple[int, ...]) -> None:
        generator = networks.decoder("mlp", config.latent, (config.units,), row_shape, kernel=0)
        hidden = networks.mlp(math.prod(row_shape), (config.units,), networks.Leaky)
        super().__init__(config, generator, networks.ending(hidden, config.units, (1,)))

    def generator_terms(self, rows: Tensor, noise: Noise) -> Terms:
        (fakes,) = self.fake(rows.shape[1], noise)
        ahead = dict(self.critic.named_parameters())
        for _ in range(self.config.unroll):
            real, fake = (functional_call(self.critic, ahead, (seen,)).squeeze(2) for seen in (rows, fakes))
            loss_M = critic_losses.critic_loss(self.config.loss, real, fake)
            slopes = torch.autograd.grad(loss_M.sum(), list(ahead.values()), create_graph=True)
            steps = zip(ahead.items(), slopes, strict=True)
            ahead = {name: value - self.config.look_ahead_rate * slope for (name, value), slope in steps}
        logits_MB = functional_call(self.critic, ahead, (fakes,)).squeeze(2)
        return {"generator": critic_losses.generator_loss(self.config.loss, logits_MB)}


NEW = {
    "mixture-vae": Family(MixtureConfig, MixtureVAE),
    "toy-wae": Family(PenaltyConfig, PenaltyWAE),
    "pairs": Family(PairsConfig, Pairs),
    "unrolled": Family(UnrolledConfig, Unrolled),
}
OPTIONS = [
    "synthetic-3",
    "--workers=local",
    "--rounds=2",
    "--data.num-rows=300",
    "--schedule.pretrain-epochs=1",
    "--schedule.epochs-per-round=1",
    "--resources.pack=3",
    "--resources.fused=true",
    "--schedule.report=false",
]
families = pytest.mark.parametrize("family", NEW)


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, family in NEW.items():
            patch.setitem(FAMILIES, name, family)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A run directory of each family."""
    found = {name: str(tmp_path_factory.mktemp(name) / "run") for name in NEW}
    for name, out in found.items():
        adversarial = ["--model.ema=0.9", "--model.critic-steps=2"] if name in ("pairs", "unrolled") else []
        assert main(["train", *OPTIONS, f"--model.family={name}", *adversarial, "--out", out]) == 0
    return found


def trained(run: str) -> GeneratorPack:
    directory = RunDirectory(Storage.at(run))
    config, spec = directory.load()
    return load_generators(close(config), spec, directory.storage, directory.require_last())


def answer(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(argv) == 0
    return capsys.readouterr().out


@families
def test_a_new_family_goes_through_every_command(
    family: str, runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs[family]
    line = read_record(Storage.at(run))[-1]
    units = trained(run).stacks[0].network.units
    assert {name: term.unit for name, term in line.terms.items()} == units
    assert all(len(term.values_K) == 3 and np.isfinite(term.values_K).all() for term in line.terms.values())
    assert f"family {family}" in answer(["status", run], capsys)

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
    page = Path(run, "report.html").read_text()
    assert all(name in page and unit in page for name, unit in units.items())
    assert f"model.family {family}" not in answer(["train", *OPTIONS, f"--model.family={family}", "--help"], capsys)


@families
def test_what_a_new_family_says_of_rows(family: str, runs: dict[str, str]) -> None:
    generators = trained(runs[family])
    network, rows = generators.stacks[0].network, np.random.default_rng(0).normal(0, 5, (7, 2))
    abilities = {ability for ability in (Decodes, Encodes, Bounds, ComponentPosterior) if isinstance(network, ability)}
    assert (
        abilities
        == {
            "mixture-vae": {Decodes, Encodes, Bounds, ComponentPosterior},
            "toy-wae": {Decodes, Encodes},
            "pairs": {Decodes, Encodes},
            "unrolled": {Decodes},
        }[family]
    )
    if Encodes in abilities:
        assert encoded(generators, 0, rows).shape == (7, network.latent)
    if Bounds in abilities:
        below, near = bound(generators, 0, rows, seed=0, num=200), log_likelihood(generators, 0, rows, seed=0, num=200)
        assert (near >= below - 1e-4).all()
    if ComponentPosterior in abilities:
        np.testing.assert_allclose(component_posterior(generators, 0, rows).sum(1), np.ones(7), rtol=1e-5)


@families
def test_a_new_family_is_matched_to_others_and_searched_by_width(family: str, runs: dict[str, str]) -> None:
    """Trials are runs in other processes, which know the registry as it is written; what they are given is this."""
    config, spec = RunDirectory(Storage.at(runs[family])).load()
    config, _ = resolve(config)
    wide = matched(config.model_copy(update={"num_components": 1}), spec, config, "params")
    assert wide.model.width > config.model.width


def test_a_loss_that_is_no_mean_over_rows_is_refused_for_several_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [option for option in OPTIONS if not option.startswith("--resources")]
    out = ["--resources.workers-per-component=2", "--out", str(tmp_path / "run")]
    assert main(["train", *options, "--model.family=toy-wae", *out]) == 2
    assert "toy-wae does not learn from batches in parts; set it to 1" in capsys.readouterr().err


def test_looking_ahead_changes_the_generators_gradient() -> None:
    """The second-order term is there: with steps ahead the gradient is another, without them the ordinary one."""
    torch.manual_seed(0)
    model = Unrolled(UnrolledConfig(output="linear"), (2,))
    rows = torch.randn(1, 8, 2)

    def gradient(steps: int) -> Tensor:
        model.config = model.config.model_copy(update={"unroll": steps})
        (term_M,) = model.generator_terms(rows, MemberNoise([1], torch.device("cpu"))).values()
        return torch.cat([each.flatten() for each in torch.autograd.grad(term_M, list(model.generator.parameters()))])

    (plain_M,) = Adversarial.generator_terms(model, rows, MemberNoise([1], torch.device("cpu"))).values()
    plain = torch.cat([each.flatten() for each in torch.autograd.grad(plain_M, list(model.generator.parameters()))])
    torch.testing.assert_close(gradient(0), plain)
    assert (gradient(2) - plain).abs().max() > 1e-4


def test_mmd_is_that_of_all_pairs() -> None:
    one, other = np.random.default_rng(0).normal(size=(2, 5, 3))

    def mean(a: np.ndarray, b: np.ndarray, same: bool) -> float:
        pairs = [(i, j) for i in range(5) for j in range(5) if not (same and i == j)]
        return float(np.mean([1 / (1 + ((a[i] - b[j]) ** 2).sum()) for i, j in pairs]))

    expected = mean(one, one, True) + mean(other, other, True) - 2 * mean(one, other, False)
    assert mmd(*(torch.from_numpy(side)[None] for side in (one, other))).item() == pytest.approx(expected)


def test_a_family_without_latents_has_none_to_ask_for(runs: dict[str, str]) -> None:
    generators = trained(runs["unrolled"])
    with pytest.raises(ConfigError, match="family unrolled does not encode rows"):
        encoded(generators, 0, np.zeros((1, 2)))
