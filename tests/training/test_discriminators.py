"""Log ratios against the densities of Gaussians; loss, guard, restart, packs.

Tolerance of the log ratios: with the settings of `FIT` the root mean square error over the middle of the data was 0.05
to 0.11 nats in the mean and 0.20 at most (8 seeds, each component; 1-D and 2-D, separate and shared, 1,000 and 4,000
fakes). A turned sign, half the true slope or an uncorrected 4 : 1 imbalance (log 4 nats) give more than 0.28 for
components 0 and 1.
"""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from raymix.errors import TRUNK, DivergedError
from raymix.models.discriminators import discriminator_loss
from raymix.training import discriminators
from raymix.training.discriminators import REPORT_EVERY, SMOOTHING, DiscriminatorPack, descend
from raymix.training.teams import Alone

NUM_REAL = 4_000
TOLERANCE_NATS = 0.25
FIT = {"widths": (16,), "epochs": 16.0, "batch_size": 256, "learning_rate": 0.005, "guard_loss": 0.0}
QUICK = {"widths": (8,), "epochs": 1.0, "batch_size": 16, "guard_loss": 0.0}
# Mean and standard deviation of each component; the data are standard normal.
COMPONENTS = {0: (0.7, 1.0), 1: (-0.5, 0.8), 2: (0.0, 1.25)}


def normal(seed, num, columns=2, mean=0.0, sd=1.0):
    return np.random.default_rng(seed).normal(mean, sd, (num, columns)).astype(np.float32)


def fakes_of(components, num=300, columns=2):
    return {k: normal(100 + k, num, columns, *COMPONENTS[k]) for k in components}


BLOCKS = [normal(1, 100), normal(2, 60)]


def same(a, b):
    """Equal states of all networks, bit for bit."""
    assert a.keys() == b.keys()
    for network in a:
        assert a[network].keys() == b[network].keys()
        assert all(a[network][name].tobytes() == b[network][name].tobytes() for name in a[network])
    return True


def differ(a, b):
    return any(a[network][name].tobytes() != b[network][name].tobytes() for network in a for name in a[network])


@pytest.mark.parametrize("trunk", ["separate", "shared"])
@pytest.mark.parametrize(("columns", "num_fakes"), [(1, NUM_REAL), (1, NUM_REAL // 4), (2, NUM_REAL // 4)])
def test_log_ratios_are_those_of_the_densities(make_setting, trunk, columns, num_fakes):
    pack = DiscriminatorPack(make_setting(columns=columns, trunk=trunk, **FIT), tuple(COMPONENTS))
    real = normal(1, NUM_REAL, columns)
    pack.train(1, [real[:1000], real[1000:]], fakes_of(COMPONENTS, num_fakes, columns))
    rows = normal(3, 1000, columns)
    rows = rows[(np.abs(rows) < 1.5).all(1)]  # where all have mass
    log_ratios = pack.score(1, rows, pack.components)
    for k, (mean, sd) in COMPONENTS.items():
        truth = (norm.logpdf(rows, mean, sd) - norm.logpdf(rows)).sum(1)
        assert np.sqrt(np.mean((log_ratios[k][0] - truth) ** 2)) < TOLERANCE_NATS


@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_scores_are_minus_the_logits_with_their_log_sum_exp(make_setting, trunk):
    pack = DiscriminatorPack(make_setting(trunk=trunk, **QUICK), (2, 5, 9))
    log_ratios = pack.score(0, BLOCKS[0], pack.components)
    assert list(log_ratios) == [2, 5, 9]
    (stack,) = pack.stacks
    members = len(stack.keys)
    with torch.inference_mode():
        logits = stack.stack.network(torch.from_numpy(BLOCKS[0]).expand(members, 100, 2))  # (M, 100, H)
    for i, k in enumerate(log_ratios):
        values, total = log_ratios[k]
        own = logits[0, :, i] if trunk == "shared" else logits[i, :, 0]
        assert values.dtype == np.float32 and values.shape == (100,)
        np.testing.assert_array_equal(values, -own.numpy())
        assert total == pytest.approx(logsumexp(values.astype(np.float64)), rel=1e-12)


@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_scoring_in_bfloat16_rounds_log_ratios_and_nothing_else(make_setting, trunk):
    setting = make_setting(trunk=trunk, **QUICK)
    resources = setting.config.resources.model_copy(update={"score_precision": "bfloat16"})
    coarse = replace(setting, config=setting.config.model_copy(update={"resources": resources}))
    packs = [DiscriminatorPack(each, (0, 1)) for each in (setting, coarse)]
    for pack in packs:
        pack.train(1, BLOCKS, fakes_of((0, 1)))
    assert same(packs[0].states(), packs[1].states())
    exact, rounded = (np.stack([pack.score(1, BLOCKS[0], (0, 1))[k][0] for k in (0, 1)]) for pack in packs)
    assert rounded.dtype == np.float32
    # bfloat16 keeps 8 bits: 2^-8 of the values that are summed, in each of three layers
    assert 0 < np.abs(rounded - exact).max() < 3 * 2**-8 * max(1.0, np.abs(exact).max())


@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_scoring_uses_running_statistics_so_rows_do_not_see_each_other(make_setting, trunk):
    pack = DiscriminatorPack(make_setting(trunk=trunk, **QUICK, batch_norm=True), (0, 1))
    pack.train(1, BLOCKS, fakes_of((0, 1)))
    before = pack.states()
    whole, part = pack.score(1, BLOCKS[0], pack.components), pack.score(1, BLOCKS[0][:7], pack.components)
    for k in (0, 1):
        np.testing.assert_allclose(part[k][0], whole[k][0][:7], rtol=1e-4, atol=1e-5)
    assert same(pack.states(), before)


@pytest.fixture
def watched(monkeypatch):
    """(real rows, fakes, losses) of each step."""
    seen = []

    def watching(network, real, fake, heads, team):
        seen.append((real, fake, descend(network, real, fake, heads, team)))
        return seen[-1][2]

    monkeypatch.setattr(discriminators, "descend", watching)
    return seen


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_fit_holds_steps_and_the_smoothed_loss_of_each_head(make_setting, watched, trunk, fused):
    pack, told = DiscriminatorPack(make_setting(trunk=trunk, fused=fused, **QUICK), (0, 1)), []
    fits = pack.train(1, BLOCKS, fakes_of((0, 1)), told.append)
    losses = [loss.flatten().double().numpy() for _, _, loss in watched]
    losses = np.stack(losses) if len(losses) == 10 else np.reshape(losses, (2, 10)).T  # (steps, components)
    smooth = losses[0]
    for loss in losses[1:]:
        smooth = SMOOTHING * smooth + (1 - SMOOTHING) * loss
    assert [fit.component for fit in fits] == [0, 1]
    assert [fit.steps for fit in fits] == [10, 10]  # one epoch of 160 rows in batches of 16
    np.testing.assert_allclose([fit.loss for fit in fits], smooth, rtol=1e-9)
    assert sum(told) <= 10 < REPORT_EVERY


@pytest.mark.parametrize("heads", [(0, 1, 2), (0, 2), (1,)])
@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_each_head_is_judged_by_its_own_fakes(make_setting, trunk, heads):
    """Head h is paired with the fakes of its own component, in order."""
    (stack,) = DiscriminatorPack(make_setting(trunk=trunk, **QUICK), heads if trunk == "separate" else (0, 1, 2)).stacks
    members = len(stack.keys)
    real = torch.from_numpy(normal(4, members * 12)).view(members, 12, 2)
    fake = torch.from_numpy(normal(5, 2 * len(heads))).view(members, -1, 2)
    with torch.no_grad():
        real_logits, fake_logits = stack.stack.network(real), stack.stack.network(fake)
    pairs = [(0, h, 2 * i) for i, h in enumerate(heads)] if trunk == "shared" else [(m, 0, 0) for m in range(members)]
    expected = [
        discriminator_loss(real_logits[m : m + 1, :, h : h + 1], fake_logits[m : m + 1, i : i + 2, h : h + 1]).item()
        for m, h, i in pairs
    ]
    losses = descend(stack.stack.network, real, fake, heads if trunk == "shared" else [0], Alone(1))
    assert losses.shape == ((1, len(heads)) if trunk == "shared" else (members, 1))
    np.testing.assert_allclose(losses.flatten().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_a_step_lowers_the_mean_over_heads(make_setting, trunk):
    """The gradient of one head of three is a third in a shared trunk, and whole in a discriminator of its own."""
    setting = make_setting(trunk=trunk, **QUICK, optimiser="sgd", learning_rate=0.1)
    (stack,) = DiscriminatorPack(setting, (0, 1, 2)).stacks
    network, members = stack.stack.network, len(stack.keys)
    real, fake = torch.zeros(members, 5, 2), torch.zeros(members, 6, 2)
    before = network.heads.bias.detach().clone()
    with torch.no_grad():
        logits = network(real[:, :1]).flatten()  # of each head, the same for real and fake rows
    descend(network, real, fake, range(3) if trunk == "shared" else [0], Alone(1))
    by_logit = 0.5 * (torch.sigmoid(logits) - torch.sigmoid(-logits)) / (3 if trunk == "shared" else 1)
    moved = (network.heads.bias.detach() - before).flatten()
    np.testing.assert_allclose(moved.numpy(), (-0.1 * by_logit).numpy(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_fakes_are_drawn_from_each_component_in_its_place(make_setting, watched, trunk):
    pack = DiscriminatorPack(make_setting(trunk=trunk, **QUICK), (1, 3, 4))
    fakes = {k: np.full((4, 2), k, np.float64) for k in (4, 1)}  # families may work in float64
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits = pack.train(0, BLOCKS, fakes)
    assert [fit.component for fit in fits] == [1, 4]
    for _, fake, _ in watched:
        assert fake.dtype == torch.float32
        drawn = fake[..., 0].tolist()
        assert drawn == ([[1.0] * 5 + [4.0] * 5] if trunk == "shared" else [[1.0] * 16, [4.0] * 16])


@pytest.mark.parametrize(("trunk", "per_component"), [("separate", 16), ("shared", 5)])
def test_a_batch_holds_as_many_fakes_in_all_as_real_rows(make_setting, watched, trunk, per_component):
    pack = DiscriminatorPack(make_setting(trunk=trunk, **QUICK), (0, 1, 2))
    pack.train(1, BLOCKS, fakes_of((0, 1, 2)))
    shapes = ((1, 16, 2), (1, 3 * per_component, 2)) if trunk == "shared" else ((3, 16, 2), (3, per_component, 2))
    assert {(tuple(real.shape), tuple(fake.shape)) for real, fake, _ in watched} == {shapes}


@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_loss_stays_at_chance_when_the_fakes_are_the_data(make_setting, trunk):
    settings = QUICK | {"epochs": 5.0, "batch_size": 64}
    pack = DiscriminatorPack(make_setting(trunk=trunk, **settings), (0, 1))
    real = normal(1, 2000)
    fits = pack.train(1, [real], {0: normal(7, 2000), 1: normal(8, 2000)})
    assert [fit.loss for fit in fits] == pytest.approx([math.log(2)] * 2, abs=0.05)


@pytest.mark.parametrize("trunk", ["separate", "shared"])
@pytest.mark.parametrize("guard_steps", [20, 60])
def test_guard_stops_early_but_not_before_its_steps(make_setting, trunk, guard_steps):
    far = {k: normal(k, 300, mean=30.0) for k in (0, 1)}
    discriminator = {**QUICK, "epochs": 20.0, "learning_rate": 0.02}
    guarded = discriminator | {"guard_loss": 0.3, "guard_steps": guard_steps}
    fits = DiscriminatorPack(make_setting(trunk=trunk, **guarded), (0, 1)).train(1, BLOCKS, far)
    for fit in fits:
        assert guard_steps <= fit.steps < 200
        assert fit.loss < 0.31
    unguarded = DiscriminatorPack(make_setting(trunk=trunk, **discriminator), (0, 1)).train(1, BLOCKS, far)
    assert [fit.steps for fit in unguarded] == [200, 200]


def test_guard_of_a_shared_trunk_looks_at_the_mean_over_heads(make_setting):
    discriminator = {**QUICK, "epochs": 10.0, "learning_rate": 0.02, "guard_loss": 0.3, "trunk": "shared"}
    mixed = {0: normal(0, 300, mean=30.0), 1: normal(9, 300)}  # one told apart at once, one not at all
    fits = DiscriminatorPack(make_setting(**discriminator), (0, 1)).train(1, BLOCKS, mixed)
    assert fits[0].loss < 0.3 < fits[1].loss
    assert [fit.steps for fit in fits] == [100, 100]


@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_restart_forgets_the_rounds_before(make_setting, trunk):
    setting = make_setting(trunk=trunk, **QUICK, restart=True)
    used, fresh = DiscriminatorPack(setting, (0, 1)), DiscriminatorPack(setting, (0, 1))
    for round in (0, 1):
        used.train(round, BLOCKS, fakes_of((0, 1)))
    assert used.train(2, BLOCKS, fakes_of((0, 1))) == fresh.train(2, BLOCKS, fakes_of((0, 1)))
    assert same(used.states(), fresh.states())


@pytest.mark.parametrize("trunk", ["separate", "shared"])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_warm_start_goes_on_from_the_round_before(make_setting, trunk, optimiser):
    setting = make_setting(trunk=trunk, **QUICK, restart=False, optimiser=optimiser)
    used, fresh, loaded = (DiscriminatorPack(setting, (0, 1)) for _ in range(3))
    used.train(1, BLOCKS, fakes_of((0, 1)))
    loaded.load(used.states())
    assert used.train(2, BLOCKS, fakes_of((0, 1))) == loaded.train(2, BLOCKS, fakes_of((0, 1)))
    assert same(used.states(), loaded.states())
    fresh.train(2, BLOCKS, fakes_of((0, 1)))
    assert differ(used.states(), fresh.states())


@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_rounds_train_from_their_own_seed(make_setting, trunk):
    setting = make_setting(trunk=trunk, **QUICK)
    packs = [DiscriminatorPack(setting, (0, 1)) for _ in range(3)]
    for pack, round in zip(packs, (1, 1, 2), strict=True):
        pack.train(round, BLOCKS, fakes_of((0, 1)))
    assert same(packs[0].states(), packs[1].states())
    assert differ(packs[0].states(), packs[2].states())


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_separate_discriminator_does_not_depend_on_its_pack(make_setting, fused, optimiser, batch_norm):
    """Within rounding: the largest difference was 3e-7 after 50 steps (5 seeds)."""
    discriminator = QUICK | {"epochs": 5.0, "optimiser": optimiser, "batch_norm": batch_norm}
    setting = make_setting(fused=fused, **discriminator)
    pack = DiscriminatorPack(setting, (0, 1, 2))
    fits, log_ratios = pack.train(1, BLOCKS, fakes_of((0, 1, 2))), pack.score(1, BLOCKS[0], pack.components)
    for fit, k in zip(fits, (0, 1, 2), strict=True):
        alone = DiscriminatorPack(setting, (k,))
        (own,) = alone.train(1, BLOCKS, fakes_of((k,)))
        own_log_ratios = alone.score(1, BLOCKS[0], alone.components)
        assert own.steps == fit.steps == 50
        assert own.loss == pytest.approx(fit.loss, rel=1e-5)
        assert_close(alone.states(), {name: pack.states()[name] for name in alone.names})
        np.testing.assert_allclose(own_log_ratios[k][0], log_ratios[k][0], rtol=1e-4, atol=1e-5)
        if not fused:
            assert same(alone.states(), {name: pack.states()[name] for name in alone.names})
            assert own == fit and own_log_ratios[k][0].tobytes() == log_ratios[k][0].tobytes()


def assert_close(a, b):
    """Equal names of networks and tensors, and numbers within rounding."""
    assert a.keys() == b.keys()
    for network in a:
        assert a[network].keys() == b[network].keys()
        for name, values in a[network].items():
            np.testing.assert_allclose(values, b[network][name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("pack", [1, 2, 3])
def test_a_shared_trunk_is_the_same_however_generators_are_packed(make_setting, pack):
    setting = make_setting(trunk="shared", num=3, **QUICK)
    resources = setting.config.resources.model_copy(update={"pack": pack, "fused": False})
    other = replace(setting, config=setting.config.model_copy(update={"resources": resources}))
    packs = [DiscriminatorPack(each, (0, 1, 2)) for each in (setting, other)]
    fits = [each.train(1, BLOCKS, fakes_of((0, 1, 2))) for each in packs]
    assert fits[0] == fits[1] and same(packs[0].states(), packs[1].states())


def test_separate_discriminators_are_stacked_as_the_config_packs_them(make_setting):
    setting = make_setting(num=5, **QUICK)
    config = setting.config.model_copy(update={"resources": setting.config.resources.model_copy(update={"pack": 2})})
    pack = DiscriminatorPack(replace(setting, config=config), (0, 1, 3, 4))
    assert [stack.components for stack in pack.stacks] == [(0,), (1,), (3, 4)]
    fits = pack.train(1, BLOCKS, {k: normal(k, 50) for k in (0, 3, 4)})
    assert [fit.component for fit in fits] == [0, 3, 4]
    assert list(pack.score(1, BLOCKS[0], (0, 4))) == [0, 4]


@pytest.mark.parametrize("trunk", ["separate", "shared"])
@pytest.mark.parametrize("restart", [False, True])
def test_who_has_no_fakes_stays_as_it_is(make_setting, trunk, restart):
    pack = DiscriminatorPack(make_setting(trunk=trunk, restart=restart, **QUICK), (0, 1, 2))
    pack.train(1, BLOCKS, fakes_of((0, 1, 2)))
    before = pack.states()
    fits = pack.train(2, BLOCKS, fakes_of((0, 2)))
    assert [fit.component for fit in fits] == [0, 2]
    after = pack.states()
    if trunk == "separate":
        idle = pack.names[1]
        assert same({idle: before[idle]}, {idle: after[idle]})
        assert all(differ({name: before[name]}, {name: after[name]}) for name in (pack.names[0], pack.names[2]))


def rates(pack):
    return [float(pack.states()[name]["optimiser/adam/learning_rate"]) for name in pack.names]


@pytest.mark.parametrize("restart", [False, True])
def test_one_separate_discriminator_is_slowed(make_setting, restart):
    setting = make_setting(restart=restart, **QUICK, learning_rate=0.01)
    pack, as_ever = (DiscriminatorPack(setting, (0, 1, 2)) for _ in range(2))
    pack.slow(1, 1)
    assert rates(pack) == [0.01, 0.005, 0.01]
    for each in (pack, as_ever):
        each.train(1, BLOCKS, fakes_of((0, 1, 2)))
    assert rates(pack) == [0.01, 0.005, 0.01]
    for k, name in enumerate(pack.names):
        one, other = ({name: each.states()[name]} for each in (pack, as_ever))
        assert differ(one, other) if k == 1 else assert_close(one, other) is None
    pack.train(2, BLOCKS, fakes_of((0, 1, 2)))
    assert rates(pack) == [0.01, 0.01 if restart else 0.005, 0.01]  # of the round that failed, or for good


@pytest.mark.parametrize(("component", "trunk"), [(TRUNK, "shared"), (1, "shared"), (TRUNK, "separate")])
def test_what_all_share_is_slowed_for_all(make_setting, component, trunk):
    pack = DiscriminatorPack(make_setting(trunk=trunk, **QUICK, learning_rate=0.01), (0, 1))
    pack.slow(component, 1)
    pack.slow(component, 1)
    assert set(rates(pack)) == {0.0025}


def test_only_those_who_trained_are_looked_at(make_setting):
    pack = DiscriminatorPack(make_setting(**QUICK, restart=False), (0, 1, 2))
    with torch.no_grad():
        pack.stacks[0].stack.network.heads.bias[1] = float("inf")
    assert [fit.component for fit in pack.train(1, BLOCKS, fakes_of((0, 2)))] == [0, 2]


@pytest.mark.parametrize("fused", [True, False])
def test_guard_stops_one_separate_discriminator_while_the_others_go_on(make_setting, fused):
    discriminator = {**QUICK, "epochs": 10.0, "learning_rate": 0.02, "guard_loss": 0.3, "guard_steps": 20}
    setting = make_setting(fused=fused, **discriminator)
    fakes = {0: normal(0, 300, mean=30.0), 1: normal(9, 300), 2: normal(2, 300, mean=8.0), 3: normal(8, 300)}
    pack = DiscriminatorPack(setting, tuple(fakes))
    fits = pack.train(1, BLOCKS, fakes)
    steps = [fit.steps for fit in fits]
    assert 20 <= steps[2] < steps[0] < steps[1] == steps[3] == 100
    for fit, k, name in zip(fits, fakes, pack.names, strict=True):
        alone = DiscriminatorPack(setting, (k,))
        (own,) = alone.train(1, BLOCKS, {k: fakes[k]})
        assert own.steps == fit.steps == pack.states()[name]["optimiser/adam/step"]
        assert own.loss == pytest.approx(fit.loss, rel=1e-5)
        assert_close(alone.states(), {name: pack.states()[name]})
        assert fused or same(alone.states(), {name: pack.states()[name]})


def test_separate_discriminators_differ_and_see_other_batches(make_setting):
    setting, fakes = make_setting(**QUICK, restart=False), fakes_of((0,))[0]
    pack = DiscriminatorPack(setting, (0, 1))
    first, second = (pack.states()[name]["network/heads.weight"] for name in pack.names)
    assert (first != second).any()
    pack.load(dict.fromkeys(pack.names, pack.states()[pack.names[0]]))
    first, second = (pack.states()[name]["network/heads.weight"] for name in pack.names)
    assert (first == second).all()
    pack.train(0, BLOCKS, dict.fromkeys((0, 1), fakes))
    first, second = (pack.states()[name]["network/heads.weight"] for name in pack.names)
    assert (first != second).any()


def test_training_does_not_depend_on_the_cut_into_blocks(make_setting):
    whole, parts = (DiscriminatorPack(make_setting(**QUICK), (0,)) for _ in range(2))
    whole.train(1, [np.concatenate(BLOCKS)], fakes_of((0,)))
    parts.train(1, [*np.split(BLOCKS[0], 4), BLOCKS[1]], fakes_of((0,)))
    assert same(whole.states(), parts.states())


def test_discriminators_are_one_each_or_one_for_all(make_setting):
    separate = DiscriminatorPack(make_setting(**QUICK), (1, 4))
    assert separate.names == ["discriminator-00001.safetensors", "discriminator-00004.safetensors"]
    shared = DiscriminatorPack(make_setting(trunk="shared", **QUICK), (1, 4))
    assert shared.names == ["trunk.safetensors"]
    assert shared.states()["trunk.safetensors"]["network/heads.weight"].shape == (8, 2)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_divergence_names_the_component(make_setting, trunk, fused):
    fakes = fakes_of((0, 1))
    fakes[1][:] = np.nan
    pack = DiscriminatorPack(make_setting(trunk=trunk, fused=fused, **QUICK), (0, 1))
    with pytest.raises(DivergedError) as caught:
        pack.train(3, BLOCKS, fakes)
    assert (caught.value.component, caught.value.round, caught.value.step) == (1, 3, 0)


def test_a_log_ratio_that_is_not_finite_diverges(make_setting):
    pack = DiscriminatorPack(make_setting(**QUICK), (0, 1))
    with torch.no_grad():
        pack.stacks[0].stack.network.heads.bias[1] = float("inf")
    with pytest.raises(DivergedError, match="component 1: a log ratio is not finite in round 2"):
        pack.score(2, BLOCKS[0], pack.components)
