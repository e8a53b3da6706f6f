"""Recipes are complete, and can be given other data."""

import numpy as np
import pytest

from raymix.config import Config, DataConfig, DiscriminatorConfig
from raymix.data.open import known_data_sets
from raymix.data.source import DataSpec
from raymix.data.synthetic import is_synthetic, modes
from raymix.errors import ConfigError, DataError
from raymix.families.centroid import CentroidConfig
from raymix.families.vae import VAEConfig
from raymix.models import discriminators
from raymix.models.base import HasCritic
from raymix.models.registry import close, family_of
from raymix.recipes.catalogue import RECIPES, recipe, with_data
from raymix.recipes.resolve import check_against_data, check_choices, fitted, resolve

EMBEDDED = [name for name, make in RECIPES.items() if make().data.name == "digits" or is_synthetic(make().data.name)]
ROW_SHAPES = {"mechanisms": (1, 16, 16), "mnist": (1, 28, 28), "cifar10": (3, 32, 32), "celeba": (3, 64, 64)}
CONVOLUTIONAL = [name for name, make in RECIPES.items() if "dcgan" in make().model.family]  # they make images alone
OTHERS = [name for name in RECIPES if name not in CONVOLUTIONAL]


@pytest.fixture
def vectors(tmp_path):
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(50, 5)))
    return str(tmp_path / "vectors.npy")


@pytest.fixture
def images(tmp_path):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (50, 16, 16), dtype=np.uint8))
    return str(tmp_path / "images.npy")


def test_some_recipes_need_no_files():
    assert {"digits", "synthetic-3", "synthetic-5", "synthetic-9"} <= set(EMBEDDED)


@pytest.mark.parametrize("name", EMBEDDED)
def test_recipe_with_embedded_data_resolves(name):
    config, spec = resolve(recipe(name))
    assert spec.name == config.data.name
    measured = {"evaluation": True, "schedule": {"best_metric"}}  # asked again whenever something is measured
    assert "auto" not in config.model_dump_json(
        exclude={"resources": True, "discriminator": {"fakes"}} | measured  # resolved by the runtime
    )
    if spec.name.startswith("synthetic"):
        assert config.num_components == len(modes(spec.name).centres)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_fits_the_shape_of_its_rows(name):
    config = close(recipe(name))
    assert config.data.name in known_data_sets()
    shape = ROW_SHAPES.get(config.data.name, (1, 8, 8) if config.data.name == "digits" else (2,))
    spec = DataSpec(config.data.name, 60_000, shape, "uint8")
    check_choices(config)
    check_against_data(config, spec)
    config = fitted(config, spec)
    family_of(config.model).build(config.model, shape)
    if not config.own_density:
        discriminators.Discriminator(config.discriminator, shape, config.num_components)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_says_what_it_is(name):
    assert RECIPES[name].__doc__ and "\n" not in RECIPES[name].__doc__.strip()


@pytest.mark.parametrize(
    ("typed", "advice"), [("digit", "did you mean digits?"), ("minst", "did you mean mnist"), ("xyz", "one of digits")]
)
def test_unknown_recipe_is_refused_with_the_nearest(typed, advice):
    with pytest.raises(ConfigError, match=rf"recipe: unknown recipe '{typed}'; {advice}".replace("?", r"\?")):
        recipe(typed)


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith("gan-")])
def test_recipes_of_gans_start_their_discriminators_anew_and_guard_them(name):
    config = recipe(name)
    assert issubclass(family_of(config.model).build, HasCritic)
    assert config.discriminator.restart and config.discriminator.guard_loss >= 0.3
    assert config.discriminator.lowpass == "auto"


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_a_recipe_of_convolutional_gans_refuses_vectors(name, vectors):
    config = with_data(recipe(name), vectors)
    with pytest.raises(ConfigError, match=r"model\.family: .*dcgan cannot make rows of shape \(5,\); choose gan"):
        resolve(config.model_copy(update={"num_components": 4}))


@pytest.mark.parametrize("name", OTHERS)
def test_any_recipe_takes_vectors(name, vectors):
    old = recipe(name)
    config, spec = resolve(with_data(old, vectors).model_copy(update={"num_components": 4}))
    assert spec.row_shape == (5,)
    fitted = {"body": "mlp", "likelihood": "gaussian", "output": "linear"}
    assert all(getattr(config.model, field, value) == value for field, value in fitted.items())
    judges = config.discriminator
    assert (judges.body, judges.lowpass) == ("none" if old.discriminator.body == "if-needed" else "mlp", 0)
    assert config.schedule == old.schedule and config.balance == old.balance
    assert config.discriminator.learning_rate == old.discriminator.learning_rate


@pytest.mark.parametrize("name", RECIPES)
def test_any_recipe_takes_images(name, images):
    config, spec = resolve(with_data(recipe(name), images).model_copy(update={"num_components": 4}))
    assert spec.row_shape == (1, 16, 16)
    fitted = {"likelihood": "bernoulli", "output": "unit"}
    assert all(getattr(config.model, field, value) == value for field, value in fitted.items())
    assert len(config.data.scale) == 1


def test_data_of_the_same_kind_keeps_all_settings(vectors, images, tmp_path):
    labels = str(tmp_path / "labels.npy")
    np.save(labels, np.arange(50) % 3)
    for name, path in (("synthetic-5", vectors), ("mnist", images)):
        old, new = recipe(name), with_data(recipe(name), path, labels)
        assert new.model == old.model and new.discriminator == old.discriminator
        assert (new.data.name, new.data.path, new.data.labels) == ("file", path, labels)


def test_number_of_rows_of_the_old_data_is_forgotten(images):
    config = with_data(recipe("mnist-small"), images)
    assert config.data.num_rows is None and resolve(config)[1].num_rows == 50


def test_settings_written_for_a_file_are_kept(vectors, images):
    own = VAEConfig(encoder=(7,), decoder=(9,))
    config = Config(data=DataConfig(name="file", path=vectors), model=own)
    for path in (vectors, images):
        assert with_data(config, path).model == own


def test_what_images_were_given_goes_back_to_auto_for_vectors(vectors):
    discriminator = DiscriminatorConfig(body="conv", widths=(3,), lowpass=7, kernel=5)
    model = VAEConfig(body="conv", encoder=(7,), decoder=(9,), likelihood="bernoulli", latent=4)
    config = with_data(Config(data=DataConfig(name="mnist"), model=model, discriminator=discriminator), vectors)
    assert config.model == VAEConfig(latent=4)
    assert config.discriminator == DiscriminatorConfig(kernel=5)


def test_a_family_with_its_own_density_keeps_it(vectors):
    config = Config(model=CentroidConfig(), discriminator=DiscriminatorConfig(body="none"))
    assert with_data(config, vectors).discriminator.body == "none"


def test_data_that_cannot_be_read_is_refused():
    with pytest.raises(DataError, match=r"none\.npy"):
        with_data(recipe("digits"), "/none.npy")
