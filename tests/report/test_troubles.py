from dataclasses import replace

import numpy as np
import pytest

from raymix.config import BalanceConfig
from raymix.report.troubles import ADVICE, troubles
from raymix.runs.failures import Action
from raymix.runs.rounds import TermValues


@pytest.fixture
def sound(make_lines, make_portrait, make_settings):
    """A run in which nothing went wrong: its lines, config and portrait."""
    lines = [replace(line, rows_moved=20) for line in make_lines(3)]
    return lines, make_settings((1, 8, 8), 3)[0], make_portrait((1, 8, 8), [0, 1, 2])


def told(lines, config, portrait):
    return {trouble.what: trouble.sentence for trouble in troubles(lines, config, portrait)}


def test_a_sound_run_has_no_troubles(sound):
    assert troubles(*sound) == []


def test_starved_components_are_named_with_what_to_do(sound):
    lines, config, portrait = sound
    for line in lines[:5]:
        lent = (1, line.round == 0, 0)  # 1 once, long ago: no trouble
        lines[line.round] = replace(line, loads_K=tuple(won + more for won, more in zip(line.won_K, lent, strict=True)))
    *others, _ = lines[-1].won_K
    lines[-1] = replace(lines[-1], won_K=(*others, 0), loads_K=(*others, 5))
    sentence = told(lines, config, portrait)["Starved"]
    assert sentence.startswith("Components 0 (in 5 of 7 rounds), 2 (in 1) won too few rows")
    assert "component 2 won none in the last round and is never sampled from" in sentence
    assert "lower num_components, or set balance.patience" in sentence
    patient = config.model_copy(update={"balance": BalanceConfig(patience=2)})
    assert "balance.patience" not in told(lines, patient, portrait)["Starved"]
    control = config.model_copy(update={"mode": "random"})
    assert "Starved" not in told(lines, control, portrait)


def test_reseeded_dropped_and_mended_components_are_told(sound, make_lines):
    lines, config, portrait = sound
    lines[2] = replace(lines[2], reseeded={2: 0})
    failure = "component 1: the loss is not finite in round 3 at step 7; lower model.learning_rate"
    mendings = ((failure, Action.SLOW.value), ("generator-0: died", Action.REPLACE.value))
    lines[3] = replace(lines[3], mendings=mendings)
    lines[5:] = make_lines(3, dropped=(1,))[5:]
    found = [trouble.sentence for trouble in troubles(lines, config, portrait)]
    assert any(text.startswith("Component 2 began anew in round 2 as a copy of 0") for text in found)
    assert any(text.startswith("Component 1 no longer competes") for text in found)
    mended = [text for text in found if text.startswith("In round 3: ")]
    assert len(mended) == 2 and "half the component's learning rate; lower model.learning_rate if" in mended[0]
    assert "nothing is to be done" in mended[1]


def test_every_way_of_mending_has_its_advice():
    assert ADVICE.keys() == {action.value for action in Action} - {Action.GIVE_UP.value}


def test_saturated_discriminators_are_told_once_for_all_rounds(sound):
    lines, config, portrait = sound
    for t, losses_K in enumerate(((0.5,) * 3, (0.09, None, 0.5), (0.05, 0.5, 0.02))):
        lines[t] = replace(lines[t], discriminator_loss_K=losses_K)
    warnings = ("saturated discriminators (loss below 0.1 nats): [0, 2]; raise it", "something else")
    lines[2] = replace(lines[2], warnings=warnings)
    sentence = told(lines, config, portrait)["Saturated discriminators"]
    assert "components 0, 2 fell below 0.1 nats (chance is 0.693) in rounds 1 to 2" in sentence
    lines[-1] = replace(lines[-1], warnings=warnings)
    assert told(lines, config, portrait)["Warning"] == "Something else."


def test_saturated_critics_are_told_once_for_all_rounds(sound):
    lines, config, portrait = sound
    for t, saturated, losses_K in ((1, (0, 2), (0.05, 0.001, 0.06)), (2, (2,), (0.5, 0.5, 0.0321))):
        critic = {"critic": TermValues("nats per row", losses_K)}
        lines[t] = replace(lines[t], saturated_critics=saturated, terms={**lines[t].terms, **critic})
    sentence = told(lines, config, portrait)["Saturated critics"]
    assert sentence.startswith("The critic of components 0, 2 told samples from rows almost without fail in rounds 1 ")
    assert "to 2 (loss down to 0.0321 nats per row): " in sentence
    assert "model.loss wgan-gp" in sentence


@pytest.mark.parametrize(("moved", "advice"), [([500, 300, 200, 100], "raise schedule.rounds"), ([90] * 6, "stopped")])
def test_rows_that_never_settle_are_told(sound, moved, advice):
    lines, config, portrait = sound
    late = zip(lines[-len(moved) :], moved, strict=True)
    lines[-len(moved) :] = [replace(line, rows_moved=rows) for line, rows in late]
    sentence = told(lines, config, portrait)["Not settled"]
    assert advice in sentence and ("10%" in sentence or "9.0%" in sentence)
    assert "Not settled" not in told(lines, config.model_copy(update={"mode": "random"}), portrait)


@pytest.mark.parametrize("moved", [0, 40, 80])
def test_rows_that_move_after_rounds_that_settle_are_told(sound, moved):
    lines, config, portrait = sound
    lines[-1] = replace(lines[-1], rows_moved=moved)
    schedule = config.schedule.model_copy(update={"settle": 3})
    sentence = told(lines, config.model_copy(update={"schedule": schedule}), portrait).get("Not settled")
    assert (sentence is not None) == (moved == 80)
    assert sentence is None or ("8.0% of the rows still moved" in sentence and "assign.margin" in sentence)


def test_the_round_that_is_told_is_the_last_that_assigned(sound):
    lines, config, portrait = sound
    last = len(lines) - 1
    lines[-2:] = [replace(lines[-2], rows_moved=90), replace(lines[-1], rows_moved=0)]
    schedule = config.schedule.model_copy(update={"rounds": last + 1, "settle": 2})  # the last line settles
    sentence = told(lines, config.model_copy(update={"schedule": schedule}), portrait)["Not settled"]
    assert f"9.0% of the rows still moved in round {last - 1}" in sentence


def test_samples_that_repeat_training_rows_are_told(sound):
    lines, config, portrait = sound
    first, *rest = portrait.components
    distances = first.neighbours.distances.copy()
    distances[:4] = 0.01
    copies = replace(first, neighbours=replace(first.neighbours, distances=distances))
    found = told(lines, config, replace(portrait, components=(copies, *rest)))
    assert found.keys() == {"Memorising"}
    assert found["Memorising"].startswith("33% of the samples of component 0 lie closer than")
    nothing = replace(copies.neighbours, real_distances=np.empty(0))
    alone = replace(portrait, components=(replace(copies, neighbours=nothing), *rest))
    assert told(lines, config, alone) == {}
