"""Steps that are replayed against steps that are made one after another: on the CPU by a tape in a graph's place, where
both have the same bits."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from raymix.errors import ConfigError, DivergedError
from raymix.models.base import Bounds, ClosedForm
from raymix.models.registry import FAMILIES
from raymix.models.vae import VAE
from raymix.seeds import Phase
from raymix.training import replay
from raymix.training.ahead import AHEAD
from raymix.training.batches import RowView
from raymix.training.discriminators import DiscriminatorPack
from raymix.training.replay import Replays
from raymix.training.setting import Setting
from tests.models.test_families import COMPONENTS, SHAPES, Bench, same
from tests.training import test_discriminators as judges
from tests.training.tape import Tape

UNEQUAL = {0: 12, 3: 7, 4: 14}  # so that members leave while others go on
DIFFERENT = [("vae", "vector"), ("vae", "small image"), ("gan", "vector"), ("dcgan", "small image")]
DIFFERENT += [("sn-dcgan", "small image")]
STEPPING = [name for name, family in FAMILIES.items() if not issubclass(family.build, ClosedForm)]


def with_tape(patch, captures=True):
    """Let every stack's steps be replayed from tapes, or none."""
    graph = Tape if captures else None
    patch.setattr(Setting, "replays", lambda self, workers: Replays(graph if workers == 1 else None, exact=True))


@pytest.fixture
def told(monkeypatch):
    """What is said about work that is not replayed."""
    said = []
    monkeypatch.setattr(replay.log, "warning", lambda text, *values: said.append(text % values))
    return said


def trained(bench, rounds, steps=UNEQUAL, between=lambda pack: None):
    """A pack after some rounds, with what each round gave."""
    pack, given = bench.pack(), []
    for round in rounds:
        shards = {k: RowView(bench.blocks, [np.arange(k, 15), np.arange(10 + k)]) for k in COMPONENTS}
        fits = pack.train(Phase.TRAIN_GENERATOR, round, shards, steps)
        drawn = [pack.samples(COMPONENTS, 5, [i, 2, 3], round) for i in range(4)]
        given.append((fits, [{k: rows.tobytes() for k, rows in each.items()} for each in drawn]))
        between(pack)
    return pack, given


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        pytest.param(family, shape, marks=[] if (family, shape) in DIFFERENT else pytest.mark.slow)
        for family in STEPPING
        for shape in SHAPES
    ],
)
def test_replayed_rounds_have_the_bits_of_eager_ones(family, shape, monkeypatch, told):
    try:
        bench = Bench(family, shape)
    except ConfigError as error:
        pytest.skip(str(error))
    with_tape(monkeypatch, False)
    eager, given = trained(bench, (1, 2))
    with_tape(monkeypatch)
    updates = Counter()
    update = FAMILIES[family].build.update
    monkeypatch.setattr(FAMILIES[family].build, "update", lambda *args: updates.update("u") or update(*args))
    replayed, given_too = trained(bench, (1, 2))
    assert given_too == given
    for k in COMPONENTS:
        same(replayed.state(k), eager.state(k))
    assert not told
    assert updates.total() < 2 * max(UNEQUAL.values())  # the rest are replays


def test_score_of_bounds_is_replayed_over_blocks(monkeypatch, told):
    bench = Bench("vae", "small image")
    rows = np.random.default_rng(1).random((6 * 341 + 5, *bench.row_shape)).astype(np.float32)  # 1024 // 3 in a batch
    found = []
    for captures in (False, True):
        with_tape(monkeypatch, captures)
        pack = bench.pack()
        bench.train(pack)
        assert isinstance(pack.stacks[0].network, Bounds)
        found.append([pack.score(round, rows, COMPONENTS) for round in (1, 2)])
    for eager, replayed in zip(*found, strict=True):
        for k in COMPONENTS:
            np.testing.assert_array_equal(replayed[k][0], eager[k][0])
    assert found[1][0][0][1] != found[1][1][0][1]  # each round has noise of its own
    assert not told


@pytest.mark.parametrize("trunk", ["separate", "shared"])
@pytest.mark.parametrize("restart", [False, True])
def test_guards_stop_replayed_discriminators_where_they_stop_eager_ones(
    make_setting, monkeypatch, told, trunk, restart
):
    settings = judges.QUICK | {"epochs": 20.0, "learning_rate": 0.02, "guard_loss": 0.4, "restart": restart}
    fakes = {k: judges.normal(k, 300, mean=3.0 + 9 * k) for k in (0, 1, 2)}
    found = []
    for captures in (False, True):
        with_tape(monkeypatch, captures)
        pack = DiscriminatorPack(make_setting(trunk=trunk, **settings), (0, 1, 2))
        fits = [pack.train(round, judges.BLOCKS, fakes) for round in (1, 2)]
        found.append((pack, fits, pack.score(2, judges.BLOCKS[1], (0, 1, 2))))
    (eager, fits, scores), (replayed, fits_too, scores_too) = found
    assert fits_too == fits
    assert judges.same(replayed.states(), eager.states())
    assert all(scores[k][0].tobytes() == scores_too[k][0].tobytes() for k in scores)
    assert not told
    steps = {fit.steps for fit in fits[0]}
    assert max(steps) < 200 and any(num % AHEAD for num in steps)
    assert trunk == "shared" or len(steps) > 1  # some went on without others


@pytest.mark.parametrize("change", ["slow", "load"])
def test_a_member_that_was_changed_between_rounds_is_followed(monkeypatch, told, change):
    def between(pack):
        if change == "slow":
            pack.slow(3)
        else:
            pack.load(3, pack.state(0))

    bench, found = Bench("vae", "vector"), []
    for captures in (False, True):
        with_tape(monkeypatch, captures)
        found.append(trained(bench, (1, 2, 3), dict.fromkeys(COMPONENTS, 9), between))
    assert found[0][1] == found[1][1] and not told


def test_graphs_do_not_become_more_with_the_rounds(monkeypatch):
    with_tape(monkeypatch)
    made = []
    init = Tape.__init__
    monkeypatch.setattr(Tape, "__init__", lambda self, work: made.append(1) or init(self, work))
    bench, counts = Bench("vae", "vector"), []
    pack, _ = trained(bench, range(1, 6), dict.fromkeys(COMPONENTS, 8), lambda pack: counts.append(len(made)))
    assert counts[1:] == [counts[1]] * 4
    assert len(pack.stacks[0].replays._kept) == 2  # steps and samples


def poisoned(monkeypatch, change):
    """A VAE whose update begins with a `change` of itself."""
    update = VAE.update

    def changed(network, rows, noise):
        change(network)
        return update(network, rows, noise)

    monkeypatch.setattr(VAE, "update", changed)


def grown(network):
    """Python's own count, which a replay does not see."""
    network.count = getattr(network, "count", 0) + 1
    with torch.no_grad():
        network.posterior.bias.add_(0.1 * network.count)


def looked_at(network):
    """A number is read, and waited for."""
    with torch.no_grad():
        network.posterior.bias.add_(0.01 * network.posterior.bias.mean().item())


@pytest.mark.parametrize(("change", "why"), [(grown, "a replay differs"), (looked_at, "not permitted")])
def test_what_cannot_be_replayed_is_made_eagerly_and_told_once(monkeypatch, told, change, why):
    poisoned(monkeypatch, change)
    bench, found = Bench("vae", "vector"), []
    for captures in (False, True):
        with_tape(monkeypatch, captures)
        found.append(trained(bench, (1, 2), dict.fromkeys(COMPONENTS, 9)))
    assert len(told) == 1 and why in told[0]
    if change is looked_at:  # `grown` counts the proofs, too
        assert found[0][1] == found[1][1]


def test_noise_in_another_order_is_told(monkeypatch, told):
    calls = iter(range(100))
    terms = VAE.terms
    monkeypatch.setattr(
        VAE, "terms", lambda self, rows, noise: (next(calls) > 1 and noise.normal(2), terms(self, rows, noise))[1]
    )
    with_tape(monkeypatch)
    trained(Bench("vae", "vector"), (1,), dict.fromkeys(COMPONENTS, 5))
    assert "another order" in told[0]


@pytest.mark.parametrize("family", ["vae", "dcgan"])
def test_steps_in_bfloat16_are_replayed_and_leave_weights_in_float32(family, monkeypatch, told):
    bench, found = Bench(family, "small image"), {}
    for precision, captures in (("float32", False), ("bfloat16", False), ("bfloat16", True)):
        with_tape(monkeypatch, captures)
        resources = bench.setting.config.resources.model_copy(update={"precision": precision})
        bench.setting = replace(bench.setting, config=bench.setting.config.model_copy(update={"resources": resources}))
        pack, given = trained(bench, (1,), dict.fromkeys(COMPONENTS, 9))
        found[precision, captures] = given, {k: pack.state(k) for k in COMPONENTS}
    exact, rounded, replayed = found.values()
    assert rounded[0] == replayed[0] and not told
    for k in COMPONENTS:
        same(rounded[1][k], replayed[1][k])
        assert {name: value.dtype for name, value in rounded[1][k].items()} == {
            name: value.dtype for name, value in exact[1][k].items()
        }
    losses = [[fit.loss for fit in each[0][0][0]] for each in (exact, rounded)]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.parametrize("captures", [False, True])
def test_a_member_alone_may_sample_before_it_trains(captures, monkeypatch, told):
    with_tape(monkeypatch, captures)
    bench = Bench("vae", "vector")
    pack = bench.pack((3,))
    for i in range(4):
        pack.sample(3, 5, seed=i)
    bench.train(pack, steps=6)
    assert not told


@pytest.mark.parametrize("family", ["gan", "dcgan"])
def test_a_gradient_penalty_may_be_in_bfloat16(family, monkeypatch):
    bench = Bench(family, "small image")
    config = bench.setting.config
    resources = config.resources.model_copy(update={"precision": "bfloat16"})
    model = config.model.model_copy(update={"loss": "wgan-gp"})
    bench.setting = replace(bench.setting, config=config.model_copy(update={"resources": resources, "model": model}))
    assert all(np.isfinite(fit.loss) for fit in bench.train(bench.pack()))


def test_a_step_that_diverges_while_it_is_proven_is_named(monkeypatch, told):
    with_tape(monkeypatch)
    bench = Bench("vae", "vector")
    pack = bench.pack()
    pack.stack_of(0).network.posterior.bias.data.fill_(float("inf"))
    with pytest.raises(DivergedError):
        bench.train(pack, steps=9)
    assert not told
