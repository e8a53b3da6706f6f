"""Names of actors: of whom, and who has them next."""

import pytest
import ray

from raymix.runtime import actor_names
from raymix.runtime.actor_names import Name, label, named
from raymix.runtime.placement import Group


@pytest.mark.parametrize(
    ("group", "own_component", "expected"),
    [
        (Group("pack-3", (3,), (3,), 1, 0), True, "generator-3"),
        (Group("pack-3", (3,), (3,), 1, 0), False, "generators-of-pack-3"),  # K may change
        (Group("pack-0", (0, 1), (0, 1), 1, 0), True, "generators-of-pack-0"),
        (Group("pack-3-worker-1", (3,), (), 1, 0), True, "generators-of-pack-3-worker-1"),
    ],
)
def test_a_generator_actor_is_named_by_its_component_or_its_group(group, own_component, expected):
    assert label("generator", group, own_component) == expected


def test_a_trunk_is_named_by_its_group():
    assert label("discriminator", Group("trunk", (), (0, 1), 1, 0), True) == "discriminators-of-trunk"


def test_the_run_is_a_part_of_a_name():
    assert str(Name("1f0c", "generator-3")) == "raymix-1f0c-generator-3"


class Idle:
    def name(self):
        return ray.get_runtime_context().get_actor_name()


def test_the_name_of_an_actor_that_was_ended_goes_to_its_replacement(ray_cluster):
    name = Name("names", "generator-0")
    idle = ray.remote(num_cpus=0)(Idle)
    for _ in range(5):  # before the one that is ended has started, too
        actor = named(lambda unique: idle.options(name=unique).remote(), name)
        ray.kill(actor)
    actor = named(lambda unique: idle.options(name=unique).remote(), name)
    assert ray.get(actor.name.remote()) == "raymix-names-generator-0"
    ray.kill(actor)


def test_an_actor_whose_name_stays_taken_goes_without(ray_cluster, monkeypatch):
    monkeypatch.setattr(actor_names, "NAME_S", 0.1)
    name = Name("names", "generator-1")
    idle = ray.remote(num_cpus=0)(Idle)
    actors = [named(lambda unique: idle.options(name=unique).remote(), name) for _ in range(2)]
    assert ray.get([actor.name.remote() for actor in actors]) == ["raymix-names-generator-1", ""]
    for actor in actors:
        ray.kill(actor)
