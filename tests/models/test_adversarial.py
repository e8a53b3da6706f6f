"""The alternation of adversarial families, their average, their published layers."""

import copy

import pytest
import torch

from raymix.data.source import DataSpec
from raymix.errors import ConfigError
from raymix.families.dcgan import DCGANConfig, SNDCGANConfig
from raymix.families.gan import GANConfig
from raymix.models.base import Decodes, HasCritic
from raymix.models.gan import GAN
from raymix.models.registry import FAMILIES
from raymix.training.noise import MemberNoise

B = 4
IMAGE, VECTOR = (1, 8, 8), (3,)
ADVERSARIAL = [name for name, family in FAMILIES.items() if issubclass(family.build, HasCritic)]


def built(config, row_shape=VECTOR):
    resolved = config.resolved(DataSpec("file", 100, row_shape, "float32"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FAMILIES[config.family].build(resolved, row_shape)


def small(family, **settings):
    return FAMILIES[family].config(latent=3, **({} if family == "gan" else {"filters": 8}), **settings)


def noise(seed=0):
    return MemberNoise([seed], torch.device("cpu"))


def rows(shape, num=B):
    return torch.rand(1, num, *shape, generator=torch.Generator().manual_seed(1))


def bits(module):
    return {name: value.clone() for name, value in module.named_parameters()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("loss", ["non-saturating", "hinge", "wgan-gp"])
@pytest.mark.parametrize("family", ADVERSARIAL)
def test_one_update_moves_both_sides_and_gives_both_losses(family, loss):
    model = built(small(family, loss=loss), IMAGE)
    assert isinstance(model, HasCritic) and isinstance(model, Decodes)
    generator, critic = bits(model.generator), bits(model.critic)
    losses = model.update(rows(IMAGE), noise())
    assert list(losses) == list(model.units) == ["generator", "critic"]
    for term_M in losses.values():
        assert term_M.shape == (1,) and torch.isfinite(term_M) and not term_M.requires_grad
    assert set(model.units.values()) == {"nats" if loss == "non-saturating" else ""}
    assert not same(generator, bits(model.generator)) and not same(critic, bits(model.critic))


@pytest.mark.parametrize("side", ["generator", "critic"])
def test_a_step_of_one_side_leaves_the_other_and_its_gradients_alone(side):
    model = built(small("sn-dcgan"), IMAGE)
    other = model.critic if side == "generator" else model.generator
    before = bits(other)
    model._descend(side, model.inside(rows(IMAGE)), noise())
    assert same(before, bits(other))
    assert all(parameter.grad is None for parameter in model.parameters())


class Watched(GAN):
    """Keeps which rows each side stepped on."""

    def generator_terms(self, rows, noise):
        self.turns.append(("generator", rows))
        return super().generator_terms(rows, noise)

    def critic_terms(self, rows, noise):
        self.turns.append(("critic", rows))
        return super().critic_terms(rows, noise)


@pytest.mark.parametrize("first", ["critic", "generator"])
def test_the_critic_steps_on_a_batch_of_its_own_each_time_and_the_generator_once(first):
    model = built(GANConfig(critic_steps=3, first=first, generator=(4,), critic=(4,)))
    model.__class__, model.turns = Watched, []
    assert model.batches == 3
    batch = rows(VECTOR, 3 * B)
    losses = model.update(batch, noise())
    steps = ["critic"] * 3
    steps.insert(0 if first == "generator" else 3, "generator")
    assert [side for side, _ in model.turns] == steps
    seen = torch.cat([some for side, some in model.turns if side == "critic"], dim=1)
    assert torch.equal(seen, batch)
    assert all(some.shape == (1, B, 3) for _, some in model.turns)
    adams = model.optimisers()
    assert (adams["generator"].steps_M.item(), adams["critic"].steps_M.item()) == (1, 3)
    assert all(term_M.shape == (1,) for term_M in losses.values())


def test_the_average_follows_faster_at_first_and_is_what_samples_come_from():
    model = built(small("dcgan", ema=0.5), IMAGE)
    means = {name: value.clone() for name, value in model.average.state_dict().items()}
    for t in range(1, 16):
        model.update(rows(IMAGE), noise(t))
        decay = min(0.5, (1 + t) / (10 + t))
        means = {
            name: decay * means[name] + (1 - decay) * value for name, value in model.generator.state_dict().items()
        }
    for name, value in model.average.state_dict().items():
        torch.testing.assert_close(value, means[name], rtol=1e-4, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in model.average.parameters())
    model.eval()
    plain = copy.deepcopy(model)
    plain.average = None
    assert not torch.allclose(model.sample(B, noise()), plain.sample(B, noise()))
    plain.generator = model.average
    assert torch.equal(model.sample(B, noise()), plain.sample(B, noise()))


def test_without_decay_there_is_no_average():
    assert built(small("gan")).average is None


@pytest.mark.parametrize("family", ADVERSARIAL)
def test_images_lie_in_the_unit_interval_and_are_stretched_inside(family):
    model = built(small(family), IMAGE)
    made = model.sample(50, noise())
    assert made.min() >= 0 and made.max() <= 1
    assert model.inside(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-1, 0, 1]


def test_vectors_have_no_bounds():
    model = built(small("gan"))
    with torch.no_grad():
        model.generator[-1].bias += 7
    assert model.sample(50, noise()).min() > 2
    assert model.inside(torch.tensor([2.0])).item() == 2


@pytest.mark.parametrize("side", [28, 32, 64, 128])
@pytest.mark.parametrize("family", ["dcgan", "sn-dcgan"])
def test_images_of_any_usual_size_are_made_and_judged(family, side):
    model = built(small(family), (3, side, side))
    made = model.sample(2, noise())
    assert made.shape == (1, 2, 3, side, side)
    assert model.logits(model.inside(made)).shape == (1, 2)


def filters_of(module):
    """(outputs, inputs, side of the filter) of each convolution; of a transposed one the sides are the other way."""
    weights = [value.shape[1:] for name, value in module.named_parameters() if value.dim() == 5]
    return [(outputs, inputs, side) for outputs, inputs, side, _ in weights]


def test_sn_dcgan_has_the_published_layers():
    """Miyato et al. 2018, table 3, at 32 x 32 x 3."""
    model = built(SNDCGANConfig(filters=512), (3, 32, 32))
    assert filters_of(model.generator) == [(512, 256, 4), (256, 128, 4), (128, 64, 4), (3, 64, 3)]
    assert filters_of(model.critic) == [
        (64, 3, 3),
        (128, 64, 4),
        (128, 128, 3),
        (256, 128, 4),
        (256, 256, 3),
        (512, 256, 4),
        (512, 512, 3),
    ]
    linears = [tuple(value.shape) for value in model.parameters() if value.dim() == 3 and 1 not in value.shape[1:2]]
    assert linears == [(1, 128, 4 * 4 * 512), (1, 4 * 4 * 512, 1)]
    assert len([name for name in model.state_dict() if name.endswith("u_MO")]) == 8


def test_dcgan_has_the_published_layers():
    """Radford et al. 2015, figure 1, at 64 x 64 x 3 and half its filters, and its mirror."""
    model = built(DCGANConfig(filters=512), (3, 64, 64))
    assert filters_of(model.generator) == [(512, 256, 4), (256, 128, 4), (128, 64, 4), (64, 3, 4)]
    assert filters_of(model.critic) == [(64, 3, 4), (128, 64, 4), (256, 128, 4), (512, 256, 4)]
    norms = [name for name in model.critic.state_dict() if name.endswith("running_mean")]
    assert len(norms) == 3
    plain = built(DCGANConfig(filters=8, loss="wgan-gp"), (3, 64, 64))
    assert not any("running_mean" in name for name in plain.critic.state_dict())


@pytest.mark.parametrize("family", ["dcgan", "sn-dcgan"])
def test_first_weights_are_as_published_in_the_average_too(family):
    model = built(FAMILIES[family].config(filters=64, ema=0.9), (3, 32, 32))
    assert same(bits(model.generator), bits(model.average))
    for name, value in model.named_parameters():
        if value.dim() in (3, 5) and value.numel() > 2000:
            assert value.std().item() == pytest.approx(0.02, rel=0.1), name


@pytest.mark.parametrize("family", ADVERSARIAL)
def test_width_is_that_of_the_widest_layer_and_scales_all(family):
    config = small(family).resolved(DataSpec("file", 100, IMAGE, "float32"))
    for width in (1, 3, 32):
        assert config.with_width(width).width == width
    assert config.with_width(config.width) == config


def test_a_critic_of_its_own_width_keeps_its_share():
    config = SNDCGANConfig(filters=16, critic_filters=64)
    assert config.width == 64
    assert config.with_width(32) == SNDCGANConfig(filters=8, critic_filters=32)


@pytest.mark.parametrize(("family", "shape"), [("dcgan", (5,)), ("sn-dcgan", (3, 7, 32))])
def test_rows_without_room_for_convolutions_are_refused(family, shape):
    with pytest.raises(ConfigError, match=rf"model\.family: {family} cannot make rows of shape .*; choose gan"):
        built(small(family), shape)
