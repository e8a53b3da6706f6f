"""What a round costs beside the tensors' work, counted."""

from collections import Counter

import pytest

from launch.control_plane import Measured, exponent, null_run, summary, table, train
from launch.null_family import null_log_ratios
from raymix.runs.checkpoint import RunDirectory
from raymix.storage import Storage

ROUNDS = 4
K, PACK, BLOCKS = 4, 2, 2


@pytest.fixture(scope="module")
def run(ray_cluster, tmp_path_factory):
    out = tmp_path_factory.mktemp("control") / "null"
    config, spec = null_run(K, PACK, num_rows=3000, num_blocks=BLOCKS, rounds=ROUNDS)
    return config, Storage.at(out), train(config, spec, out)


@pytest.mark.slow
def test_a_round_makes_as_many_calls_as_there_are_actors_and_blocks_to_call(run):
    config, _, (marks, own, actors) = run
    found = summary(config, BLOCKS, marks, own, actors)
    packs = K // PACK
    looks = found.calls.pop("progress", 0)  # by the clock: once a second of every actor
    assert found.calls == {
        "train": 2 * packs,
        "fakes": packs,
        "score": packs,
        "write": 2 * packs,
        "block_step": 2 * BLOCKS,  # nobody is starved
        "write_assigned": BLOCKS,
        "read_assigned": BLOCKS,
    }
    assert found.calls_per_component <= 10
    assert looks <= 2 * packs * (1 + found.round_s)


@pytest.mark.slow
def test_null_components_load_no_torch_and_still_commit_every_round(run):
    _, storage, (marks, own, actors) = run
    assert len(actors) == 2 * K // PACK and not any(each.torch for each in (own, *actors))
    assert [mark.round for mark in marks] == list(range(ROUNDS + 1))
    last = RunDirectory(storage).require_last()
    assert last.state.round == ROUNDS and sum(last.state.won_K) == 3000 and min(last.state.won_K) > 500
    assert last.record.rows_moved > 1000


def test_null_log_ratios_are_the_same_again_and_others_for_each_component_and_round():
    first, log_sum_exp = null_log_ratios(0, 1, 2, 1000)
    assert (first == null_log_ratios(0, 1, 2, 1000)[0]).all() and (first >= -1).all() and (first < 0).all()
    assert log_sum_exp == pytest.approx(6.9 - 0.46, abs=0.05)  # ln 1000 + ln of the mean of e^r over [-1, 0)
    assert abs(first - null_log_ratios(0, 1, 3, 1000)[0]).mean() > 0.2
    assert abs(first - null_log_ratios(0, 2, 2, 1000)[0]).mean() > 0.2


def found(num_components: int, seconds: float) -> Measured:
    phases = dict.fromkeys(("train generators", "train discriminators", "score", "assign", "commit"), 0.1)
    calls = Counter({"train": 2 * num_components})
    return Measured(num_components, 4, 2, seconds, phases, seconds / 2, 100 * 2**20, calls, 50 * 2**20)


def test_the_slope_is_that_of_a_power_of_k():
    runs = [found(8, 2.0), found(32, 8.0), found(128, 32.0)]
    assert exponent(runs, lambda each: each.round_s) == pytest.approx(1.0)
    assert "| 32 | 4 | 8.00 s | 0.10 | 0.10 | 0.10 | 0.10 | 0.10 | 2.00 | 4.00 s | 100 MiB | 50 MiB |" in table(runs)
