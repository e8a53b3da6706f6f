"""Who moves when nodes join: pure arithmetic, no cluster."""

from collections import Counter

import pytest

from raymix.config import Config, DiscriminatorConfig, ResourcesConfig
from raymix.runtime.elastic import beside, better_groups, moves, together
from raymix.runtime.placement import Group, Node, demand, groups, homes


def config_of(num: int, **resources) -> Config:
    return Config(num_components=num, resources=ResourcesConfig(pack=1, **resources))


def placed(config: Config, nodes: list[Node]) -> tuple[list[Group], list[str]]:
    """The groups and the node of each, as a run begins."""
    asked = groups(config, nodes)
    return asked, [home.id for home in homes(asked, nodes)]


def grown(config: Config, before: list[Node], after: list[Node]) -> tuple[list[Group], list[str], dict[int, Node]]:
    """A run that was placed on some nodes and finds others: its groups, where they lay, who moves."""
    asked, places = placed(config, before)
    wanted = better_groups(config, asked, after)
    return asked, places, {} if wanted is None else moves(wanted, places, after)


def cpus(**held: float) -> list[Node]:
    return [Node(amount, 0, name) for name, amount in held.items()]


@pytest.mark.parametrize(
    ("num", "before", "after", "expected"),
    [
        (2, cpus(a=1), cpus(a=1, b=1), Counter(a=1, b=1)),
        (8, cpus(a=1, b=1), cpus(a=1, b=1, c=1), Counter(a=3, b=3, c=2)),
        (4, cpus(a=2), cpus(a=2, b=2), Counter(a=2, b=2)),
        (4, cpus(a=2), cpus(a=2, b=1, c=1), Counter(a=2, b=1, c=1)),
        (2, cpus(a=1), cpus(a=1, b=8), Counter(a=1, b=1)),
        (3, cpus(a=1, b=1), cpus(b=1, c=1, d=1), Counter(b=1, c=1, d=1)),  # and a was lost
    ],
)
def test_groups_that_share_spread_over_a_node_that_joined(num, before, after, expected):
    asked, places, moved = grown(config_of(num), before, after)
    now = [moved[i].id if i in moved else place for i, place in enumerate(places)]
    assert Counter(now) == expected
    assert len(moved) == sum((Counter(now) - Counter(places)).values()), "nobody moves for another's sake"
    wanted = better_groups(config_of(num), asked, after)
    assert better_groups(config_of(num), wanted, after) is None, "and that is all there is to gain"


@pytest.mark.parametrize(
    ("config", "before", "after"),
    [
        (config_of(2), cpus(a=2), cpus(a=2, b=2)),  # each has a processor already
        (config_of(2), cpus(a=1, b=1), cpus(b=1, a=1)),
        (config_of(4, cpus_per_component=0.5), cpus(a=2), cpus(a=2, b=2)),  # they have what they asked for
        (config_of(2), cpus(a=1), cpus(a=1, b=0)),  # a head without processors
        (config_of(2), [Node(2, 0, "a")], [Node(2, 0, "a"), Node(8, 8, "b")]),  # bits of a GPU are others
        (config_of(2), [Node(2, 1, "a")], [Node(2, 1, "a"), Node(8, 0, "b")]),  # nothing to gain for those on a GPU
    ],
)
def test_nobody_moves_without_a_gain(config, before, after):
    _, _, moved = grown(config, before, after)
    assert moved == {}


def test_components_that_share_a_gpu_move_to_one_that_joined():
    config = config_of(2)
    asked, places, moved = grown(config, [Node(4, 1, "a")], [Node(4, 1, "a"), Node(4, 1, "b")])
    assert [group.gpus for group in asked] == [0.5, 0.5] and places == ["a", "a"]
    assert [home.id for home in moved.values()] == ["b"]


def test_a_trunk_and_packs_do_not_take_each_others_places():
    config = Config(
        num_components=4,
        discriminator=DiscriminatorConfig(trunk="shared"),
        resources=ResourcesConfig(pack=2),
    )
    before, after = cpus(a=1), cpus(a=1, b=2)
    asked, places, moved = grown(config, before, after)
    wanted = better_groups(config, asked, after)
    held = {node.id: [] for node in after}
    for i, place in enumerate(places):
        held[moved[i].id if i in moved else place].append(wanted[i] if i in moved else asked[i])
    assert all(node.cpus >= 0 for node in beside(after, held))
    for node in after:
        assert demand(held[node.id]).cpus <= node.cpus + 1e-6


def test_beside_and_together_are_inverse():
    held = {"a": [Group("x", (0,), (0,), 0.5, 0.25)], "gone": [Group("y", (1,), (1,), 1, 0)]}
    nodes = [Node(2, 1, "a"), Node(1, 0, "b")]
    assert beside(nodes, held) == [Node(1.5, 0.75, "a"), Node(1, 0, "b")]
    assert together(beside(nodes, held), held) == nodes
