"""Spaces: what a file or an option stands for, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from raymix.config_values import replaced
from raymix.errors import ConfigError
from raymix.recipes.catalogue import recipe
from raymix.recipes.resolve import resolve
from raymix.search.space import Choices, Range, applied, check_space, dimension, option_dimension, points, read_space

CONFIG, SPEC = resolve(replaced(recipe("synthetic-5"), {"data.num_rows": 200}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,4", Choices((1, 2, 4))),
        ("2,2,3", Choices((2, 3))),
        ("1e-3, 0.01", Choices((0.001, 0.01))),
        ("true,false", Choices((True, False))),
        ("vae,centroid", Choices(("vae", "centroid"))),
        ("2..32", Range(2, 32, log=False, whole=True)),
        ("0.1..0.9", Range(0.1, 0.9, log=False, whole=False)),
        ("log:1e-4..1e-2", Range(1e-4, 1e-2, log=True, whole=False)),
        ("7", None),
        ("../rows.npy", None),
    ],
)
def test_an_option_is_a_list_a_range_or_a_plain_value(text: str, expected: Any) -> None:
    assert option_dimension("model.latent", text, "--model.latent") == expected


def test_one_width_is_a_choice_of_one() -> None:
    assert option_dimension("width", "16", "--width") == Choices((16,))


def test_a_file_holds_lists_and_ranges(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(
        "num_components: [1, 2]\nmodel.latent: {range: [2, 32]}\nmodel.learning_rate: {log: [1e-4, 1e-2]}\n"
    )
    assert read_space(file) == {
        "num_components": Choices((1, 2)),
        "model.latent": Range(2, 32, log=False, whole=True),
        "model.learning_rate": Range(1e-4, 1e-2, log=True, whole=False),
    }


@pytest.mark.parametrize("text", ["", "[1, 2]", "num_components: 3", "a: {range: [1]}", "a: {steps: [1, 2]}", "a: ["])
def test_a_file_that_holds_no_space_is_refused_by_name(text: str, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"space\.yaml"):
        read_space(file)


@pytest.mark.parametrize("ends", [[1, float("inf")], [3, 2], [0, 1.0], ["a", "b"], [True, 2]])
def test_ends_of_a_range_are_checked(ends: list[Any]) -> None:
    with pytest.raises(ConfigError, match="is no range"):
        dimension("model.latent", {"log": ends}, "here")


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "is empty"),
        ({"num_component": Choices((1, 2))}, "did you mean num_components"),
        ({"num_components": Choices((0, 2))}, "num_components: Input should be greater than or equal to 1, got 0"),
        ({"num_components": Choices((300,))}, "300 components for 200 rows"),
        ({"width": Choices((0,))}, "1 or more"),
        ({"width": Choices((1.5,))}, "1 or more"),
        ({"model.learning_rate": Range(-1.0, 1.0, log=False, whole=False)}, "model.learning_rate"),
        ({"data.num_rows": Choices((50,))}, "data.num_rows cannot be varied"),
        ({"evaluation.seed": Choices((1, 2))}, "evaluation.seed cannot be varied"),
        ({"schedule.evaluate_every": Choices((1, 2))}, "cannot be varied"),
        ({"model.nothing": Choices((1,))}, "unknown field model.nothing"),
    ],
)
def test_a_space_no_run_could_have_is_refused(space: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_space(space, CONFIG, SPEC)


def test_a_width_scales_every_layer() -> None:
    wide = replaced(CONFIG, {"model.encoder": [20, 40], "model.decoder": [40, 20]})
    config = applied(wide, {"width": 10, "num_components": 2}, SPEC)
    assert (config.model.encoder, config.model.decoder) == ((5, 10), (10, 5))
    narrow = replaced(wide, {"model.decoder": [20]})
    assert applied(narrow, {"width": 20}, SPEC).model.decoder == (10,)
    assert config.model.width == 10 and config.num_components == 2


def test_networks_are_fitted_to_the_values_of_a_trial() -> None:
    base, spec = recipe("digits"), resolve(recipe("digits"))[1]
    assert applied(base, {"model.body": "mlp"}, spec).model.encoder == base.model.encoder
    other = replaced(base, {"model.encoder": None, "model.decoder": None})
    assert applied(other, {"model.body": "conv", "model.kernel": 3}, spec).model.body == "conv"
    assert applied(other, {"model.body": "conv", "model.kernel": 3}, spec).model.encoder == (8, 16, 32, 64)


def test_points_are_the_grid_or_each_value_with_the_first_of_the_others() -> None:
    space = {"num_components": Choices((1, 2)), "model.latent": Range(2, 8, log=False, whole=True)}
    found = points(space)
    assert {(p["num_components"], p["model.latent"]) for p in found} == {(1, 2), (1, 8), (2, 2), (2, 8)}
    large = {f"field{i}": Choices(tuple(range(5))) for i in range(5)}
    found = points(large)
    assert len(found) == 25 and all(sum(value != 0 for value in point.values()) <= 1 for point in found)
