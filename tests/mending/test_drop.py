"""Under `drop` a component competes no longer and its rows are the others'."""

import numpy as np
import pytest

from raymix.config import AssignConfig, BalanceConfig, Config, DiscriminatorConfig, ScheduleConfig
from raymix.config_values import replaced
from raymix.families.centroid import CentroidConfig
from raymix.mixture import Mixture
from raymix.runs.failures import Action

JUDGED = ["discriminator logit", "discriminator loss", "log ratio"]
PLACES = ["batch", "generator loss", "generator gradient", "sample", *JUDGED]


def assert_dropped(run, since=2):
    """From a round on components 0 and 2 own every row, and of 1 nobody speaks."""
    state = run.last.state
    assert state.round == 3 and state.components == (0, 2)
    assert sum(state.won_K) == 300 and sum(state.weights_K) == pytest.approx(1)
    assert len(run.winners) == 300
    assert [(run.winners == k).sum() for k in (0, 2)] == list(state.won_K)
    for line in run.lines:
        competing = (0, 1, 2) if line.round < since else (0, 2)
        assert line.components == competing and sum(line.won_K) == 300
        assert len(line.term_K("loss")) == len(line.weights_K) == len(competing)
        assert [done for _, done in line.mendings] == [Action.DROP.value] * (line.round == since)


@pytest.mark.parametrize(
    ("place", "trunk"),
    [
        *((place, "separate") for place in PLACES),
        *(pytest.param(place, "shared", marks=pytest.mark.slow) for place in JUDGED),
    ],
)
def test_drop_goes_on_without_the_component(place, trunk, config, trained, plant, undisturbed, tmp_path):
    reference = undisturbed(config(discriminator__trunk=trunk))
    plant(place, times=None)
    run = trained(config("drop", discriminator__trunk=trunk), tmp_path)

    assert_dropped(run)
    assert run.files(1) == reference.files(1)
    for round in (2, 3):
        assert run.generators(round, 1) == reference.generators(1, 1)  # as its last commit had it
        if trunk == "separate":
            name = "discriminator-00001.safetensors"
            assert run.files(round)[name] == reference.files(1)[name]
    assert run.generators(2, 0, 2) != reference.generators(2, 0, 2)  # they got its rows


@pytest.mark.parametrize("round", [pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize(
    ("mode", "place", "trunk"),
    [
        ("compete", "sample", "separate"),
        ("compete", "discriminator loss", "shared"),
        ("random", "generator loss", "separate"),
    ],
)
def test_a_run_interrupted_around_a_drop_ends_with_the_same_digest(
    mode, place, trunk, round, config, trained, interrupted, plant, tmp_path
):
    settings = config("drop", mode=mode, discriminator__trunk=trunk)
    plant(place, times=None)
    expected = trained(settings, tmp_path / "whole").digest
    assert interrupted(settings, tmp_path / "run", round).resumed().digest == expected


@pytest.mark.slow
@pytest.mark.usefixtures("pictured")
def test_the_mixture_of_the_others_can_be_used(config, trained, plant, tmp_path):
    plant("generator loss", times=None)
    trained(config("drop", schedule__evaluate_every=1), tmp_path)
    assert (tmp_path / "samples.png").stat().st_size > 0
    mixture = Mixture.load(tmp_path)
    rows, components = mixture.sample(200)
    assert set(components.tolist()) == {0, 2} and np.isfinite(rows).all()
    assert set(mixture.predict(rows).tolist()) <= {0, 2}
    assert mixture.weights_.sum() == pytest.approx(1)


def test_drop_in_round_0_pretrains_the_others(config, trained, plant, undisturbed, tmp_path):
    fresh = undisturbed(config(schedule__pretrain_epochs=0, schedule__rounds=0))
    plant("generator loss", round=0)
    run = trained(config("drop"), tmp_path)
    assert_dropped(run, since=0)
    steps = [line.generator_steps_K for line in run.lines]
    assert steps == [(19, 19)] * 4  # 2 epochs of 300 rows in batches of 16, shared by two
    assert run.generators(0, 1) == fresh.generators(0, 1)


def test_one_after_another_is_dropped_but_not_the_last(config, run_at, trained, plant, undisturbed, diverges, tmp_path):
    reference = undisturbed(config())
    plant("log ratio", times=None, component=2)
    plant("log ratio", times=None, component=0)
    run = trained(config("drop"), tmp_path / "two")
    assert [line.components for line in run.lines] == [(0, 1, 2), (0, 1, 2), (1,), (1,)]
    assert [len(line.mendings) for line in run.lines] == [0, 0, 2, 0]
    assert run.lines[-1].won_K == (300,) and set(run.winners.tolist()) == {1}

    plant("log ratio", times=None, component=1)
    with diverges("a log ratio", -1, component=2):
        trained(config("drop"), tmp_path / "all")
    run_at(tmp_path / "all").assert_ended_at(1, reference)


def test_who_was_dropped_in_an_earlier_round_stays_away(config, trained, plant, tmp_path):
    plant("generator loss", times=None, component=0, round=1)
    plant("generator loss", times=None, component=2, round=3)
    run = trained(config("drop"), tmp_path)
    assert [line.components for line in run.lines] == [(0, 1, 2), (1, 2), (1, 2), (1,)]
    assert set(run.winners.tolist()) == {1}


@pytest.mark.parametrize(
    "mode", ["bag", pytest.param("random", marks=pytest.mark.slow), pytest.param("oracle", marks=pytest.mark.slow)]
)
def test_a_control_deals_the_rows_to_the_others(mode, config, trained, plant, undisturbed, tmp_path):
    reference = undisturbed(config(mode=mode))
    plant("generator loss", times=None)
    run = trained(config("drop", mode=mode), tmp_path)
    assert_dropped(run)
    moved = reference.winners == 1
    np.testing.assert_array_equal(run.winners[~moved], reference.winners[~moved])
    assert set(run.winners[moved].tolist()) == {0, 2}
    assert run.generators(3, 1) == reference.generators(1, 1)


@pytest.mark.parametrize(
    ("mode", "place", "quantity", "step"),
    [("compete", "fit", "the loss", 0), ("compete", "log density", "a log ratio", -1), ("bag", "fit", "the loss", 0)],
)
def test_centroids_are_dropped_and_cannot_be_slowed(
    mode, place, quantity, step, config, run_at, trained, plant, undisturbed, diverges, tmp_path
):
    def settings(policy):
        centroids = Config(
            mode=mode,
            num_components=3,
            data=config().data,
            model=CentroidConfig(),
            discriminator=DiscriminatorConfig(body="none"),
            schedule=ScheduleConfig(rounds=3, pretrain_epochs=0),
            assign=AssignConfig(normalise=False),
            balance=BalanceConfig(min_share=0),
        )
        return replaced(centroids, {"schedule.on_divergence": policy})

    reference = undisturbed(settings("fail"))
    plant(place, times=None)
    for policy in ("fail", "restart"):
        with diverges(quantity, step):
            trained(settings(policy), tmp_path / policy)
        run_at(tmp_path / policy).assert_ended_at(1, reference)
    run = trained(settings("drop"), tmp_path / "drop")
    assert_dropped(run)
    assert run.generators(3, 1) == reference.generators(1, 1)
