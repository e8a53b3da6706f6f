"""How a cluster is written that is not there."""

import pytest

from raymix.errors import ConfigError
from raymix.runtime.machines import GIB, Machine, machines_of, num_bytes
from raymix.runtime.placement import Node


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8xH200", [Machine(Node(128, 8, "node-0", "H200"), 512 * GIB, int(0.3 * 512 * GIB), 141 * GIB)]),
        ("H200", [Machine(Node(16, 1, "node-0", "H200"), 64 * GIB, int(0.3 * 64 * GIB), 141 * GIB)]),
        ("(cpus=4,memory=8G,store=1G)", [Machine(Node(4, 0, "node-0"), 8 * GIB, GIB)]),
        ("cpus=4, memory=8GiB, store=512M", [Machine(Node(4, 0, "node-0"), 8 * GIB, GIB // 2)]),
        (
            "2x(cpus=1,gpus=0.5,memory=4G,store=1G,gpu_memory=10G)",
            [Machine(Node(1, 0.5, f"node-{i}"), 4 * GIB, GIB, 10 * GIB) for i in range(2)],
        ),
        (
            "(2xL4,cpus=8,memory=1G,store=1G) + 1x(gpus=1,type=T4,cpus=2,memory=1G,store=1G)",
            [
                Machine(Node(8, 2, "node-0", "L4"), GIB, GIB, 24 * GIB),
                Machine(Node(2, 1, "node-1", "T4"), GIB, GIB, 16 * GIB),
            ],
        ),
    ],
)
def test_nodes_as_they_are_written(text, expected):
    assert machines_of(text) == expected


def test_sixty_four_nodes_are_sixty_four_and_have_names_of_their_own():
    found = machines_of("64x(cpus=16,gpus=1,memory=64G)")
    assert len({machine.node.id for machine in found}) == 64
    assert {(m.node.cpus, m.node.gpus, m.memory_bytes, m.gpu_bytes) for m in found} == {(16, 1, 64 * GIB, 0)}


def test_a_store_is_no_larger_than_ray_makes_it():
    assert machines_of("(8xH200,memory=2T)")[0].store_bytes == 200 * 10**9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is neither a type of GPU nor one of cpus, gpus, type"),
        ("64", "'64' is neither"),
        ("8xh200", "'8xh200' is neither"),
        ("0x(cpus=2)", "0 nodes are no number"),
        ("1000000x(cpus=2)", "1000000 nodes are no number"),
        ("0xH200", "has neither processors nor GPUs"),
        ("(memory=2G)", "has neither processors nor GPUs"),
        ("3x(cpus=2", "'3x(cpus=2' is neither"),
        ("cpus=2,cpus=3", "cpus is given twice"),
        ("H200,L4", "type is given twice"),
        ("cpus=two", "cpus=two is no number"),
        ("cpus=", "'cpus=' is neither"),
        ("cpus=1,memory=3Q", "'3Q' is no size"),
        ("cpus=0,gpus=0", "has no memory; give memory="),
        ("cpus=1,memory=4G,store=5G", "the object store is larger than the memory"),
        ("cpu=4", "'cpu=4' is neither"),
        ("H200+", "'' is neither"),
    ],
)
def test_misuse_is_told_in_one_line(text, said):
    with pytest.raises(ConfigError) as caught:
        machines_of(text)
    error = str(caught.value)
    assert error.startswith("--nodes: ") and said in error and "write 8xH200" in error and "\n" not in error


def test_sizes():
    assert [num_bytes(text) for text in ("7", "1K", "1.5G", "2TiB", "3MB")] == [
        7,
        1024,
        1536 * 2**20,
        2 * 2**40,
        3 * 2**20,
    ]
