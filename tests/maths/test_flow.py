import numpy as np

from raymix.maths.flow import NO_FLOW, added, flow, largest


def brute_force(before_n, after_n):
    counts = {}
    for pair in zip(before_n.tolist(), after_n.tolist(), strict=True):
        if pair[0] != pair[1]:
            counts[pair] = counts.get(pair, 0) + 1
    return sorted(([*pair, rows] for pair, rows in counts.items()), key=lambda cell: (-cell[2], *cell[:2]))


def test_a_flow_counts_every_pair_largest_first():
    rng = np.random.default_rng(0)
    for high in (1, 3, 50, 2**31 - 1):
        before_n, after_n = (rng.integers(0, high, 200).astype(np.int32) for _ in range(2))
        assert flow(before_n, after_n).tolist() == brute_force(before_n, after_n)
    assert flow(before_n, before_n).shape == (0, 3)


def test_flows_of_parts_add_up_to_that_of_the_whole():
    rng = np.random.default_rng(1)
    before_n, after_n = rng.integers(0, 6, (2, 500))
    parts = [flow(before_n[i : i + 70], after_n[i : i + 70]) for i in range(0, 500, 70)]
    assert added(parts).tolist() == flow(before_n, after_n).tolist()
    assert added([]).tolist() == added([NO_FLOW, NO_FLOW]).tolist() == []


def test_a_block_tells_all_pairs_of_33_components_and_the_largest_of_more():
    def every_pair(num):
        return np.array([(j, k, 1 + k) for j in range(num) for k in range(num) if j != k])

    assert len(largest(every_pair(33), 33)) == 33 * 32
    assert len(largest(every_pair(60), 60)) == 60 * 32
