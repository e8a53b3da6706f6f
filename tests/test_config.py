"""The configuration: what is refused, and that it survives its file."""

import pydantic
import pytest

from raymix.config import Config, DataConfig, DiscriminatorConfig, FamilyConfig, ScheduleConfig
from raymix.config_values import config_from_mapping, dump_config, known_fields, load_config
from raymix.errors import ConfigError
from raymix.families.vae import VAEConfig
from raymix.models.registry import close
from raymix.recipes.catalogue import RECIPES


def mapping(field, value):
    """{"a": {"b": value}} for "a.b"."""
    for part in reversed(field.split(".")):
        value = {part: value}
    return value


def refusal(field, value):
    with pytest.raises(ConfigError) as caught:
        close(config_from_mapping(mapping(field, value), "run.yaml"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("nmu_components", "num_components"),
        ("schedule.round", "schedule.rounds"),
        ("discriminator.learning_rat", "discriminator.learning_rate"),
        ("balance.minshare", "balance.min_share"),
        ("resources.gpu_per_component", "resources.gpus_per_component"),
        ("rounds", "schedule.rounds"),  # right name, wrong place
        ("schedule.min_share", "balance.min_share"),
        ("guard_loss", "discriminator.guard_loss"),
        ("model.latnet", "model.latent"),
    ],
)
def test_unknown_field_is_refused_with_the_nearest_known_one(typed, nearest):
    error = refusal(typed, 3)
    assert f"unknown field {typed}; did you mean {nearest}?" in error


def test_unknown_field_like_no_other_points_to_the_help():
    assert refusal("zzzzz", 3) == "run.yaml: unknown field zzzzz; see `raymix train --help`"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", "competition"),
        ("seed", -1),
        ("num_components", 0),
        ("num_components", 2.5),
        ("data.num_rows", 0),
        ("data.block_bytes", 0),
        ("data.columns", ["a", "a"]),
        ("data.columns", []),
        ("data.seed", -1),
        ("discriminator.trunk", "both"),
        ("discriminator.widths", []),
        ("discriminator.kernel", 0),
        ("discriminator.lowpass", 4),
        ("discriminator.lowpass", -1),
        ("discriminator.lowpass", "wide"),
        ("discriminator.epochs", 0),
        ("discriminator.batch_size", 0),
        ("discriminator.fakes", 0),
        ("discriminator.learning_rate", 0),
        ("discriminator.beta1", 1.01),
        ("discriminator.guard_loss", -0.1),
        ("discriminator.guard_steps", -1),
        ("schedule.rounds", -1),
        ("schedule.pretrain_epochs", -1),
        ("schedule.pretrain_on", "half"),
        ("schedule.epochs_per_round", 0),
        ("schedule.epochs_per_round", float("nan")),
        ("schedule.epochs_per_round", float("inf")),
        ("schedule.batch_size", 0),
        ("schedule.steps", "some"),
        ("schedule.evaluate_every", -1),
        ("balance.min_share", -0.1),
        ("balance.min_share", 1.1),
        ("resources.pack", 0),
        ("resources.pack", "all"),
        ("resources.cpus_per_component", 0),
        ("resources.gpus_per_component", -1),
        ("resources.accelerator_type", ""),
        ("resources.accelerator_type", "accelerator_type:H200"),
        ("resources.workers_per_component", 0),
        ("resources.threads", 0),
        ("resources.stall_s", 0),
        ("model.latent", 0),
        ("model.encoder", []),
        ("model.decoder", [8, 0]),
        ("model.sigma_floor", 0),
        ("model.body", "cnov"),
        ("model.likelihood", "normal"),
    ],
)
def test_value_out_of_range_is_refused_with_field_and_value(field, value):
    error = refusal(field, value)
    place, _, rest = error.partition(": ")
    assert place in ("run.yaml", "config")
    assert rest.startswith((f"{field}: ", f"{field}.1: "))  # a list's entry has its number
    assert rest.endswith(f", got {value!r}") or rest.endswith(", got 0")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("discriminator.lowpass", 0),
        ("discriminator.lowpass", 1),
        ("discriminator.lowpass", "auto"),
        ("discriminator.guard_loss", 0),
        ("schedule.rounds", 0),
        ("schedule.pretrain_epochs", 0),
        ("balance.min_share", 0),
        ("balance.min_share", 1),
        ("resources.gpus_per_component", 0),
        ("resources.accelerator_type", "A100-40G"),
        ("resources.cpus_per_component", 0.25),
        ("resources.pack", "auto"),
    ],
)
def test_edges_of_ranges_are_allowed(field, value):
    config = config_from_mapping(mapping(field, value), "run.yaml")
    group, leaf = field.split(".")
    assert getattr(getattr(config, group), leaf) == value


def test_a_field_of_several_types_says_all_it_takes():
    assert "Input should be 'auto' or greater than or equal to 1" in refusal("resources.pack", 0)


def test_configs_are_frozen():
    config = Config()
    for group, field in ((config, "seed"), (config.schedule, "rounds"), (config.model, "family")):
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(group, field, 1)


def test_every_field_is_documented():
    def check(model):
        for name, info in model.model_fields.items():
            if isinstance(info.annotation, type) and issubclass(info.annotation, pydantic.BaseModel):
                check(info.annotation)
            else:
                assert info.description, f"{model.__name__}.{name}"

    check(Config)


def test_known_fields_are_dotted_leaves():
    fields = known_fields()
    assert "mode" in fields and "discriminator.lowpass" in fields and "model.family" in fields
    assert "schedule" not in fields
    assert len(fields) == len(set(fields))


UNUSUAL = Config(
    mode="oracle",
    seed=2**40,
    data=DataConfig(name="file", path="/a b/ü.npy", offset=(0.1, -1e-17), scale=(1 / 3, 1e300)),
    model=VAEConfig(encoder=(3, 4), learning_rate=1e-5),
    discriminator=DiscriminatorConfig(lowpass=3, widths=(7,), fakes=9, trunk="shared"),
    schedule=ScheduleConfig(epochs_per_round=0.1, steps="proportional"),
)


@pytest.mark.parametrize("config", [Config(), UNUSUAL, *(make() for make in RECIPES.values())])
def test_config_survives_its_file(config, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert close(load_config(path)) == close(config)
    assert dump_config(load_config(path)) == dump_config(config)


def test_family_settings_are_written_whole():
    text = dump_config(UNUSUAL)
    assert "sigma_floor" in text and "learning_rate: 1.0e-05" in text


def test_numbers_yaml_takes_for_text_are_numbers(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("discriminator: {learning_rate: 1e-3}\nschedule: {epochs_per_round: '0.5'}\n")
    config = load_config(path)
    assert config.discriminator.learning_rate == 1e-3 and config.schedule.epochs_per_round == 0.5


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"a: [1", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"- 1\n- 2\n", "holds no mapping"),
        (b"", "holds no mapping"),
        (b"schedule: 3\n", "schedule: "),
        (b"!!python/object/apply:os.system ['true']\n", "is not YAML"),
    ],
)
def test_file_that_is_no_config_is_refused_by_name(tmp_path, content, what):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=what) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read \(FileNotFoundError\)"):
        load_config(tmp_path / "none.yaml")


def test_components_follow_the_mode():
    assert Config(num_components=3).components == (0, 1, 2)
    assert Config(num_components=3, mode="single").components == (0,)
    assert Config().competes and not Config(mode="random").competes
    assert Config(discriminator=DiscriminatorConfig(body="none")).own_density


def test_open_family_settings_are_kept_until_the_family_closes_them():
    config = Config(model=FamilyConfig(family="vae", latent=3))
    assert close(config).model == VAEConfig(latent=3)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("mode", "bag", "mode compete"),
        ("discriminator", {"body": "none"}, "discriminator.body not none"),
        ("assign", {"normalise": False}, "assign.normalise true"),
        ("balance", {"patience": 1}, "balance.patience 0"),
        ("num_components", 33, "between schedule.min_components (1) and schedule.max_components (32)"),
    ],
)
def test_adapting_runs_refuse_what_contradicts_them(field, value, told):
    with pytest.raises(ConfigError) as caught:
        config_from_mapping({"schedule": {"adapt": True}, field: value}, "run.yaml")
    assert "schedule.adapt needs" in str(caught.value) and told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_adapting_runs_do_not_overlap_and_bound_k():
    for schedule in ({"overlap": True}, {"min_components": 9}, {"max_components": 7}):
        with pytest.raises(ConfigError, match=r"schedule\.adapt needs"):
            config_from_mapping({"num_components": 8, "schedule": {"adapt": True, **schedule}}, "run.yaml")
        config_from_mapping({"num_components": 8, "schedule": schedule}, "run.yaml")


@pytest.mark.parametrize("other", [{"pack": 3}, {"compile": True}])
def test_workers_of_a_component_refuse_what_contradicts_them(other):
    told = "run.yaml: resources.workers_per_component: more than one need resources.pack 1 and resources.compile false"
    with pytest.raises(ConfigError) as caught:
        config_from_mapping({"resources": {"workers_per_component": 2, **other}}, "run.yaml")
    assert str(caught.value) == f"{told}, got 2"
    config_from_mapping({"resources": {"workers_per_component": 1, **other}}, "run.yaml")
    config_from_mapping({"resources": {"workers_per_component": 2, "pack": 1}}, "run.yaml")


@pytest.mark.parametrize(("rounds", "adapting"), [(5, []), (6, [2]), (8, [2, 3, 4])])
def test_rounds_in_which_k_may_change(rounds, adapting):
    schedule = ScheduleConfig(rounds=rounds, adapt=True)
    assert [t for t in range(rounds + 1) if schedule.adapts(t)] == adapting
    assert [t for t in range(rounds + 1) if schedule.retires(t)] == list(range(2, rounds + 1))
    assert not any(ScheduleConfig(rounds=rounds).retires(t) for t in range(rounds + 1))


def test_resources_are_for_as_many_components_as_there_may_be():
    assert Config(num_components=3).most_components == 3
    assert Config(num_components=3, schedule=ScheduleConfig(adapt=True, max_components=20)).most_components == 20
