"""Equal terms: parameters, rows and arithmetic counted by hand."""

import pytest

from raymix.budgets import pretrain_steps, round_steps
from raymix.config import Config
from raymix.config_values import replaced
from raymix.errors import ConfigError
from raymix.models.registry import close
from raymix.recipes.catalogue import recipe
from raymix.recipes.resolve import resolve
from raymix.search.match import cost, matched, of_one

REFERENCE, SPEC = resolve(replaced(recipe("synthetic-5"), {"data.num_rows": 2_000}))


def at(**changes: object) -> Config:
    return close(replaced(REFERENCE, {name.replace("__", "."): value for name, value in changes.items()}))


def test_parameters_of_an_mlp_are_those_of_its_layers() -> None:
    config = at(model__encoder=[7], model__decoder=[6], model__latent=3)
    encoder = 2 * 7 + 7 + 7 * 6 + 6  # to means and log variances of 3 latents
    decoder = 3 * 6 + 6 + 6 * 2 + 2 + 1  # and one noise of all outputs
    parameters, flops = of_one(config, SPEC)
    assert parameters == encoder + decoder
    products = 2 * 7 + 7 * 6 + 3 * 6 + 6 * 2
    assert 2 * 2 * products < flops <= 3 * 2 * products  # backward costs twice forward, but for the first layer


def test_rows_are_those_of_all_steps() -> None:
    schedule = REFERENCE.schedule
    loads = [SPEC.num_rows // 5] * 5
    each = sum(round_steps(schedule.epochs_per_round * SPEC.num_rows, REFERENCE, range(5), loads).values())
    first = sum(pretrain_steps(REFERENCE, SPEC.num_rows, range(5)).values())
    assert cost(REFERENCE, SPEC).rows == (first + schedule.rounds * each) * schedule.batch_size


@pytest.mark.parametrize("num_components", [1, 2, 8])
def test_widths_are_fitted_to_parameters(num_components: int) -> None:
    config = matched(at(num_components=num_components), SPEC, REFERENCE, "params")
    goal, found = cost(REFERENCE, SPEC).parameters, cost(config, SPEC).parameters
    assert config.num_components == num_components
    wider = config.model_copy(update={"model": config.model.with_width(config.model.width + 1)})
    narrower = config.model_copy(update={"model": config.model.with_width(config.model.width - 1)})
    assert abs(found - goal) <= min(abs(cost(other, SPEC).parameters - goal) for other in (wider, narrower))
    assert found == pytest.approx(goal, rel=0.05)


@pytest.mark.parametrize("terms", ["steps", "flops"])
@pytest.mark.parametrize("changes", [{"num_components": 2}, {"model__encoder": [100, 100], "num_components": 3}])
def test_rounds_are_fitted_to_steps_or_arithmetic(terms: str, changes: dict[str, object]) -> None:
    config = matched(at(**changes), SPEC, REFERENCE, terms)  # type: ignore[arg-type]
    goal, found = cost(REFERENCE, SPEC), cost(config, SPEC)
    ours, theirs = (found.rows, goal.rows) if terms == "steps" else (found.flops, goal.flops)
    per_round = (ours / config.schedule.rounds) if config.schedule.rounds else ours
    assert abs(ours - theirs) <= per_round
    assert config.model == at(**changes).model


def test_what_no_rounds_can_match_is_refused() -> None:
    large = at(model__encoder=[500, 500], model__decoder=[500, 500], num_components=8)
    with pytest.raises(ConfigError, match="would take more than all flops in pre-training and one round"):
        matched(large, SPEC, REFERENCE, "flops")


def test_arithmetic_of_a_network_with_spectral_norm_is_counted() -> None:
    config, spec = resolve(replaced(recipe("digits"), {"model": {"family": "sn-dcgan", "filters": 8, "latent": 4}}))
    wider = config.model_copy(update={"model": config.model.with_width(16)})
    (_, narrow_flops), (_, wide_flops) = of_one(config, spec), of_one(wider, spec)
    assert 0 < 1.5 * narrow_flops < wide_flops < 4 * narrow_flops
