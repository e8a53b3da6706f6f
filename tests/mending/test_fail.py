"""Under `fail` a run ends where a value stopped being finite, and keeps its last commit."""

import pytest

from raymix.cli import main
from raymix.config_values import dump_config

NAN, INF = float("nan"), float("inf")
PLACES = [
    # where the value is planted (at step 3 where there are steps), the quantity and the step that are named
    ("batch", "the loss", 3),
    ("generator loss", "the loss", 3),
    ("generator gradient", "the loss", 4),
    ("sample", "a sample", -1),
    ("discriminator logit", "the discriminator's loss", 3),
    ("discriminator loss", "the discriminator's loss", 3),
    ("log ratio", "a log ratio", -1),
]


@pytest.mark.parametrize("value", [NAN, pytest.param(INF, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("place", "quantity", "step"), PLACES)
def test_fail_names_the_place_and_keeps_the_last_commit(
    place, quantity, step, value, config, run_at, trained, plant, undisturbed, diverges, tmp_path
):
    reference, shorter = undisturbed(config()), undisturbed(config(schedule__rounds=1))
    plant(place, value=value)
    with diverges(quantity, step):
        trained(config("fail"), tmp_path)
    run = run_at(tmp_path)
    run.assert_ended_at(1, reference)
    assert run.digest == shorter.digest
    assert run.resumed().digest == reference.digest  # it was planted once


@pytest.mark.parametrize(
    "component", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(2, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(("place", "quantity", "step"), PLACES)
def test_fail_names_the_component_when_it_trains_by_itself(
    place, quantity, step, component, config, trained, plant, diverges, tmp_path
):
    plant(place, component=component, round=1)
    with diverges(quantity, step, component=component, round=1):
        trained(config("fail", resources__fused=False), tmp_path)


@pytest.mark.parametrize("component", [pytest.param(0, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize(("place", "quantity", "step"), PLACES)
def test_fail_names_any_member_of_a_stack(place, quantity, step, component, config, trained, plant, diverges, tmp_path):
    plant(place, component=component, round=1)
    with diverges(quantity, step, component=component, round=1):
        trained(config("fail"), tmp_path)


@pytest.mark.parametrize(("place", "quantity", "step"), PLACES[4:])
def test_fail_names_the_head_of_a_shared_trunk(place, quantity, step, config, trained, plant, diverges, tmp_path):
    plant(place)
    with diverges(quantity, step):
        trained(config("fail", discriminator__trunk="shared"), tmp_path)


def test_a_gradient_of_the_last_step_is_found_before_its_weights_are_used(config, trained, plant, diverges, tmp_path):
    plant("generator gradient")
    four_steps = 4 * 16 * 3 / 300
    with diverges("a gradient or weight", 3):
        trained(config("fail", schedule__epochs_per_round=four_steps), tmp_path)


@pytest.mark.parametrize(("place", "quantity", "step"), [PLACES[1], PLACES[3], PLACES[6]])
def test_fail_in_round_0_leaves_a_run_without_a_commit(
    place, quantity, step, config, run_at, trained, plant, undisturbed, diverges, tmp_path
):
    reference = undisturbed(config())
    plant(place, round=0)
    with diverges(quantity, step, round=0):
        trained(config("fail"), tmp_path)
    run = run_at(tmp_path)
    assert run.directory.last() is None and run.lines == []
    assert run.resumed().digest == reference.digest


@pytest.mark.usefixtures("pictured")
def test_the_command_line_says_it_in_one_line(config, run_at, plant, undisturbed, tmp_path, capsys):
    reference = undisturbed(config())
    plant("generator loss")
    settings, out = tmp_path / "settings.yaml", tmp_path / "run"
    settings.write_text(dump_config(config("fail")))
    assert main(["train", "--config", str(settings), "--out", str(out), "--workers", "local"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    *others, last = said.err.splitlines()
    assert last == (
        "raymix: error: component 1: the loss is not finite in round 2 at step 3; "
        "lower model.learning_rate or check the scale of the data"
    )
    assert [line.split(":")[0] for line in others[-2:]] == ["round 0/3", "round 1/3"]
    assert main(["resume", str(out), "--workers", "local"]) == 0
    assert run_at(out).digest == reference.digest


@pytest.mark.parametrize("overrides", [{"num_components": 1}, {"mode": "single"}], ids=str)
def test_the_only_component_cannot_be_dropped(
    overrides, config, run_at, trained, plant, undisturbed, diverges, tmp_path
):
    reference = undisturbed(config(**overrides))
    plant("generator loss", component=0)
    with diverges("the loss", 3, component=0):
        trained(config("drop", **overrides), tmp_path)
    run_at(tmp_path).assert_ended_at(1, reference)
