"""Packs of generators: what members share (nothing), what is reported, what is refused."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from raymix.errors import ConfigError, DivergedError
from raymix.seeds import Phase, numpy_rng, phase_seed
from raymix.training import generators
from raymix.training.batches import Draws, RowView
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

    stack = GeneratorPack(setting, (1,)).stack_of(1)
    seed = phase_seed(setting.config.seed, 1, 1, Phase.TRAIN_GENERATOR)
    noise = setting.noise(seed)
    draws = Draws([EVERYTHING], [numpy_rng(seed)], setting.scaler(), 16, steps)
    losses = [stack.update(draws.batch(), noise)["bound"].item() for _ in range(steps)]
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


def assert_close(pack, other, k):
    """Two packs hold the same component within rounding; the largest difference was 5e-7 after 210 steps (5 seeds)."""
    for name, values in pack.state(k).items():
        np.testing.assert_allclose(values, other.state(k)[name], rtol=1e-4, atol=1e-5, err_msg=name)


STEPS = {0: 3, 2: 0, 4: 2 * generators.CHECK_EVERY + 5, 5: 3}


@pytest.mark.parametrize("fused", [True, False])
def test_members_train_as_many_steps_as_each_is_given(make_setting, fused):
    pack = GeneratorPack(make_setting(fused=fused), tuple(STEPS))
    before, told = bits(pack, 2), []
    fits = train(pack, STEPS, progress=told.append)
    assert [fit.component for fit in fits] == list(STEPS)
    assert [fit.steps for fit in fits] == list(STEPS.values())
    assert [np.isnan(fit.loss) for fit in fits] == [False, True, False, False]
    assert bits(pack, 2) == before
    assert [float(pack.state(k)["optimiser/adam/step"]) for k in STEPS] == list(STEPS.values())
    assert sum(told) == sum(STEPS.values())


@pytest.mark.parametrize("fused", [True, False])
def test_members_of_unequal_steps_get_what_each_gets_alone(make_setting, fused):
    setting = make_setting(fused=fused)
    pack = GeneratorPack(setting, tuple(STEPS))
    for round in (1, 2):
        fits = dict(zip(STEPS, train(pack, STEPS, round=round), strict=True))
    for k, num in STEPS.items():
        alone = GeneratorPack(setting, (k,))
        own = [train(alone, num, round=round)[0] for round in (1, 2)][-1]
        assert_close(pack, alone, k)
        assert fused or bits(pack, k) == bits(alone, k)
        assert own.loss == pytest.approx(fits[k].loss, rel=1e-5, nan_ok=True)


def test_a_member_that_has_finished_stays_as_it_is(make_setting):
    """It is bit for bit what it was when the last of its steps was also the pack's last."""
    longer, shorter = (GeneratorPack(make_setting(), (0, 1, 2)) for _ in range(2))
    train(longer, {0: 60, 1: 4, 2: 7})
    train(shorter, 4)
    assert bits(longer, 1) == bits(shorter, 1)


@pytest.mark.parametrize("asked", [(1,), (0, 2)])
def test_who_takes_no_part_stays_as_it_is(make_setting, asked):
    pack = GeneratorPack(make_setting(), (0, 1, 2))
    train(pack, 3)
    before = {k: bits(pack, k) for k in pack.components}
    train(pack, dict.fromkeys(asked, 5), round=2)
    assert [k for k in pack.components if bits(pack, k) != before[k]] == list(asked)


def test_an_empty_shard_trains_nothing(make_setting):
    for model in (None, CENTROID):
        pack = GeneratorPack(make_setting(model=model), (0,))
        before = bits(pack, 0)
        (fit,) = train(pack, 4, shards={0: RowView(BLOCKS, [np.arange(0), np.arange(0)])})
        assert fit.steps == 0 and np.isnan(fit.loss)
        assert bits(pack, 0) == before


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("steps", [1, 3, generators.CHECK_EVERY + 2])
def test_divergence_names_component_round_and_step(make_setting, monkeypatch, steps, fused):
    pack, calls = GeneratorPack(make_setting(fused=fused), (0, 7)), []
    wanted = steps - 1
    stack = pack.stack_of(7)
    update = stack.update

    def nan_at_last(rows, noise):
        terms = update(rows, noise)
        calls.append(terms)
        terms["kl"][stack.keys.index(7)] *= float("nan") if len(calls) > wanted else 1
        return terms

    monkeypatch.setattr(stack, "update", nan_at_last)
    with pytest.raises(DivergedError) as caught:
        train(pack, steps + 1, round=4)
    assert (caught.value.component, caught.value.round, caught.value.step) == (7, 4, wanted)
    assert caught.value.quantity == "the loss term kl"


@pytest.mark.parametrize("name", ["raw_sigma", "encoder.1.weight"])
def test_a_weight_that_is_not_finite_diverges(make_setting, monkeypatch, name):
    pack = GeneratorPack(make_setting(), (0, 3, 7))
    stack = pack.stack_of(3)
    update = stack.update

    def spoilt(rows, noise):
        terms = update(rows, noise)
        with torch.no_grad():
            stack.network.get_parameter(name)[stack.keys.index(3)] = float("inf")
        return {name: term_M.nan_to_num() for name, term_M in terms.items()}

    monkeypatch.setattr(stack, "update", spoilt)
    with pytest.raises(DivergedError, match="component 3: a gradient or weight is not finite in round 1 at step 4"):
        train(pack, 5)


def test_an_infinite_sample_diverges(make_setting):
    pack = GeneratorPack(make_setting(), (0, 3))
    with torch.no_grad():
        pack.stack_of(3).network.raw_sigma[1] = float("inf")
    assert np.isfinite(pack.sample(0, 2, seed=0)).all()
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
    fakes = [pack.fakes((0, 1), 5, round)[k] for k, round in ((0, 1), (0, 2), (1, 1))]
    assert len({rows.tobytes() for rows in fakes}) == 3
    assert pack.fakes((0, 1), 5, 1)[0].tobytes() == fakes[0].tobytes()


@pytest.mark.parametrize("fused", [True, False])
def test_fakes_are_the_samples_of_each_component_at_its_own_seed(make_setting, fused):
    pack = GeneratorPack(make_setting(fused=fused), (0, 2, 5))
    train(pack, 3)
    fakes = pack.fakes((2, 5), generators.SAMPLE_BATCH + 3, 4)
    assert list(fakes) == [2, 5]
    for k, rows in fakes.items():
        alone = pack.sample(k, generators.SAMPLE_BATCH + 3, phase_seed(0, 4, k, Phase.SAMPLE_FAKES))
        np.testing.assert_allclose(rows, alone, rtol=1e-5, atol=1e-6)
        assert fused or rows.tobytes() == alone.tobytes()


def test_samples_come_in_the_order_that_was_asked_for(make_setting):
    pack = GeneratorPack(make_setting(), (0, 2, 5))
    assert list(pack.fakes((5, 0), 3, 1)) == [5, 0]
    own = {k: rows.tobytes() for k, rows in pack.fakes((0, 5), 3, 1).items()}
    assert {k: rows.tobytes() for k, rows in pack.fakes((5, 0), 3, 1).items()} == own


@pytest.mark.parametrize(("most", "groups"), [(100, [(4, 0, 2)]), (2, [(4, 0), (2,)]), (0.5, [(4,), (0,), (2,)])])
def test_components_are_sampled_in_groups_within_bounds(make_setting, monkeypatch, most, groups):
    pack = GeneratorPack(make_setting(), (0, 2, 4))
    monkeypatch.setattr(generators, "SAMPLES_BYTES", int(most * 30 * 8))  # of thirty rows of two columns
    assert pack.groups((4, 0, 2), 30) == groups
    assert pack.groups((4, 0, 2), 0) == [(4, 0, 2)] or most < 1


@pytest.mark.parametrize("fused", [True, False])
def test_a_slowed_component_moves_half_as_far_for_good(make_setting, fused):
    pack, slowed = (GeneratorPack(make_setting(fused=fused), (0, 2)) for _ in range(2))
    before = {k: pack.state(k) for k in pack.components}
    slowed.slow(2)
    for each in (pack, slowed):
        train(each, 1)
    for k, factor in ((0, 1), (2, 0.5)):
        for name in (name for name in before[k] if name.startswith("network/")):
            moved, other = (each.state(k)[name] - before[k][name] for each in (pack, slowed))
            np.testing.assert_allclose(other, factor * moved, rtol=1e-3, atol=1e-6, err_msg=name)
    train(slowed, 2, round=2)
    rates = [float(slowed.state(k)["optimiser/adam/learning_rate"]) for k in slowed.components]
    assert rates == [0.005, 0.0025]


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
    log_ratios = pack.score(1, BLOCKS[0], pack.components)
    for k in (0, 1):
        expected = -0.5 * np.square(BLOCKS[0].astype(np.float64) - pack.state(k)["network/mu"]).sum(1)
        values, total = log_ratios[k]
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
