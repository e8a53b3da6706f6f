"""Packs and placement groups: pure arithmetic, no cluster."""

import itertools
import random
from collections import Counter

import pytest

from raymix.config import Config, DiscriminatorConfig, ResourcesConfig, ScheduleConfig
from raymix.errors import ResourceError
from raymix.recipes.packing import choices
from raymix.runtime.placement import (
    Group,
    Node,
    equal_asks,
    equal_fraction,
    groups,
    homes,
    in_bundles,
    packed,
    require_fit,
    slots,
    uses_gpus,
)


def config_of(num_components=3, mode="compete", trunk="separate", body="auto", pack=1, **resources):
    return Config(
        mode=mode,
        num_components=num_components,
        discriminator=DiscriminatorConfig(trunk=trunk, body=body),
        resources=ResourcesConfig(pack=pack, **resources),
    )


@pytest.mark.parametrize("num", [1, 2, 7, 15])
@pytest.mark.parametrize("pack", [1, 2, 4, 15, 99])
def test_packs_hold_every_component_once_in_order_and_are_as_equal_as_can_be(num, pack):
    found = config_of(num, pack=pack).packs(tuple(range(num)))
    assert tuple(itertools.chain(*found)) == tuple(range(num))
    sizes = [len(members) for members in found]
    assert max(sizes) <= pack and max(sizes) - min(sizes) <= 1
    assert len(found) == -(-num // pack)


def test_all_are_in_one_pack_until_auto_is_resolved():
    assert config_of(5, pack="auto").packs((0, 1, 2, 3, 4)) == [(0, 1, 2, 3, 4)]
    assert config_of(5, pack=2).packs((3, 7, 9)) == [(3,), (7, 9)]
    assert config_of(5, pack=2).packs(()) == config_of(5, pack="auto").packs(()) == []


@pytest.mark.parametrize(
    ("num_components", "nodes", "num_slots", "expected"),
    [
        (15, [Node(2)], 2, 8),
        (3, [Node(1), Node(1)], 2, 2),
        (3, [Node(1.9), Node(1.9)], 2, 2),
        (4, [Node(16)], 16, 1),
        (4, [Node(0.5)], 1, 4),  # no whole processor
        (4, [], 1, 4),
        (8, [Node(16, 2)], 2, 4),  # GPUs count where there are any
        (8, [Node(16, 8)], 8, 1),
        (5, [Node(64), Node(8, 1), Node(8, 1)], 2, 3),
    ],
)
def test_auto_pack_fills_the_machine_or_is_one_for_all(num_components, nodes, num_slots, expected):
    config = config_of(num_components, pack="auto")
    assert slots(config, nodes) == num_slots
    assert {each.pack for each in choices(config, num_slots)} == {expected, num_components}


def test_auto_pack_ignores_gpus_that_are_not_to_be_used():
    config = config_of(8, pack="auto", gpus_per_component=0)
    assert not uses_gpus(config, [Node(8, 1)])
    assert slots(config, [Node(8, 1)]) == 8


def test_gpus_are_used_where_there_are_any():
    assert uses_gpus(config_of(), [Node(8), Node(8, 1)])
    assert not uses_gpus(config_of(), [Node(8), Node(8)])


def test_given_pack_is_kept():
    assert {each.pack for each in choices(config_of(8, pack=3), slots=1)} == {3}


@pytest.mark.parametrize(
    ("held", "num", "expected"),
    [
        ([4], 3, 1.0),
        ([1], 2, 0.5),
        ([2], 3, 0.6666),
        ([1, 1], 3, 0.5),
        ([1, 1], 2, 1.0),
        ([3, 1], 5, 0.75),
        ([0.5], 1, 0.5),
        ([0, 0], 3, 0.0),
        ([], 1, 0.0),
    ],
)
def test_equal_fraction_is_the_largest_that_fits(held, num, expected):
    assert equal_fraction(held, num) == pytest.approx(expected)


@pytest.mark.parametrize("held", [[1.0], [2.0], [1.0, 1.0], [3.0, 1.0, 0.5], [7.0]])
def test_equal_fraction_always_fits_and_no_more_would(held):
    for num in range(1, 41):
        ask = equal_fraction(held, num)
        assert 0 < ask <= 1
        require_fit([Group(str(i), (i,), (i,), ask, 0) for i in range(num)], [Node(cpus) for cpus in held])
        more = ask + 0.0002  # Ray counts in ten-thousandths
        assert ask == 1 or sum(int(cpus / more) for cpus in held) < num


def demand(found):
    """What all actors of all groups ask for: (CPUs, GPUs)."""
    bundles = [group.bundle for group in found for _ in range(group.num_actors)]
    return sum(b["CPU"] for b in bundles), sum(b.get("GPU", 0) for b in bundles)


def test_each_pack_has_a_group_of_a_generator_and_a_discriminator_actor():
    found = groups(config_of(5, pack=2), [Node(8)])
    assert [group.generators for group in found] == [(0,), (1, 2), (3, 4)]
    assert [group.discriminators for group in found] == [(0,), (1, 2), (3, 4)]
    assert [group.num_actors for group in found] == [2, 2, 2]
    assert len({group.name for group in found}) == 3
    assert demand(found) == (3, 0)


def test_three_components_fit_two_nodes_of_one_processor():
    found = groups(config_of(3, pack=1), [Node(1), Node(1)])
    assert [group.cpus for group in found] == [0.5] * 3
    assert [group.bundle for group in found] == [{"CPU": 0.25}] * 3


@pytest.mark.parametrize("mode", ["bag", "single", "random", "oracle"])
@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_controls_have_no_discriminators_and_their_one_actor_gets_the_whole_ask(mode, trunk):
    found = groups(config_of(3, mode, trunk, cpus_per_component=2, gpus_per_component=1), [Node(6, 3)])
    assert all(group.discriminators == () and group.num_actors == 1 for group in found)
    assert [group.generators for group in found] == ([(0,)] if mode == "single" else [(0,), (1,), (2,)])
    assert all(group.bundle == {"CPU": 2, "GPU": 1} for group in found)


def test_own_density_needs_no_discriminators():
    found = groups(config_of(3, body="none"), [Node(3)])
    assert demand(found) == (3, 0) and all(group.discriminators == () for group in found)


def test_shared_trunk_has_one_group_of_its_own():
    found = groups(config_of(4, trunk="shared", pack=2), [Node(8)])
    assert [group.name for group in found if not group.generators] == ["trunk"]
    assert [group.generators for group in found] == [(0, 1), (2, 3), ()]
    assert [group.discriminators for group in found] == [(), (), (0, 1, 2, 3)]
    assert demand(found) == (3, 0)


@pytest.mark.parametrize(
    ("nodes", "pack", "cpus"), [([Node(3)], 2, 1), ([Node(2)], 2, 0.6666), ([Node(1), Node(2)], 1, 0.5)]
)
def test_shared_trunk_shares_the_processors_there_are_with_the_packs(nodes, pack, cpus):
    found = groups(config_of(4, trunk="shared", pack=pack), nodes)
    assert [group.cpus for group in found] == [pytest.approx(cpus)] * (1 + 4 // pack)
    assert all(group.bundle == {"CPU": group.cpus} for group in found)


@pytest.mark.parametrize("pack", [1, 2, 3])
@pytest.mark.parametrize("trunk", ["separate", "shared"])
def test_explicit_asks_are_per_component(pack, trunk):
    found = groups(config_of(3, trunk=trunk, pack=pack, cpus_per_component=2, gpus_per_component=0.25), [Node(99, 9)])
    assert sum(group.cpus for group in found if group.generators) == 6
    assert sum(group.gpus for group in found if group.generators) == 0.75
    assert demand(found) == ((6, 0.75) if trunk == "separate" else (8, 1))  # the trunk asks as one component


def test_as_many_gpus_as_components_give_each_its_own_in_halves():
    found = groups(config_of(4), [Node(8, 2), Node(8, 2)])
    assert [group.gpus for group in found] == [1.0] * 4
    assert all(group.bundle == {"CPU": 0.5, "GPU": 0.5} for group in found)


@pytest.mark.parametrize(("num_components", "gpus", "share"), [(3, 2, 0.5), (5, 3, 0.5), (7, 3, 0.3333), (2, 3, 1)])
@pytest.mark.parametrize("mode", ["compete", "random"])
def test_a_share_of_a_gpu_lies_on_one_device(mode, num_components, gpus, share):
    found = groups(config_of(num_components, mode), [Node(64, gpus)])
    assert [group.gpus for group in found] == [pytest.approx(share)] * num_components


def test_fewer_gpus_are_shared_equally():
    found = groups(config_of(4), [Node(8, 1), Node(8, 1)])
    assert [group.gpus for group in found] == [0.5] * 4


def test_no_gpus_are_asked_for_when_there_are_none_or_none_are_wanted():
    for config, nodes in ((config_of(), [Node(4)]), (config_of(gpus_per_component=0), [Node(4, 4)])):
        assert all("GPU" not in group.bundle for group in groups(config, nodes))


def refused(config, nodes):
    with pytest.raises(ResourceError) as caught:
        groups(config, nodes)
    return str(caught.value)


def test_ask_too_large_for_any_node_says_what_was_asked_and_what_there_is():
    error = refused(config_of(2, cpus_per_component=3), [Node(2), Node(2), Node(2)])
    assert "2 placement groups ask for 6 CPUs and 0 GPUs in all" in error
    assert "the largest node has 2 CPUs and 0 GPUs" in error and "the cluster 6 CPUs and 0 GPUs" in error
    assert "resources.cpus_per_component" in error and "\n" not in error


def test_ask_too_large_for_the_cluster_is_refused():
    assert "ask for 5 CPUs" in refused(config_of(5, cpus_per_component=1), [Node(2), Node(2)])
    groups(config_of(4, cpus_per_component=1), [Node(2), Node(2)])


def test_ask_for_gpus_that_are_not_there_is_refused():
    error = refused(config_of(2, gpus_per_component=1), [Node(8), Node(4, 1)])
    assert "ask for 2 CPUs and 2 GPUs in all" in error
    assert "the largest node has 4 CPUs and 1 GPUs" in error and "the cluster 12 CPUs and 1 GPUs" in error


def test_a_cluster_of_no_nodes_is_refused():
    assert "the cluster 0 CPUs and 0 GPUs" in refused(config_of(1, cpus_per_component=1), [])


def test_large_groups_are_placed_first():
    small, large = Group("small", (0,), (0,), 1, 0), Group("large", (1,), (1,), 3, 0)
    require_fit([small, large], [Node(3), Node(1)])
    with pytest.raises(ResourceError, match="no room for large"):
        require_fit([small, large], [Node(2), Node(2)])


def test_groups_take_a_place_on_one_node_whole():
    pair = Group("pair", (0,), (0,), 2, 0)  # two actors of one processor each
    with pytest.raises(ResourceError):
        require_fit([pair], [Node(1), Node(1)])
    require_fit([pair], [Node(1), Node(2)])


INFEASIBLE = {
    "a GPU where there is none": (config_of(2, gpus_per_component=1), [Node(8)]),
    "a share of a GPU where there is none": (config_of(2, gpus_per_component=0.1), [Node(8), Node(8)]),
    "more GPUs than there are": (config_of(3, gpus_per_component=1), [Node(8, 2)]),
    "one GPU too few over nodes": (config_of(5, gpus_per_component=1), [Node(8, 2), Node(8, 2)]),
    "shares that straddle devices": (config_of(6, "bag", gpus_per_component=0.6), [Node(8, 3)]),  # 3.6 > 3
    "shares that straddle, total suffices": (config_of(4, "bag", gpus_per_component=0.6), [Node(8, 3)]),  # 2.4 < 3
    "shares of pairs that straddle": (config_of(2, gpus_per_component=1.2), [Node(8, 3)]),  # 4 x 0.6
    "shares that straddle over nodes": (config_of(3, "bag", gpus_per_component=0.7), [Node(8, 1), Node(8, 1)]),
    "two GPUs for one actor": (config_of(2, "bag", gpus_per_component=2), [Node(8, 8)]),
    "a pack of more than one GPU": (config_of(4, "bag", pack=2, gpus_per_component=0.75), [Node(8, 8)]),
    "two GPUs a component, one too few": (config_of(2, gpus_per_component=2), [Node(8, 3)]),
    "GPUs and processors on different nodes": (
        config_of(2, gpus_per_component=1, cpus_per_component=2),
        [Node(64), Node(1, 2)],
    ),
    "a group larger than any node": (config_of(1, cpus_per_component=5), [Node(4), Node(4)]),
    "more processors than there are": (config_of(5, cpus_per_component=1), [Node(4)]),
    "total suffices, no node does": (config_of(2, cpus_per_component=3), [Node(2), Node(2), Node(2)]),
    "a pack too large": (config_of(6, pack=6, cpus_per_component=1), [Node(4), Node(4)]),
    "halves left over on each node": (config_of(3, cpus_per_component=1.5), [Node(2), Node(2), Node(1.4)]),
    "a trunk beside packs": (config_of(4, trunk="shared", pack=2, cpus_per_component=1), [Node(4)]),
    "a trunk's GPU beside packs": (config_of(2, trunk="shared", gpus_per_component=1), [Node(8, 2)]),
    "no processors": (config_of(2), [Node(0), Node(0)]),
    "no processors but GPUs": (config_of(2), [Node(0, 4)]),
    "no nodes": (config_of(2), []),
    "an ask too small to count": (config_of(2, cpus_per_component=0.0001), [Node(4)]),
    "a GPU's share too small to count": (config_of(2, gpus_per_component=0.0001), [Node(4, 4)]),
    "unequal nodes, one component too many": (config_of(8, cpus_per_component=2), [Node(5), Node(3), Node(8), Node(1)]),
}


@pytest.mark.parametrize(("config", "nodes"), INFEASIBLE.values(), ids=INFEASIBLE.keys())
def test_what_cannot_fit_is_refused_in_one_line(config, nodes):
    assert "\n" not in refused(config, nodes)


FEASIBLE = {
    "whole devices over nodes": (config_of(4, gpus_per_component=1), [Node(8, 2), Node(8, 2)]),
    "two shares on one device": (config_of(6, "bag", gpus_per_component=0.5), [Node(8, 3)]),
    "one share each": (config_of(3, "bag", gpus_per_component=0.6), [Node(8, 3)]),
    "a pair on two devices": (config_of(2, gpus_per_component=2), [Node(8, 4)]),
    "halves of a pair on one device": (config_of(3, gpus_per_component=1), [Node(8, 3)]),
    "shares of unequal size": (config_of(3, "bag", pack=2, gpus_per_component=0.4), [Node(8, 2)]),  # 0.4 and 0.8
    "processors only": (config_of(7, cpus_per_component=2), [Node(5), Node(3), Node(8), Node(1), Node(2)]),
    "no GPUs wanted": (config_of(3, gpus_per_component=0), [Node(3)]),
    "a trunk beside packs": (config_of(4, trunk="shared", pack=2, cpus_per_component=1), [Node(5)]),
    "an exact third": (config_of(3, cpus_per_component=1 / 3), [Node(1)]),
}


@pytest.mark.parametrize(("config", "nodes"), FEASIBLE.values(), ids=FEASIBLE.keys())
def test_what_fits_gets_a_place_within_what_each_node_and_device_has(config, nodes):
    asked = groups(config, [Node(node.cpus, node.gpus, str(i)) for i, node in enumerate(nodes)])
    placed = homes(asked, [Node(node.cpus, node.gpus, str(i)) for i, node in enumerate(nodes)])
    for i, node in enumerate(nodes):
        here = [group for group, home in zip(asked, placed, strict=True) if home is not None and home.id == str(i)]
        cpus, gpus = demand(here)
        assert cpus <= node.cpus + 1e-6 and gpus <= node.gpus + 1e-6
    assert None not in placed


def test_a_refusal_names_the_asked_the_largest_node_and_the_total():
    error = refused(*INFEASIBLE["shares that straddle, total suffices"])
    assert "4 placement groups ask for 4 CPUs and 2.4 GPUs in all" in error
    assert "no room for pack-3 (1 x 1 CPU and 0.6 GPU on one node, a share of a GPU on one device)" in error
    assert "the largest node has 8 CPUs and 3 GPUs, the cluster 8 CPUs and 3 GPUs" in error


def test_groups_leave_room_for_those_after_them():
    large, small = Node(4, id="large"), Node(3, id="small")
    asked = [Group("a", (0,), (), 2, 0), Group("b", (1,), (), 3, 0), Group("c", (2,), (), 2, 0)]
    assert homes(asked, [large, small]) == [large, small, large]  # the emptier node for the largest would not do


def test_groups_without_gpus_leave_the_nodes_that_have_them():
    plain, rich = Node(2, id="plain"), Node(2, 2, id="rich")
    asked = [Group("cpu", (0,), (), 1, 0), Group("gpu", (1,), (), 1, 1)]
    assert homes(asked, [rich, plain]) == [plain, rich]


@pytest.mark.parametrize(
    ("nodes", "cpus"),
    [([Node(64), Node(2, 1)], 0.4), ([Node(2, 1), Node(64)], 0.4), ([Node(64), Node(8, 1)], 1.0)],
)
def test_auto_processors_are_those_of_the_nodes_with_gpus(nodes, cpus):
    found = groups(config_of(5), nodes)
    assert [group.cpus for group in found] == [pytest.approx(cpus)] * 5
    assert [group.gpus for group in found] == [pytest.approx(0.2)] * 5


@pytest.mark.parametrize("num_components", [1, 2, 3, 5, 8, 15])
@pytest.mark.parametrize("pack", [1, 3])
@pytest.mark.parametrize("trunk", ["separate", "shared"])
@pytest.mark.parametrize(
    "nodes",
    [[Node(0.5)], [Node(1), Node(2), Node(7)], [Node(64), Node(2, 1)], [Node(0), Node(3, 3)], [Node(1, 8), Node(1, 1)]],
    ids=str,
)
def test_auto_fits_wherever_there_are_processors(num_components, pack, trunk, nodes):
    found = groups(config_of(num_components, trunk=trunk, pack=pack), nodes)
    assert None not in homes(found, nodes)


def test_asks_fall_and_count_in_what_ray_counts():
    asks = equal_asks([3, 1, 1], 5)
    assert asks == sorted(asks, reverse=True) and asks[0] == equal_fraction([3, 1, 1], 5)
    assert all(ask * 10_000 == pytest.approx(round(ask * 10_000)) for ask in asks)


def test_bundles_are_in_what_ray_counts_and_never_more_than_asked():
    group = Group("thirds", (0,), (0,), 0.3333, 0.3333)
    assert group.bundle == {"CPU": 0.1666, "GPU": 0.1666}


def test_devices_of_a_node():
    assert Node(1, 3).devices == [1, 1, 1]
    assert Node(1, 1.5).devices == [1, 0.5]
    assert Node(1, 2.9999999).devices == [1, 1, 1]
    assert Node(1).devices == []


@pytest.mark.parametrize(("pack", "trunk", "num"), [(8, "separate", 1), (3, "separate", 3), (3, "shared", 4)])
def test_groups_are_for_as_many_components_as_there_may_be(pack, trunk, num):
    config = config_of(2, trunk=trunk, pack=pack)
    config = config.model_copy(update={"schedule": ScheduleConfig(adapt=True, max_components=8)})
    found = groups(config, [Node(16)])
    assert len(found) == num
    assert sum(len(group.generators) for group in found) == sum(len(group.discriminators) for group in found) == 8


def test_components_that_come_and_go_share_one_actor_if_nothing_is_said():
    config = config_of(3, pack="auto").model_copy(update={"schedule": ScheduleConfig(adapt=True, max_components=12)})
    assert {each.pack for each in choices(config, 4)} == {12}


# ---- spreading


def homes_by_id(asked, nodes):
    return Counter(home.id for home in homes(asked, nodes))


def alike(num, cpus=1.0, gpus=0.0):
    return [Group(str(i), (i,), (i,), cpus, gpus) for i in range(num)]


@pytest.mark.parametrize("num", [1, 3, 5, 8])
def test_with_nodes_enough_each_group_has_its_own(num):
    nodes = [Node(4 + 60 * (i % 2), id=str(i)) for i in range(8)]
    assert len(homes_by_id(alike(num), nodes)) == num


@pytest.mark.parametrize("num", [2, 5, 8, 12, 16])
def test_groups_are_spread_evenly_over_equal_nodes(num):
    for nodes, gpus in (([Node(16, id=str(i)) for i in range(4)], 0), ([Node(16, 4, str(i)) for i in range(4)], 1)):
        counts = homes_by_id(alike(num, gpus=gpus), nodes).values()
        assert max(counts) - min(counts) <= 1 and len(counts) == min(4, num)


def test_a_larger_node_takes_its_share_of_the_groups():
    counts = homes_by_id(alike(12), [Node(32, id="large"), Node(4, id="a"), Node(4, id="b")])
    assert counts == {"large": 10, "a": 1, "b": 1}


def test_no_gpu_has_two_groups_while_another_is_free():
    nodes = [Node(16, 8, "eight"), Node(16, 1, "one"), Node(16, 2, "two")]
    counts = homes_by_id(groups(config_of(11), nodes), nodes)
    assert counts == {"eight": 8, "one": 1, "two": 2}


@pytest.mark.parametrize("nodes", [[Node(64, 8)], [Node(64, 4), Node(64, 4)], [Node(9, 1) for _ in range(8)]])
@pytest.mark.parametrize(("num", "whole"), [(7, 8), (8, 7), (11, 4), (15, 0)])
def test_no_gpu_is_idle_while_a_trunk_and_packs_share_another(nodes, num, whole):
    found = groups(config_of(num, trunk="shared"), nodes)
    shares = [group.gpus for group in found]
    assert shares == [1.0] * whole + [0.5] * (num + 1 - whole)
    assert None not in homes(found, nodes)


def places_exist(asked, nodes):
    """By trying every node for every group, and every device for every actor."""

    def place(i, rooms):
        if i == len(asked):
            return True
        bundle, need = asked[i].bundle, asked[i].bundle.get("GPU", 0)
        for n, (cpus, devices) in enumerate(rooms):
            left = cpus - bundle["CPU"] * asked[i].num_actors
            if left < -1e-6 or not asked[i].may_use(nodes[n]):
                continue
            for chosen in itertools.product(range(len(devices)), repeat=asked[i].num_actors if need else 0):
                rest = [amount - need * chosen.count(d) for d, amount in enumerate(devices)]
                if min(rest, default=0) >= -1e-6 and place(i + 1, [*rooms[:n], (left, rest), *rooms[n + 1 :]]):
                    return True
        return False

    return place(0, [(node.cpus, node.devices) for node in nodes])


def require_room_for(found, asked, nodes):
    """What has a place there lies within what each node and each of its devices holds."""
    for node in nodes:
        here = [group for group, home in zip(asked, found, strict=True) if home is node]
        cpus, gpus = demand(here)
        assert cpus <= node.cpus + 1e-6 and gpus <= node.gpus + 1e-6
        assert all(group.may_use(node) for group in here)
        assert places_exist(here, [node])


def random_nodes(rng, num):
    kinds = rng.choices(["A", "B"], k=num)
    return [Node(rng.choice([1, 2, 3, 4, 5]), rng.choice([0, 1, 2]), str(i), kind) for i, kind in enumerate(kinds)]


def random_groups(rng, num, ask):
    kinds = rng.choices(["", "A"], k=num)
    return [Group(str(i), (i,), (i,) * rng.choice([0, 1]), *ask(), accelerator_type=kinds[i]) for i in range(num)]


def test_equal_groups_have_places_exactly_where_trying_everything_finds_them():
    rng, found = random.Random(0), Counter()
    for _ in range(600):
        nodes = random_nodes(rng, rng.randint(1, 3))
        one = random_groups(rng, 1, lambda: (rng.choice([0.5, 1, 1.5, 2]), rng.choice([0, 0.4, 0.6, 1, 2])))[0]
        asked = [one] * rng.randint(1, 5)
        places = homes(asked, nodes)
        found[None not in places] += 1
        assert (None not in places) == places_exist(asked, nodes), (asked, nodes)
        require_room_for(places, asked, nodes)
    assert min(found.values()) > 150


def test_unequal_groups_have_places_where_packing_finds_them_and_nearly_always_where_there_are_any():
    rng, missed, found = random.Random(1), 0, Counter()
    for _ in range(600):
        nodes = random_nodes(rng, rng.randint(1, 3))
        asks = [(rng.choice([0.5, 1, 2, 3]), rng.choice([0, 0.5, 1])) for _ in range(2)]
        asked = random_groups(rng, rng.randint(2, 5), lambda asks=asks: rng.choice(asks))
        in_order = sorted(asked, key=lambda group: (-group.gpus, -group.cpus))
        places = homes(asked, nodes)
        exist = places_exist(asked, nodes)
        found[exist] += 1
        assert None not in places or None in packed(in_order, nodes), (asked, nodes)
        assert exist or None in places
        missed += exist and None in places
        require_room_for(places, asked, nodes)
    assert min(found.values()) > 100
    assert missed <= 0.02 * found[True]


def test_what_packing_misses_and_spreading_finds():
    asked = [Group(str(i), (i,), (), cpus, 0) for i, cpus in enumerate([3, 3, 2, 2, 2, 2])]
    nodes = [Node(7, id="a"), Node(7, id="b")]
    assert None in packed(asked, nodes)
    assert homes_by_id(asked, nodes) == {"a": 3, "b": 3}


# ---- types of GPUs


MIXED = [Node(16, 2, "h", "H200"), Node(16, 4, "l", "L4"), Node(16, id="c")]


def test_only_gpus_of_the_type_count():
    config = config_of(4, accelerator_type="H200")
    assert slots(config, MIXED) == 2 and uses_gpus(config, MIXED)
    found = groups(config, MIXED)
    assert all(group.bundle == {"CPU": 0.5, "GPU": 0.25, "accelerator_type:H200": 0.001} for group in found)
    assert homes_by_id(found, MIXED) == {"h": 4}
    assert slots(config_of(4), MIXED) == 6


def test_a_type_means_nothing_to_a_run_without_gpus():
    config = config_of(4, accelerator_type="H100", gpus_per_component=0)
    assert all(group.bundle == {"CPU": 0.5} for group in groups(config, MIXED))


def test_the_type_stays_with_bundles_that_were_reserved():
    found = in_bundles(groups(config_of(2, accelerator_type="L4"), MIXED), [{"CPU": 1.0, "GPU": 0.5}] * 2)
    assert all(group.mark == {"accelerator_type:L4": 0.001} and group.gpus == 0.5 for group in found)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (MIXED, "is H100 and the cluster has 2 H200, 4 L4; name one that it has"),
        ([Node(4)], "is H100 and the cluster has no GPUs"),
        ([Node(4, 2)], "is H100 and the cluster has 2 of unknown type"),
    ],
)
def test_a_type_that_the_cluster_lacks_is_refused_with_those_it_has(nodes, said):
    assert f"resources.accelerator_type: {said}" in refused(config_of(2, accelerator_type="H100"), nodes)


def test_too_few_gpus_of_the_type_are_refused_with_what_there_is():
    error = refused(config_of(3, accelerator_type="H200", gpus_per_component=1), MIXED)
    assert "no room for pack-2 (2 x 0.5 CPU and 0.5 GPU of type H200 on one node" in error
    assert "the cluster 48 CPUs and 6 GPUs (2 H200, 4 L4)" in error


def test_every_worker_of_a_component_has_a_place_and_the_first_sits_beside_the_discriminator():
    found = groups(config_of(2, workers_per_component=3), [Node(4), Node(2)])
    assert [group.name for group in found[:3]] == ["pack-0", "pack-0-worker-1", "pack-0-worker-2"]
    assert [(group.generators, group.discriminators, group.rank) for group in found] == [
        *[((0,), (0,), 0), ((0,), (), 1), ((0,), (), 2)],
        *[((1,), (1,), 0), ((1,), (), 1), ((1,), (), 2)],
    ]
    assert demand(found) == (6, 0)
    assert [group.bundle["CPU"] for group in found[:3]] == [0.5, 1, 1]


def test_workers_of_a_component_get_a_gpu_each_and_share_a_trunk():
    found = groups(config_of(1, trunk="shared", workers_per_component=2, gpus_per_component=1), [Node(8, 3)])
    assert [group.name for group in found] == ["pack-0", "pack-0-worker-1", "trunk"]
    assert all(group.bundle == {"CPU": 1, "GPU": 1} for group in found)
    with pytest.raises(ResourceError, match="3 placement groups ask for 3 CPUs and 3 GPUs"):
        groups(config_of(1, trunk="shared", workers_per_component=2, gpus_per_component=1), [Node(8, 2)])


def test_several_workers_of_a_component_leave_auto_one_way_to_pack():
    assert choices(config_of(8, pack="auto", workers_per_component=2), slots=4) == [(1, False, False)]
