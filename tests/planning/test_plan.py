"""What a plan says, by hand-made clusters and numbers counted on paper."""

import json
import math

import pytest
import ray

from raymix.budgets import num_fakes
from raymix.cli import main
from raymix.config import Config, DataConfig, DiscriminatorConfig, ResourcesConfig, ScheduleConfig
from raymix.config_values import replaced
from raymix.data.source import DataSpec
from raymix.errors import ResourceError
from raymix.models.registry import close
from raymix.planning.footprint import discriminator_footprint, generator_footprint
from raymix.planning.plan import plan
from raymix.recipes.resolve import fitted
from raymix.runtime.machines import GIB, machines_of
from raymix.training.generators import SAMPLE_BATCH

NUM = 60_000
MNIST = DataSpec("mnist", NUM, (1, 28, 28), "uint8", tuple("0123456789"))


def config_of(num_components=15, trunk="shared", workers=1, data=None, schedule=None, **resources):
    resources = {"pack": 1, "fused": True} | resources
    config = Config(
        num_components=num_components,
        data=data or DataConfig(),
        discriminator=DiscriminatorConfig(trunk=trunk, workers=workers),
        schedule=schedule or ScheduleConfig(pretrain_epochs=3, epochs_per_round=3),
        resources=ResourcesConfig(**resources),
    )
    return fitted(close(config), MNIST)


def planned(nodes, local_storage=True, **options):
    return plan(config_of(**options), MNIST, machines_of(nodes), local_storage)


def test_each_component_has_a_node_and_the_trunk_its_own_where_there_are_enough():
    found = planned("64x(cpus=16,gpus=1,memory=64G)")
    assert len(found.nodes) == 16 and all(len(node.actors) == 1 for node in found.nodes)
    assert sorted(k for each in found.actors if each.kind == "generators" for k in each.components) == list(range(15))
    assert any("48 of 64 GPUs have no actor, 48 of 64 nodes among them" in limit for limit in found.limits)


def test_packs_of_gpus_are_settled_without_timing():
    found = planned("8xH200", pack="auto", fused="auto")
    assert found.config.resources.pack == 2 and found.config.resources.fused is True
    assert "a run times a few steps on a GPU first" in found.why_packed
    assert len(found.actors) == 9 and {actor.gpus for actor in found.actors} == {1.0, 0.5}


def test_bytes_of_blocks_samples_and_log_ratios():
    data = planned("cpus=4").data
    assert (data.rows, data.classes, data.labels) == (NUM * 784, NUM * 8, NUM * 4)
    assert (data.log_ratios, data.fakes) == (15 * NUM * 4, 15 * (NUM // 15) * 784 * 4)
    assert data.num_blocks == 1
    assert data.peak == NUM * (784 + 8 + 4 + 784 * 4)
    few = planned("cpus=4", data=DataConfig(block_bytes=784 * 7_000)).data
    assert few.num_blocks == math.ceil(NUM / 7_000) and few.largest_block == 7_000 * 784


def test_one_node_sends_nothing():
    network = planned("cpus=4").traffic
    assert network.first_rows == network.later == 0


def test_a_trunk_is_sent_all_samples_of_packs_elsewhere_and_keeps_its_log_ratios():
    found = planned("16x(cpus=1,memory=4G)")
    network, one = found.traffic, generator_footprint(found.config, MNIST).file_bytes
    assert network.first_rows == 15 * NUM * 784  # to all nodes but the coordinator's
    assert network.fakes == 15 * num_fakes(found.config, NUM, 15) * 784 * 4
    assert (network.rows, network.log_ratios) == (0, 0)
    assert network.labels == 14 * NUM * 4
    trunk = discriminator_footprint(found.config, MNIST).file_bytes
    assert network.checkpoint == 14 * one + trunk  # one generator is on the coordinator's node
    assert planned("16x(cpus=1,memory=4G)", local_storage=False).traffic.checkpoint == 15 * one + trunk
    team = planned("17x(cpus=1,memory=4G)", workers=2).traffic
    assert team.fakes == 2 * network.fakes


@pytest.mark.parametrize("nodes", ["cpus=2,memory=64G", "20x(cpus=1,memory=8G)"])
@pytest.mark.parametrize(("trunk", "workers", "each"), [("separate", 1, 3), ("shared", 2, 1), ("shared", 2, 3)])
def test_several_workers_draw_score_and_write_no_more_than_one(nodes, trunk, workers, each):
    few = DataConfig(block_bytes=784 * 7_000)
    options = {"num_components": 4, "trunk": trunk, "workers": workers, "workers_per_component": each, "data": few}
    found = planned(nodes, local_storage=False, **options)
    made, winners = [node.resident for node in found.nodes], NUM * 2 // 8
    assert len(found.actors) == 4 * each + (workers if trunk == "shared" else 4)
    assert sum(node.fakes for node in made) == found.data.fakes
    assert sum(node.log_ratios for node in made) == pytest.approx(found.data.log_ratios, abs=len(made))
    assert sum(node.files for node in made) == found.traffic.checkpoint == found.generation_bytes - winners


def test_a_component_of_several_workers_is_sent_and_kept_once():
    found = planned("5x(cpus=1,memory=8G)", num_components=2, workers_per_component=2)
    assert [[actor.name for actor in node.actors] for node in found.nodes] == [
        *[["generators of pack-0"], ["generators of pack-0-worker-1"]],
        *[["generators of pack-1"], ["generators of pack-1-worker-1"], ["discriminators of trunk"]],
    ]
    one, trunk = (each(found.config, MNIST).file_bytes for each in (generator_footprint, discriminator_footprint))
    assert found.traffic.checkpoint == one + trunk  # the other first worker is on the coordinator's node
    assert (found.traffic.first_rows, found.traffic.labels) == (4 * NUM * 784, 3 * NUM * 4)
    assert found.traffic.fakes == found.data.fakes == NUM * 784 * 4
    first, second, *_ = found.nodes[2:]
    assert (second.store_bytes, first.store_bytes) == (NUM * (784 + 4), NUM * (784 + 4 + 784 * 4 // 2))
    assert second.actors[0].memory.host_bytes < first.actors[0].memory.host_bytes  # it draws no samples


def test_samples_that_a_trunk_has_beside_it_are_not_sent_whoever_trains_there_too():
    network = planned("cpus=8,memory=64G", num_components=2, workers_per_component=3).traffic
    assert network.fakes == 0
    assert planned("cpus=8,memory=64G", num_components=2, trunk="separate", workers_per_component=3).traffic.fakes == 0


def test_workers_of_a_trunk_share_the_blocks_that_they_score():
    few = DataConfig(block_bytes=784 * 7_000)
    found = planned("3x(cpus=1,memory=8G)", num_components=1, workers=2, data=few)
    assert [node.resident.log_ratios for node in found.nodes] == [0, NUM * 4 * 5 // 9, NUM * 4 * 4 // 9]


def test_log_ratios_are_kept_where_generators_judge_by_their_own_density():
    config = replaced(config_of(num_components=4), {"discriminator.body": "none", "model": {"family": "centroid"}})
    found = plan(config, MNIST, machines_of("2x(cpus=2,memory=8G)"))
    assert [node.resident.log_ratios for node in found.nodes] == [2 * NUM * 4] * 2
    assert found.nodes[1].store_bytes == NUM * (784 + 4 + 2 * 4 + 2 * 4)
    assert found.traffic.log_ratios == 2 * NUM * 4


def test_what_generators_judge_is_work_of_theirs():
    judging = replaced(config_of(num_components=4), {"discriminator.body": "none", "assign.normalise": False})
    control = replaced(judging, {"mode": "random"})
    found, without = (plan(config, MNIST, machines_of("2x(cpus=2,memory=8G)")).work for config in (judging, control))
    assert found.discriminators == found.samples == 0
    assert 1.01 * without.generators < found.generators < 2 * without.generators


def test_work_without_gradients_is_a_third_of_a_step():
    judging = replaced(config_of(), {"discriminator.body": "none", "assign.normalise": False})
    found = generator_footprint(judging, MNIST)
    a_row = found.batch.flops / SAMPLE_BATCH
    assert 3 * a_row == pytest.approx(found.step.flops / judging.schedule.batch_size, rel=0.05)


def test_what_several_workers_of_a_component_wait_for_is_their_part():
    one, four = (planned("5xL4", num_components=1, workers_per_component=num) for num in (1, 4))
    assert one.work == four.work
    told = [found.limits[0].partition(";")[0] for found in (one, four)]
    assert [each.partition(":")[0] for each in told] == ["generators", "discriminator work"]
    assert one.limits[0].endswith("; raise resources.workers_per_component")


def test_separate_discriminators_keep_their_samples_and_send_their_log_ratios():
    network = planned("5x(cpus=3,memory=8G)", trunk="separate").traffic
    assert network.fakes == 0
    assert network.log_ratios == 15 * NUM * 4 * 12 // 15  # three of fifteen are where a block's rows are assigned


def test_blocks_come_again_in_each_round_where_the_object_store_is_too_small():
    found = planned("15x(cpus=2,memory=4G,store=40M)", trunk="separate")
    assert found.traffic.rows == found.traffic.first_rows == 14 * NUM * 784
    assert found.limits[0].startswith("object store: ") and "spilled" in found.limits[0]


def test_a_node_with_too_little_memory_is_the_first_limit():
    found = planned("cpus=16,memory=4G")
    assert found.limits[0].startswith("memory: node-0 needs ") and "of 4 GiB" in found.limits[0]
    fewer = planned("cpus=16,memory=4G", pack=15)
    assert fewer.nodes[0].memory_bytes < found.nodes[0].memory_bytes / 2
    assert not any(limit.startswith("memory") for limit in fewer.limits)


def test_a_gpu_with_too_little_memory_is_told():
    found = planned("L4,gpu_memory=1G", trunk="separate", num_components=4)
    assert any(limit.startswith("GPU memory: a GPU of node-0 needs ") for limit in found.limits)
    assert not any("GPU memory" in limit for limit in planned("4xL4", trunk="separate", num_components=4).limits)


def test_what_a_round_waits_for_is_said():
    one_trunk = planned("64x(cpus=16,gpus=1)").limits[0]
    assert one_trunk.startswith("discriminator work: ") and "raise discriminator.workers" in one_trunk
    separate = planned("15x(cpus=2)", trunk="separate").limits[0]
    assert separate.startswith("discriminator work: ") and "K x N" in separate
    packed = planned("cpus=2", pack=8).limits
    assert packed[0].startswith("generators: ") and "the largest pack has 8 of 15" in packed[0]
    assert "processors: 15 components share 2 actors (7 and 8 each)" in packed[1]


def test_what_does_not_fit_is_refused_as_a_run_is():
    with pytest.raises(ResourceError, match="no room for pack"):
        planned("cpus=2", cpus_per_component=1)
    with pytest.raises(ResourceError, match=r"resources.accelerator_type: is H200 and the cluster has 2 A100"):
        planned("2xA100", accelerator_type="H200")


def test_components_that_may_come_are_planned_for():
    schedule = ScheduleConfig(adapt=True, max_components=20, min_components=2)
    found = planned("cpus=4", num_components=5, pack=20, schedule=schedule)
    assert len(found.actors[0].components) == 20 and found.data.log_ratios == 20 * NUM * 4


# ---- the command


def test_the_command_plans_for_nodes_that_are_not_there_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["synthetic-3", "--resources.pack=1", "--nodes", "4x(cpus=2,memory=8G)", "--rounds", "2"]
    assert main(["plan", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(actor["components"]) for actor in found["actors"]] == [1] * 6
    assert len({actor["node"] for actor in found["actors"]}) == 3 and found["idle_nodes"] == 1
    assert found["nodes"][0]["memory_bytes_there"] == 8 * GIB and found["network"]["first_rows"] > 0
    assert main(["plan", *words, "--dry-run", "--wait-for-resources", "3"]) == 0  # as train takes them
    said = capsys.readouterr().out
    assert "generators of pack-2" in said and "what limits, the worst first:" in said and "1 more" in said
    assert not list(tmp_path.iterdir())


def test_the_command_plans_for_this_machine(capsys):
    assert main(["plan", "synthetic-3", "--resources.pack=3", "--resources.fused=true", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {actor["node"] for actor in found["actors"]} == {"this-machine"}
    assert 0 < found["nodes"][0]["store_bytes_there"] < found["nodes"][0]["memory_bytes_there"]


def test_nodes_that_are_alike_share_a_line(capsys):
    words = ["synthetic-3", "--num-components=30", "--resources.pack=1", "--nodes", "100x(cpus=2,memory=8G)"]
    assert main(["plan", *words]) == 0
    said = capsys.readouterr().out
    assert "node-1 .. node-29 (29)" in said and "generators of pack-0 .. generators of pack-29 (30)" in said
    assert "70 more" in said and len(said.splitlines()) < 30


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nodes", "64"], "--nodes: '64' is neither a type of GPU"),
        (["--nodes", "H200", "--address", "auto"], "--nodes: an address is given too; drop one of them"),
        (["--workers", "local"], "--workers local: all is in one process then"),
        (["--nodes", "cpus=2", "--resources.cpus-per-component=3"], "no room for pack-0"),
        (["--resources.accelerator-type", "H 200", "--nodes", "H200"], "resources.accelerator_type: "),
        (["--node", "H200"], "did you mean nodes?"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(words, said, capsys):
    assert main(["plan", "synthetic-3", "--resources.pack=1", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and said in err


@pytest.mark.usefixtures("ray_cluster")
def test_the_command_plans_for_a_running_cluster_and_leaves_it_alone(capsys):
    before = ray.available_resources()
    assert main(["plan", "synthetic-3", "--resources.pack=1", "--address", "auto", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (node,) = found["nodes"]
    assert node["name"] == ray.nodes()[0]["NodeManagerAddress"] and len(found["actors"]) == 6
    assert node["store_bytes_there"] == ray.nodes()[0]["Resources"]["object_store_memory"]
    assert ray.is_initialized() and ray.available_resources() == before
