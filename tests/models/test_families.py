"""The contract of a family, run over every registered one."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from raymix.config import Config, DataConfig, FamilyConfig, ScheduleConfig
from raymix.data.source import DataSpec
from raymix.errors import ConfigError
from raymix.models.base import (
    Bounds,
    ClosedForm,
    DataInitialised,
    Decodes,
    Encodes,
    HasCritic,
    LogDensity,
    StackedGenerator,
)
from raymix.models.registry import FAMILIES, close, family_of
from raymix.runs.checkpoint import read_tensors, write_tensors
from raymix.seeds import Phase
from raymix.storage import Storage
from raymix.training.batches import RowView
from raymix.training.generators import GeneratorPack
from raymix.training.setting import Setting

NUM_ROWS, STEPS, COMPONENTS = 40, 3, (0, 3, 4)
SHAPES = {"vector": (3,), "small image": (1, 8, 8), "image": (3, 16, 16)}
families = pytest.mark.parametrize("family", FAMILIES)
LIKE_ANOTHER = [("sn-dcgan", "small image")]
"""Cases that differ little from others, which take their place where quick tests are asked for."""
CASES = [(family, shape) for family in FAMILIES for shape in SHAPES]
family_and_shape = pytest.mark.parametrize(
    ("family", "shape"), [pytest.param(*case, marks=[pytest.mark.slow] * (case in LIKE_ANOTHER)) for case in CASES]
)


class Bench:
    """One family at its defaults on random rows of one shape, in two blocks; a narrow one with an average where it is
    adversarial."""

    def __init__(self, family: str, shape: str) -> None:
        rng = np.random.default_rng(0)
        self.row_shape = SHAPES[shape]
        rows = rng.random((NUM_ROWS, *self.row_shape)).astype(np.float32)
        self.blocks = [rows[:15], rows[15:]]
        spec = DataSpec("file", NUM_ROWS, self.row_shape, "float32")
        self.has_critic = issubclass(FAMILIES[family].build, HasCritic)
        model = FAMILIES[family].config().resolved(spec)
        if self.has_critic:
            model = model.with_width(16).model_copy(update={"ema": 0.9, "critic_steps": 2})
        config = Config(
            num_components=5,
            data=DataConfig(offset=(0.25,), scale=(0.5,)),
            model=model,
            schedule=ScheduleConfig(batch_size=8),
        )
        self.setting = Setting.of(config, spec)

    def pack(self, components=COMPONENTS) -> GeneratorPack:
        pack = GeneratorPack(self.setting, components)
        pack.initialise(self.blocks)
        return pack

    def unfused(self, workers: int = 1) -> "Bench":
        """The same, its members trained one after another, each by so many workers."""
        update = {"fused": False, "workers_per_component": workers}
        resources = self.setting.config.resources.model_copy(update=update)
        config = self.setting.config.model_copy(update={"resources": resources})
        other = copy.copy(self)
        other.setting = replace(self.setting, config=config)
        return other

    def train(self, pack: GeneratorPack, round: int = 1, steps: int = STEPS):
        shards = {k: RowView(self.blocks, [np.arange(k, 15), np.arange(10 + k)]) for k in pack.components}
        return pack.train(Phase.TRAIN_GENERATOR, round, shards, dict.fromkeys(pack.components, steps))


@pytest.fixture
def bench(family, shape):
    try:
        return Bench(family, shape)
    except ConfigError as error:
        pytest.skip(str(error))


def same(a, b):
    """Equal names, types and bits."""
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].shape == b[name].shape, name
        assert a[name].tobytes() == b[name].tobytes(), name


def close_to(a, b, rtol, atol):
    """Equal names and shapes, and numbers within rounding."""
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol, atol, err_msg=name)


@pytest.fixture
def in_float64(family, monkeypatch):
    """The family and its noise work in float64, where no rounding grows large in a few steps."""
    monkeypatch.setattr(FAMILIES[family].build, "dtype", torch.float64)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def differ(a, b):
    assert any(a[name].tobytes() != b[name].tobytes() for name in a)


@families
def test_family_takes_some_shape_of_rows(family):
    def takes(shape):
        try:
            return bool(Bench(family, shape))
        except ConfigError:
            return False

    assert any(takes(shape) for shape in SHAPES)


@family_and_shape
def test_family_trains_and_its_fits_are_reported(bench):
    pack = bench.pack()
    before = {k: pack.state(k) for k in COMPONENTS}
    fits = bench.train(pack)
    assert [fit.component for fit in fits] == list(COMPONENTS)
    closed = isinstance(pack.stack_of(0).network, ClosedForm)
    assert {fit.steps for fit in fits} == {1 if closed else STEPS}
    units = pack.stack_of(0).network.units
    for fit in fits:
        assert {name: term.unit for name, term in fit.terms.items()} == dict(units)
        assert np.isfinite([term.value for term in fit.terms.values()]).all()
        assert fit.loss == fit.terms[next(iter(units))].value
    for k in COMPONENTS:
        differ(before[k], pack.state(k))


@family_and_shape
def test_generator_and_critic_learn_and_the_critics_loss_is_reported(bench):
    pack = bench.pack()
    before = {k: pack.state(k) for k in COMPONENTS}
    fits = bench.train(pack)
    if not bench.has_critic:
        assert all("critic" not in fit.terms and not fit.saturated for fit in fits)
        return
    assert np.isfinite([fit.terms["critic"].value for fit in fits]).all()
    parts = ("network/generator", "network/critic", "network/average", "optimiser/generator/", "optimiser/critic/")
    for k in COMPONENTS:
        after = pack.state(k)
        for part in parts:
            differ(*({name: state[name] for name in after if name.startswith(part)} for state in (before[k], after)))


@family_and_shape
def test_family_learns_in_exactly_one_way(bench):
    member = bench.pack().stack_of(0).network
    assert isinstance(member, StackedGenerator)
    assert (type(member).update is not StackedGenerator.update) != isinstance(member, ClosedForm)


@family_and_shape
def test_components_start_apart(bench):
    pack = bench.pack()
    assert len({str(sorted((n, v.tobytes()) for n, v in pack.state(k).items())) for k in COMPONENTS}) == 3


@family_and_shape
def test_family_samples_rows_of_the_right_shape(bench):
    pack = bench.pack()
    bench.train(pack)
    rows = pack.sample(3, 7, seed=5)
    assert rows.shape == (7, *bench.row_shape)
    assert torch.from_numpy(rows).dtype == pack.stack_of(3).network.dtype
    assert np.isfinite(rows).all()
    assert rows.tobytes() == pack.sample(3, 7, seed=5).tobytes()
    assert pack.sample(3, 0, seed=5).shape == (0, *bench.row_shape)


@family_and_shape
def test_family_saves_and_loads_to_equal_bits(bench, tmp_path):
    storage = Storage.at(tmp_path)
    pack, other = bench.pack(), bench.pack()
    bench.train(pack)
    bench.train(other, round=7, steps=2 * STEPS)  # what is loaded must replace all of this
    for k in COMPONENTS:
        write_tensors(storage, f"{k}.safetensors", pack.state(k))
        other.load(k, read_tensors(storage, f"{k}.safetensors"))
        same(other.state(k), pack.state(k))
        assert other.sample(k, 3, seed=1).tobytes() == pack.sample(k, 3, seed=1).tobytes()
    assert bench.train(pack, round=2) == bench.train(other, round=2)
    for k in COMPONENTS:
        same(other.state(k), pack.state(k))


@family_and_shape
def test_state_holds_every_optimiser_moment(bench):
    pack = bench.pack()
    bench.train(pack)
    member, state = pack.stack_of(3).network, pack.state(3)
    for label, optimiser in member.optimisers().items():
        values = [v for value in vars(optimiser).values() for v in (value if isinstance(value, list) else [value])]
        held = [value[pack.stack_of(3).keys.index(3)] for value in values if isinstance(value, torch.Tensor)]
        saved = [value.tobytes() for name, value in state.items() if name.startswith(f"optimiser/{label}/")]
        assert len(held) > 1 and sorted(value.numpy().tobytes() for value in held) == sorted(saved)
    assert {name for name in state if name.startswith("network/")} == {f"network/{n}" for n in member.state_dict()}


def trained_together_and_alone(bench, steps):
    """((state, fit, samples) in a pack of three, the same in a pack of one) for each component."""
    pack = bench.pack()
    fits = dict(zip(COMPONENTS, bench.train(pack, steps=steps), strict=True))
    for k in COMPONENTS:
        alone = bench.pack((k,))
        (fit,) = bench.train(alone, steps=steps)
        assert fits[k].steps == fit.steps
        yield (pack.state(k), fits[k], pack.sample(k, 5, seed=2)), (alone.state(k), fit, alone.sample(k, 5, seed=2))


@family_and_shape
def test_members_trained_in_turn_are_what_each_is_alone_bit_for_bit(bench):
    for (state, fit, rows), (own_state, own_fit, own_rows) in trained_together_and_alone(bench.unfused(), STEPS):
        same(state, own_state)
        assert fit == own_fit and rows.tobytes() == own_rows.tobytes()


@family_and_shape
@pytest.mark.usefixtures("in_float64")
def test_a_fused_pack_of_three_equals_three_packs_of_one_in_float64(bench):
    """After 50 steps the largest difference was 6e-14, and 2e-12 where two sides answer each other, which take 10."""
    atol = 1e-10 if bench.has_critic else 1e-12
    for (state, fit, rows), (own_state, own_fit, own_rows) in trained_together_and_alone(
        bench, 10 if bench.has_critic else 50
    ):
        close_to(state, own_state, rtol=1e-10, atol=atol)
        assert fit.loss == pytest.approx(own_fit.loss, rel=1e-10 if bench.has_critic else 1e-12)
        np.testing.assert_allclose(rows, own_rows, rtol=1e-10, atol=atol)


@family_and_shape
def test_a_fused_pack_of_three_equals_three_packs_of_one_within_rounding(bench, shape):
    """The largest difference was 5e-6 after 50 steps (3 seeds), and 2e-5 after 3 steps of convolutions: it then
    grows as fast as that of members that train alone and begin one rounding apart."""
    steps = STEPS if shape == "image" or bench.has_critic else 50
    for (state, fit, rows), (own_state, own_fit, own_rows) in trained_together_and_alone(bench, steps):
        close_to(state, own_state, rtol=1e-4, atol=5e-5)
        assert fit.loss == pytest.approx(own_fit.loss, rel=1e-5)
        np.testing.assert_allclose(rows, own_rows, rtol=1e-4, atol=1e-5)


@family_and_shape
@pytest.mark.usefixtures("in_float64")
def test_a_component_of_three_workers_equals_one_of_one_worker(bench):
    """Batches of 8 are cut into unequal parts. After 20 steps the largest difference was 2e-13."""
    several, one = bench.unfused(workers=3), bench.unfused()
    packs = several.pack((3,)), one.pack((3,))
    if isinstance(packs[0].stack_of(3).network, ClosedForm):
        pytest.skip("the family does not learn from batches in parts")
    (fit,), (own_fit,) = several.train(packs[0], steps=5), one.train(packs[1], steps=5)
    close_to(packs[0].state(3), packs[1].state(3), rtol=1e-10, atol=1e-10)
    assert fit.loss == pytest.approx(own_fit.loss, rel=1e-10)
    for name, term in fit.terms.items():
        assert term.value == pytest.approx(own_fit.terms[name].value, rel=1e-10)


@family_and_shape
def test_training_and_sampling_leave_the_global_generator_alone(bench):
    before = torch.get_rng_state()
    pack = bench.pack()
    bench.train(pack)
    pack.sample(0, 3, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@family_and_shape
def test_log_density_is_one_finite_number_per_row(bench):
    pack = bench.pack()
    if not isinstance(pack.stack_of(0).network, LogDensity | Bounds):
        pytest.skip("the family has no log-density")
    values, _ = pack.score(2, bench.blocks[1], [0])[0]
    assert values.shape == (NUM_ROWS - 15,) and np.isfinite(values).all()
    some = np.random.default_rng(0).permutation(len(values))[:7]
    alone, _ = pack.score(2, np.asarray(bench.blocks[1])[some], [0])[0]
    np.testing.assert_allclose(alone, values[some], rtol=1e-4)  # whatever other rows there are


@family_and_shape
def test_what_a_latent_point_decodes_to_is_the_members_own_and_repeats(bench):
    pack = bench.pack()
    if not pack.latent(0):
        pytest.skip("has no latent space")
    latents_BZ = np.random.default_rng(0).normal(size=(6, pack.latent(0))).astype(np.float32)
    decoded = {k: pack.decode_in_data_units(k, latents_BZ) for k in COMPONENTS}
    for k, rows in decoded.items():
        assert rows.shape == (6, *bench.row_shape) and np.isfinite(rows).all()
        np.testing.assert_array_equal(rows, pack.decode_in_data_units(k, latents_BZ))
        np.testing.assert_allclose(rows[2:4], pack.decode_in_data_units(k, latents_BZ[2:4]), rtol=1e-4, atol=1e-5)
    assert not np.allclose(decoded[0], decoded[3])
    assert np.ptp(decoded[0], axis=0).max() > 0


@family_and_shape
def test_the_prior_is_what_samples_come_from_and_encoding_leads_back_to_latents(bench):
    pack = bench.pack()
    network = pack.stack_of(0).only([0]).network.eval()
    if not isinstance(network, Decodes):
        pytest.skip("has no latent space")
    latents_nZ = pack.latents(0, 5, seed=3)
    assert latents_nZ.shape == (5, pack.latent(0)) and np.isfinite(latents_nZ).all()
    assert latents_nZ.tobytes() == pack.latents(0, 5, seed=3).tobytes() != pack.latents(0, 5, seed=4).tobytes()
    if isinstance(network, Encodes):
        with torch.inference_mode():
            rows = network.decode(torch.from_numpy(latents_nZ)[None])
            assert network.encode(rows).shape == (1, *latents_nZ.shape)


@family_and_shape
def test_initial_state_from_data_follows_the_run_seed_alone(bench):
    if not isinstance(bench.pack().stack_of(0).network, DataInitialised):
        pytest.skip("the family does not start from data")
    alone = bench.pack((4,))
    same(alone.state(4), bench.pack().state(4))


def config_with(family, **settings):
    return Config(model=FamilyConfig(family=family, **settings))


@families
def test_unknown_setting_is_refused_with_the_nearest_known_one(family):
    for field in FAMILIES[family].config.model_fields:
        if field != "family":
            with pytest.raises(ConfigError, match=rf"unknown field model\.{field}_; did you mean model\.{field}\?"):
                close(config_with(family, **{f"{field}_": 1}))


@families
def test_setting_of_a_wrong_type_is_refused_by_name(family):
    for field in FAMILIES[family].config.model_fields:
        if field != "family":
            with pytest.raises(ConfigError, match=rf"config: model\.{field}: .*, got \{{'a': 1\}}$"):
                close(config_with(family, **{field: {"a": 1}}))


@families
def test_settings_are_documented_and_frozen(family):
    config = FAMILIES[family].config
    assert config().family == family
    assert all(info.description for info in config.model_fields.values())
    assert config.model_config["frozen"] and config.model_config["extra"] == "forbid"


@families
def test_closing_keeps_what_was_set(family):
    closed = close(config_with(family))
    assert closed.model == FAMILIES[family].config()
    assert close(closed) is closed


def test_unknown_family_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"model\.family: unknown family 'vea'; .*vae.*centroid"):
        family_of(FamilyConfig(family="vea"))
