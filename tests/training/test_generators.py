"""Packs of generators: what members share (nothing), what is reported, what is refused."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from raymix.errors import ConfigError, DivergedError
from raymix.seeds import Phase, numpy_rng, phase_seed
from raymix.training import generators
from raymix.training.batches import RowView, drawn_batches
from raymix.training.generators import GeneratorPack

BLOCKS = [np.random.default_rng(b).normal(size=(size, 2)).astype(np.float32) for b, size in enumerate([30, 20])]
EVERYTHING = RowView(BLOCKS, None)
CENTROID = {"family": "centroid"}


def train(pack, steps, round=1, phase=Phase.TRAIN_GENERATOR, shards=None, **watch):
    steps = dict.fromkeys(pack.components, steps) if isinstance(steps, int) else steps
    return pack.train(phase, round, shards or dict.fromkeys(pack.components, EVERYTHING), steps, **watch)


def bits(pack, k):
    return {name: array.tobytes() for name, array in pack.state(k).items()}


def test_loss_is_the_mean_over_all_steps(make_setting):
    setting, steps = make_setting(), 2 * generators.CHECK_EVERY + 7
    told = []
    fit = train(GeneratorPack(setting, (1,)), steps, progress=told.append)[0]

    member = GeneratorPack(setting, (1,)).members[1].train()
    seed = phase_seed(setting.config.seed, 1, 1, Phase.TRAIN_GENERATOR)
    noise = setting.noise(seed)
    rows = drawn_batches(EVERYTHING, setting.scaler(), steps, 16, numpy_rng(seed))
    losses = [member.update(batch, noise).item() for batch in rows]
    assert (fit.component, fit.steps) == (1, steps)
    assert fit.loss == pytest.approx(np.mean(losses), rel=1e-12)
    assert sum(told) == steps and max(told) <= generators.CHECK_EVERY


@pytest.mark.parametrize(
    "other", [{"round": 2}, {"phase": Phase.PRETRAIN}, {"shards": {0: RowView(BLOCKS, [np.arange(5), np.arange(5)])}}]
)
def test_a_phase_depends_on_its_round_kind_and_shard(make_setting, other):
    one, two = (GeneratorPack(make_setting(), (0,)) for _ in range(2))
    train(one, 3)
    train(two, 3, **other)
    assert bits(one, 0) != bits(two, 0)


def test_a_phase_repeats_to_equal_bits_and_depends_on_the_run_seed(make_setting):
    packs = [GeneratorPack(make_setting(seed=seed), (0,)) for seed in (5, 5, 6)]
    for pack in packs:
        train(pack, 3)
    assert bits(packs[0], 0) == bits(packs[1], 0) != bits(packs[2], 0)


def test_members_train_as_many_steps_as_each_is_given(make_setting):
    pack = GeneratorPack(make_setting(), (0, 2, 4))
    before = bits(pack, 2)
    fits = train(pack, {0: 3, 2: 0, 4: 5})
    assert [fit.steps for fit in fits] == [3, 0, 5]
    assert np.isnan(fits[1].loss)
    assert bits(pack, 2) == before


def test_an_empty_shard_trains_nothing(make_setting):
    for model in (None, CENTROID):
        pack = GeneratorPack(make_setting(model=model), (0,))
        before = bits(pack, 0)
        (fit,) = train(pack, 4, shards={0: RowView(BLOCKS, [np.arange(0), np.arange(0)])})
        assert fit.steps == 0 and np.isnan(fit.loss)
        assert bits(pack, 0) == before


@pytest.mark.parametrize("steps", [1, 3, generators.CHECK_EVERY + 2])
def test_divergence_names_component_round_and_step(make_setting, steps):
    pack = GeneratorPack(make_setting(), (0, 7))
    wanted = steps - 1
    update, calls = pack.members[7].update, []

    def nan_at_last(rows, noise):
        loss = update(rows, noise)
        calls.append(loss)
        return torch.tensor(float("nan")) if len(calls) > wanted else loss

    pack.members[7].update = nan_at_last
    with pytest.raises(DivergedError) as caught:
        train(pack, steps + 1, round=4)
    assert (caught.value.component, caught.value.round, caught.value.step) == (7, 4, wanted)


def test_an_infinite_sample_diverges(make_setting):
    pack = GeneratorPack(make_setting(), (3,))
    torch.nn.init.constant_(pack.members[3].raw_sigma, float("inf"))
    with pytest.raises(DivergedError, match="component 3: a sample"):
        pack.sample(3, 2, seed=0)


def test_many_samples_are_drawn_in_parts(make_setting, monkeypatch):
    pack = GeneratorPack(make_setting(), (0,))
    monkeypatch.setattr(generators, "SAMPLE_BATCH", 4)
    rows = pack.sample(0, 11, seed=0)
    assert rows.shape == (11, 2)
    assert len(np.unique(rows, axis=0)) == 11  # no part is drawn twice


def test_samples_come_back_in_data_units(make_setting):
    setting = make_setting()
    data = setting.config.data.model_copy(update={"offset": (10.0, -5.0), "scale": (2.0, 0.5)})
    setting = type(setting)(setting.config.model_copy(update={"data": data}), setting.spec, setting.device)
    pack = GeneratorPack(setting, (0,))
    scaled, rows = pack.sample(0, 9, seed=3), pack.sample_in_data_units(0, 9, seed=3)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, scaled / [2.0, 0.5] + [10.0, -5.0], rtol=1e-6)


def test_fakes_differ_by_round_and_component(make_setting):
    pack = GeneratorPack(make_setting(), (0, 1))
    pack.load(1, pack.state(0))
    fakes = [pack.fakes(k, 5, round) for k, round in ((0, 1), (0, 2), (1, 1))]
    assert len({rows.tobytes() for rows in fakes}) == 3
    assert pack.fakes(0, 5, 1).tobytes() == fakes[0].tobytes()


def test_a_centroid_is_the_mean_of_its_shard(make_setting):
    pack = GeneratorPack(make_setting(model=CENTROID), (0,))
    chosen = [np.arange(3, 20), np.arange(0, 20, 2)]
    rows = np.concatenate([block[rows] for block, rows in zip(BLOCKS, chosen, strict=True)]).astype(np.float64)
    (fit,) = train(pack, 9, shards={0: RowView(BLOCKS, chosen)})
    np.testing.assert_allclose(pack.state(0)["network/mu"], rows.mean(0), rtol=1e-14)
    assert fit.loss == pytest.approx(0.5 * np.square(rows - rows.mean(0)).sum(1).mean())
    assert pack.sample(0, 3, seed=0).tolist() == [pack.state(0)["network/mu"].tolist()] * 3


def test_a_centroid_scores_half_the_squared_distance_in_float64(make_setting):
    pack = GeneratorPack(make_setting(model=CENTROID), (0, 1))
    pack.initialise(BLOCKS)
    scores = pack.score(1, BLOCKS[0], pack.components)
    for k in (0, 1):
        expected = -0.5 * np.square(BLOCKS[0].astype(np.float64) - pack.state(k)["network/mu"]).sum(1)
        values, total = scores[k]
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, expected, rtol=1e-13)
        assert total == pytest.approx(logsumexp(expected))


def test_centroids_start_at_rows_of_the_data(make_setting):
    pack = GeneratorPack(make_setting(model=CENTROID), (0, 1, 2, 3))
    pack.initialise(BLOCKS)
    rows = np.concatenate(BLOCKS).astype(np.float64)
    starts = [pack.state(k)["network/mu"] for k in pack.components]
    found = {int(np.flatnonzero((rows == start).all(1))[0]) for start in starts}
    assert len(found) > 1


def test_centroids_start_where_they_are_told(make_setting):
    model = {"family": "centroid", "centres": ((1.0, 2.0), (3.0, 4.0))}
    pack = GeneratorPack(make_setting(model=model), (0, 1))
    pack.initialise(BLOCKS)
    assert [pack.state(k)["network/mu"].tolist() for k in (0, 1)] == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(ConfigError, match=r"model\.centres: no centre for component 2"):
        GeneratorPack(make_setting(model=model), (2,)).initialise(BLOCKS)


def test_centres_of_the_wrong_width_are_refused(make_setting):
    with pytest.raises(ConfigError, match=r"model\.centres: every centre needs 2 numbers"):
        make_setting(model={"family": "centroid", "centres": ((1.0,),)})
