"""Fitting a config to its data, and what contradicts it."""

import numpy as np
import pytest

from raymix.config import Config, DataConfig, DiscriminatorConfig, FamilyConfig, ResourcesConfig, ScheduleConfig
from raymix.config_values import dump_config, load_config
from raymix.errors import ConfigError, DataError
from raymix.families.centroid import CentroidConfig
from raymix.families.gan import GANConfig
from raymix.families.vae import VAEConfig
from raymix.models.registry import close
from raymix.recipes.resolve import resolve


@pytest.fixture
def vectors(tmp_path):
    rows = np.random.default_rng(0).normal(size=(30, 3)) * [1, 5, 0] + [2, -3, 7]
    np.save(tmp_path / "vectors.npy", rows)
    return DataConfig(name="file", path=str(tmp_path / "vectors.npy")), rows


@pytest.fixture
def images(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    np.save(tmp_path / "images.npy", rows)
    return DataConfig(name="file", path=str(tmp_path / "images.npy"))


def test_vectors_are_scaled_per_column_and_get_mlps(vectors):
    data, rows = vectors
    config, spec = resolve(Config(num_components=2, data=data))
    assert spec.row_shape == (3,) and spec.num_rows == 30
    np.testing.assert_allclose(config.data.offset, rows.mean(0))
    np.testing.assert_allclose(config.data.scale, [1 / rows[:, 0].std(), 1 / rows[:, 1].std(), 0], rtol=1e-9)
    assert config.model == VAEConfig(body="mlp", encoder=(50, 50), decoder=(50, 50), likelihood="gaussian")
    discriminator = config.discriminator
    assert (discriminator.body, discriminator.widths, discriminator.lowpass) == ("mlp", (50, 50), 0)


def test_images_are_scaled_by_one_constant_and_get_convolutions(images):
    config, spec = resolve(Config(num_components=2, data=images))
    assert spec.row_shape == (1, 28, 28)
    assert (config.data.offset, config.data.scale) == ((0.0,), (1 / 255,))
    assert (config.model.body, config.model.likelihood) == ("conv", "bernoulli")
    assert (config.discriminator.body, config.discriminator.lowpass) == ("conv", 5)


def test_resolving_twice_and_through_a_file_changes_nothing(vectors, tmp_path):
    config, spec = resolve(Config(num_components=2, data=vectors[0], model=FamilyConfig(family="vae", latent=3)))
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert close(load_config(path)) == config
    assert resolve(config) == resolve(load_config(path)) == (config, spec)


@pytest.mark.parametrize(("offset", "scale"), [((1.0,), None), (None, (2.0,)), ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))])
def test_given_constants_are_kept(vectors, offset, scale):
    data, _ = vectors
    found = resolve(Config(num_components=2, data=data))[0].data
    config, _ = resolve(Config(num_components=2, data=data.model_copy(update={"offset": offset, "scale": scale})))
    assert config.data.offset == (offset or found.offset)
    assert config.data.scale == (scale or found.scale)


def test_a_scale_that_cannot_be_undone_is_refused(vectors):
    data, _ = vectors
    for scale, column in (((0.0,), 0), ((1.0, 0.0, 0.0), 1)):
        with pytest.raises(ConfigError, match=rf"data\.scale: is 0 for column {column}, which varies"):
            resolve(Config(num_components=2, data=data.model_copy(update={"scale": scale})))


@pytest.mark.parametrize("field", ["offset", "scale"])
def test_constants_of_the_wrong_number_are_refused(vectors, images, field):
    for data in (vectors[0], images):
        wrong = data.model_copy(update={field: (1.0, 2.0)})
        with pytest.raises(ConfigError, match=rf"data\.{field}: has 2 numbers for rows of shape"):
            resolve(Config(num_components=2, data=wrong))


def test_more_components_than_rows_are_refused(images):
    resolve(Config(num_components=20, data=images))
    with pytest.raises(ConfigError, match="num_components: 21 components for 20 rows"):
        resolve(Config(num_components=21, data=images))


def test_oracle_without_labels_is_refused(images):
    with pytest.raises(ConfigError, match=r"mode: oracle needs labels.*--labels"):
        resolve(Config(mode="oracle", num_components=2, data=images))
    resolve(Config(mode="oracle", num_components=2, data=DataConfig(name="digits")))


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"model": VAEConfig(body="conv")}, r"model\.body: conv cannot read"),
        ({"discriminator": DiscriminatorConfig(body="conv")}, r"discriminator\.body: conv cannot read"),
        ({"discriminator": DiscriminatorConfig(lowpass=5)}, r"discriminator\.lowpass: a low-pass needs images"),
    ],
)
def test_what_needs_images_is_refused_for_vectors(vectors, settings, field):
    with pytest.raises(ConfigError, match=field):
        resolve(Config(num_components=2, data=vectors[0], **settings))


def test_own_density_needs_a_family_that_has_one(vectors):
    discriminator = DiscriminatorConfig(body="none")
    with pytest.raises(ConfigError, match=r"discriminator\.body: family gan has neither a log-density"):
        resolve(Config(num_components=2, data=vectors[0], discriminator=discriminator, model=GANConfig()))
    with pytest.raises(ConfigError, match=r"assign\.normalise: would divide each bound"):
        resolve(Config(num_components=2, data=vectors[0], discriminator=discriminator, assign={"normalise": True}))
    assert resolve(Config(num_components=2, data=vectors[0], discriminator=discriminator))[0].assign.normalise is False
    centroids = {"discriminator": discriminator, "model": CentroidConfig()}
    with pytest.raises(ConfigError, match="pretrain_epochs"):
        resolve(Config(num_components=2, data=vectors[0], **centroids))
    resolve(Config(num_components=2, data=vectors[0], schedule=ScheduleConfig(pretrain_epochs=0), **centroids))
    resolve(Config(num_components=2, data=vectors[0], discriminator=discriminator, mode="random"))  # nobody judges


@pytest.mark.parametrize(
    ("model", "schedule", "body"),
    [
        (VAEConfig(), {}, "none"),
        (GANConfig(), {}, "mlp"),
        (VAEConfig(), {"overlap": True}, "mlp"),
        (VAEConfig(), {"adapt": True}, "mlp"),
    ],
)
def test_discriminators_are_there_where_they_are_needed(vectors, model, schedule, body):
    needed = DiscriminatorConfig(body="if-needed")
    config, _ = resolve(Config(num_components=2, data=vectors[0], discriminator=needed, model=model, schedule=schedule))
    assert (config.discriminator.body, config.assign.normalise) == (body, body != "none")


def test_several_workers_need_a_family_that_learns_from_batches_in_parts(vectors):
    resources, schedule = ResourcesConfig(workers_per_component=2), ScheduleConfig(pretrain_epochs=0)
    with pytest.raises(ConfigError, match=r"resources\.workers_per_component: family centroid does not learn"):
        resolve(Config(data=vectors[0], model=CentroidConfig(), schedule=schedule, resources=resources))
    few = ScheduleConfig(batch_size=1)
    with pytest.raises(ConfigError, match=r"resources\.workers_per_component: 2 workers have a batch of 1 rows"):
        resolve(Config(num_components=2, data=vectors[0], schedule=few, resources=resources))
    resolve(Config(num_components=2, data=vectors[0], schedule=schedule, resources=resources))


def test_unknown_family_and_setting_are_refused_before_data_is_read():
    nowhere = DataConfig(name="file", path="/none.npy")
    with pytest.raises(ConfigError, match=r"model\.family"):
        resolve(Config(data=nowhere, model=FamilyConfig(family="vea")))
    with pytest.raises(ConfigError, match=r"model\.latnet"):
        resolve(Config(data=nowhere, model=FamilyConfig(latnet=3)))
    with pytest.raises(DataError):
        resolve(Config(data=nowhere))


def test_layers_too_deep_for_the_images_are_refused(images):
    with pytest.raises(ConfigError, match=r"model\.encoder: "):
        resolve(Config(num_components=2, data=images, model=VAEConfig(encoder=(2,) * 5)))
    with pytest.raises(ConfigError, match=r"discriminator\.widths: "):
        resolve(Config(num_components=2, data=images, discriminator=DiscriminatorConfig(widths=(2,) * 5)))
