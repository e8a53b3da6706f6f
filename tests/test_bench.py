"""The benchmark compares like with like: the plain loop computes what raymix does; ratios are refused when in doubt."""

import json

import numpy as np
import pytest
import torch

from raymix.bench import timing, ways
from raymix.bench.cases import ACTORS, FUSED, PLAIN, Found, actors_of
from raymix.bench.plain import PlainLoop, PlainVAE, plain_round
from raymix.bench.plain_gan import PlainGANLoop, PlainSNDCGAN
from raymix.bench.timing import Timing, timings
from raymix.bench.ways import local, plain, shapes, spread
from raymix.cli import main
from raymix.commands import bench
from raymix.config import DiscriminatorConfig
from raymix.families.dcgan import SNDCGANConfig
from raymix.families.vae import VAEConfig
from raymix.models.dcgan import SNDCGAN
from raymix.models.vae import VAE

SHAPES = {shape.name: shape for shape in shapes()}
VAES = [name for name, shape in SHAPES.items() if isinstance(shape.config.model, VAEConfig)]


class Zeros:
    """Noise that is not there."""

    def normal(self, *shape):
        return torch.zeros(1, *shape)


def timing_of(*seconds):
    found = Timing()
    found.seconds = list(seconds)
    return found


@pytest.mark.parametrize("name", VAES)
def test_plain_model_has_the_same_loss_at_the_same_parameters(name, monkeypatch):
    shape = SHAPES[name]
    mine, other = VAE(shape.config.model, shape.spec.row_shape), PlainVAE(shape.config.model, shape.spec.row_shape)
    for target, value in zip(sorted_parameters(other), sorted_parameters(mine), strict=True):
        value = value.detach()[0]
        target.data = (value.T if target.dim() == 2 else value).reshape(target.shape).clone()
    assert len(list(mine.parameters())) == len(list(other.parameters()))
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    rows = torch.from_numpy(shape.rows[:8]).float() / (255 if shape.spec.is_image else 1)
    assert other.loss(rows).item() == pytest.approx(mine.terms(rows.unsqueeze(0), Zeros())["bound"].item(), rel=1e-4)


def sorted_parameters(network):
    """Encoder, decoder, posterior, sigma, each in order."""
    named = dict(network.named_parameters())
    return [
        named[name] for part in ("encoder", "decoder", "posterior", "raw") for name in named if name.startswith(part)
    ]


def test_plain_gan_has_the_same_losses_at_the_same_parameters(monkeypatch):
    """In evaluation, so that nothing but parameters and buffers counts; all samples are of the latent 0."""
    shape = SHAPES["dcgan"]
    mine = SNDCGAN(shape.config.model, shape.spec.row_shape).eval()
    other = PlainSNDCGAN(shape.config.model, shape.spec.row_shape).eval()
    for side in ("generator", "critic"):
        ours, theirs = getattr(mine, side).state_dict(), getattr(other, side).state_dict()
        theirs = {name: value for name, value in theirs.items() if "num_batches" not in name}
        for value, target in zip(ours.values(), theirs.values(), strict=True):
            target.copy_((value[0].T if target.dim() == 2 and value.dim() == 3 else value[0]).reshape(target.shape))
    monkeypatch.setattr(torch, "randn", lambda *shape, device: torch.zeros(shape, device=device))
    rows = torch.from_numpy(shape.rows[:8]).float() / 255
    inside = mine.inside(rows.unsqueeze(0))
    assert other.critic_loss(inside[0]).item() == pytest.approx(
        mine.critic_terms(inside, Zeros())["critic"].item(), rel=1e-4
    )
    assert other.generator_loss(8).item() == pytest.approx(
        mine.generator_terms(inside, Zeros())["generator"].item(), rel=1e-4
    )


def test_plain_gans_learn():
    torch.manual_seed(0)
    loop = PlainGANLoop(SNDCGANConfig(filters=8, latent=4, learning_rate=1e-3), torch.rand(60, 1, 8, 8), 2, 16)
    rows = loop.shards[0][:16]
    before = loop.models[0].critic_loss(rows).item()
    loop.steps(20)
    assert loop.models[0].critic_loss(rows).item() < before


def test_plain_loop_learns():
    shape = SHAPES["mlp"]
    rows = torch.from_numpy(shape.rows[:600])
    torch.manual_seed(0)
    loop = PlainLoop(shape.config.model, rows, 2, 32)
    before = loop.models[0].loss(rows).item()
    loop.steps(200)
    assert loop.models[0].loss(rows).item() < before
    shards = plain_round(loop, rows, DiscriminatorConfig(widths=(8,), batch_size=32), 2, 50)
    assert sum(map(len, shards)) >= len(rows)


@pytest.mark.slow
def test_every_way_makes_its_steps(ray_cluster):
    shape = SHAPES["mlp"]
    with actors_of(shape, 3, 2, fused=True) as actors:
        actors.way(2)(3)
        actors.way(3)(3)
    for way in (plain(shape, 2), plain(shape, 2, threads=2), local(shape, 3, fused=True), local(shape, 3, fused=False)):
        way(2)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("num", [1, 3, 7, 15])
def test_components_are_spread_over_actors(num):
    members = [tuple(range(7)), tuple(range(7, 15))]
    chosen = spread(members, num)
    assert sum(map(len, chosen)) == num
    assert abs(len(chosen[0]) - len(chosen[1])) <= 1
    assert all(set(some) <= set(all_) for some, all_ in zip(chosen, members, strict=True))


def test_timings_are_per_step_and_interleaved(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def way(name, step_s):
        def steps(count):
            calls.append(name)
            clock[0] += count * step_s

        return steps

    found = timings({"a": way("a", 0.1), "b": way("b", 0.01)}, repeats=5, timed_s=0.3)
    assert found["a"].median == pytest.approx(0.1) and found["b"].median == pytest.approx(0.01)
    assert calls[-10:] == ["a", "b"] * 5


def test_a_timing_is_steady_when_its_middle_half_lies_together():
    assert timing_of(1, 1.1, 1, 0.9, 5).steady
    assert not timing_of(1, 2, 3, 1, 2).steady


def measured(**seconds):
    return Found(steps={("mlp", 9): {PLAIN: timing_of(6.0), FUSED: timing_of(1.5)}}, **seconds)


def test_ratios_say_how_many_times_faster():
    found = measured(alone_s={PLAIN: timing_of(2.0), ACTORS: timing_of(2.1)})
    assert found.ratios == {"mlp_k9_fused": pytest.approx(4.0), "k1_overhead": pytest.approx(0.05)}


class Arguments:
    json, even_if_busy = True, False


@pytest.mark.parametrize("doubts", [[], ["other work takes 80% of the processors"]])
def test_ratios_are_refused_on_a_busy_machine(doubts, capsys):
    bench.report(measured(), doubts, Arguments())
    said = json.loads(capsys.readouterr().out)
    assert said["ratios"] == (None if doubts else {"mlp_k9_fused": 4.0})
    assert said["doubts"] == doubts
    assert {"processor", "cores", "torch", "ray"} <= set(said["machine"])
    assert said["steps"][0]["ms_per_step"][PLAIN] == 6000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--shapes", "cube"], "unknown shape 'cube'"), (["--components", "0"], "number of at least 1")],
)
def test_bad_requests_are_one_line(arguments, said, capsys):
    assert main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_random_rows_are_of_the_shape_they_stand_for():
    assert SHAPES["conv"].rows.shape[1:] == (1, 28, 28) and SHAPES["conv"].rows.dtype == np.uint8
    assert ways.shapes()[0].rows.shape == (16_000, 2)
