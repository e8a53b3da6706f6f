"""Under `restart` a component goes back one round and on at half its learning rates."""

import numpy as np
import pytest

from raymix.runs.failures import Action

PLACES = [
    # where the value is planted, the quantity and the step that are named
    ("batch", "the loss", 3),
    ("generator loss", "the loss", 3),
    ("generator gradient", "the loss", 4),
    ("sample", "a sample", -1),
    ("discriminator logit", "the discriminator's loss", 3),
    ("discriminator loss", "the discriminator's loss", 3),
    ("log ratio", "a log ratio", -1),
]


@pytest.mark.parametrize("fused", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("place", "quantity", "step"), PLACES)
def test_restart_slows_the_component_and_nobody_else(
    place, quantity, step, fused, config, trained, plant, undisturbed, tmp_path
):
    reference = undisturbed(config(resources__fused=fused))
    plant(place)
    run = trained(config("restart", resources__fused=fused), tmp_path)

    assert run.last.state.round == 3
    assert run.files(1) == reference.files(1)
    for k in (0, 2):  # they notice nothing; those beside a slowed one are no longer moved in one call with it
        for name, values in run.tensors(2, k).items():
            np.testing.assert_allclose(values, reference.tensors(2, k)[name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert fused or run.generators(2, 0, 2) == reference.generators(2, 0, 2)
    assert run.generators(2, 1) != reference.generators(2, 1)
    for round in (2, 3):
        assert run.learning_rates(round) == [0.005, 0.0025, 0.005]
    assert run.learning_rates(2, "discriminator") == [1e-3, 5e-4, 1e-3]
    assert run.learning_rates(3, "discriminator") == [1e-3] * 3  # each round begins a new one
    mendings = [line.mendings for line in run.lines]
    assert [len(some) for some in mendings] == [0, 0, 1, 0]
    ((failure, done),) = mendings[2]
    assert failure.startswith(f"component 1: {quantity} is not finite in round 2") and done == Action.SLOW.value


@pytest.mark.parametrize("round", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_each_failure_of_a_round_halves_once_more(round, config, trained, plant, tmp_path):
    plant("discriminator loss", times=2, round=round)
    run = trained(config("restart", schedule__rounds=round), tmp_path)
    assert run.learning_rates(round, "discriminator") == [1e-3, 2.5e-4, 1e-3]
    assert run.learning_rates(round) == [0.005, 0.00125, 0.005]


def test_a_discriminator_that_lasts_is_slowed_for_good(config, trained, plant, tmp_path):
    plant("discriminator loss", times=2)
    run = trained(config("restart", discriminator__restart=False), tmp_path)
    for round in (2, 3):
        assert run.learning_rates(round, "discriminator") == [1e-3, 2.5e-4, 1e-3]
        assert run.learning_rates(round) == [0.005, 0.00125, 0.005]


@pytest.mark.parametrize("restart", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_a_run_interrupted_after_a_restart_ends_with_the_same_digest(
    trunk, restart, config, trained, interrupted, plant, tmp_path
):
    settings = config("restart", discriminator__trunk=trunk, discriminator__restart=restart)
    fault = plant("discriminator loss")
    expected = trained(settings, tmp_path / "whole").digest
    fault.times = 1
    assert interrupted(settings, tmp_path / "run", round=2).resumed().digest == expected


def test_restart_before_any_commit_begins_again_slower(config, trained, plant, tmp_path):
    plant("generator loss", round=0)
    run = trained(config("restart"), tmp_path)
    assert run.learning_rates(3) == [0.005, 0.0025, 0.005]
    assert [len(line.mendings) for line in run.lines] == [1, 0, 0, 0]


@pytest.mark.parametrize(("place", "quantity", "step"), PLACES)
def test_restart_gives_up_after_3_tries(
    place, quantity, step, config, run_at, trained, plant, undisturbed, diverges, tmp_path, caplog
):
    reference = undisturbed(config())
    plant(place, times=None)
    with diverges(quantity, step):
        trained(config("restart"), tmp_path)
    run_at(tmp_path).assert_ended_at(1, reference)
    assert sum(Action.SLOW.value in text for text in caplog.messages) == 2


def test_failures_are_counted_for_each_component_and_round(config, trained, plant, tmp_path):
    for round in (1, 2):
        plant("generator loss", times=2, component=0, round=round)
        plant("log ratio", times=2, component=1, round=round)
    run = trained(config("restart"), tmp_path)
    assert [len(line.mendings) for line in run.lines] == [0, 4, 4, 0]
    assert run.learning_rates(3) == [0.005 / 16, 0.005 / 16, 0.005]
