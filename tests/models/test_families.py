"""The contract of a family, run over every registered one."""

import numpy as np
import pytest
import torch

from raymix.checkpoint import read_tensors, write_tensors
from raymix.config import Config, DataConfig, FamilyConfig, ScheduleConfig
from raymix.data.source import DataSpec
from raymix.errors import ConfigError
from raymix.models.base import ClosedForm, DataInitialised, Generator, LogDensity, Updates
from raymix.models.registry import FAMILIES, close, family_of
from raymix.seeds import Phase
from raymix.storage import Storage
from raymix.training.batches import RowView
from raymix.training.generators import GeneratorPack
from raymix.training.setting import Setting

NUM_ROWS, STEPS, COMPONENTS = 40, 3, (0, 3, 4)
SHAPES = {"vector": (3,), "small image": (1, 8, 8), "image": (3, 16, 16)}
families = pytest.mark.parametrize("family", FAMILIES)
family_and_shape = pytest.mark.parametrize(("family", "shape"), [(f, s) for f in FAMILIES for s in SHAPES])


class Bench:
    """One family at its defaults on random rows of one shape, in two blocks."""

    def __init__(self, family: str, shape: str) -> None:
        rng = np.random.default_rng(0)
        self.row_shape = SHAPES[shape]
        rows = rng.random((NUM_ROWS, *self.row_shape)).astype(np.float32)
        self.blocks = [rows[:15], rows[15:]]
        spec = DataSpec("file", NUM_ROWS, self.row_shape, "float32")
        config = Config(
            num_components=5,
            data=DataConfig(offset=(0.25,), scale=(0.5,)),
            model=FAMILIES[family].config().resolved(spec),
            schedule=ScheduleConfig(batch_size=8),
        )
        self.setting = Setting.of(config, spec)

    def pack(self, components=COMPONENTS) -> GeneratorPack:
        pack = GeneratorPack(self.setting, components)
        pack.initialise(self.blocks)
        return pack

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
    closed = isinstance(pack.members[0], ClosedForm)
    assert {fit.steps for fit in fits} == {1 if closed else STEPS}
    assert np.isfinite([fit.loss for fit in fits]).all()
    for k in COMPONENTS:
        differ(before[k], pack.state(k))


@family_and_shape
def test_family_learns_in_exactly_one_way(bench):
    member = bench.pack().members[0]
    assert isinstance(member, Generator)
    assert isinstance(member, Updates) != isinstance(member, ClosedForm)


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
    assert torch.from_numpy(rows).dtype == pack.members[3].dtype
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
    member, state = pack.members[0], pack.state(0)
    for label, optimiser in member.optimisers().items():
        assert state[f"optimiser/{label}/learning_rate"] == optimiser.param_groups[0]["lr"]
        held = sum(len(moments) for moments in optimiser.state.values())
        assert held and held + 1 == sum(name.startswith(f"optimiser/{label}/") for name in state)
    assert {name for name in state if name.startswith("network/")} == {f"network/{n}" for n in member.state_dict()}


@family_and_shape
def test_a_pack_of_three_equals_three_packs_of_one(bench):
    pack = bench.pack()
    fits = bench.train(pack)
    for i, k in enumerate(COMPONENTS):
        alone = bench.pack((k,))
        assert bench.train(alone) == [fits[i]]
        same(alone.state(k), pack.state(k))
        assert alone.sample(k, 5, seed=2).tobytes() == pack.sample(k, 5, seed=2).tobytes()


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
    if not isinstance(pack.members[0], LogDensity):
        pytest.skip("the family has no log-density")
    values = pack.log_density(0, bench.blocks[1])
    assert values.shape == (NUM_ROWS - 15,) and np.isfinite(values).all()


@family_and_shape
def test_initial_state_from_data_follows_the_run_seed_alone(bench):
    if not isinstance(bench.pack().members[0], DataInitialised):
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
