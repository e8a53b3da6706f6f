"""Nodes leave and join in the middle of rounds: the digest stays, and nobody is disturbed who need not be."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from arena import Arena, arena
from harness import Disturbed, config, undisturbed_digest

ROUNDS = 24
pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return undisturbed_digest(config(rounds=ROUNDS, pack=1), tmp_path_factory.mktemp("undisturbed") / "run")


@pytest.fixture
def nodes() -> Iterator[Arena]:
    with arena() as made:
        yield made


def started(nodes: Arena, folder: Path, **settings: Any) -> Disturbed:
    """A run of three packs on two nodes that is held in the middle of its second round."""
    run = Disturbed(nodes.address, folder / "run", config(rounds=ROUNDS, pack=1, **settings))
    run.hold_at("train generators", 2)
    run.start()
    run.wait_until_held()
    assert sorted(nodes.nodes_of(run.run_id)) == ["pack-0", "pack-1", "pack-2"]
    return run


def pids_on(nodes: Arena, run: Disturbed, kept: set[str]) -> dict[str, int]:
    """Process numbers of the actors of some groups."""
    return {name: pid for name, pid in run.pids().items() if name.rpartition(" ")[2] in kept}


def wait_until_moved(nodes: Arena, run: Disturbed, lost: str) -> dict[str, str]:
    """Until a round is committed by groups that are elsewhere, which may not be the next one: processes of a lost node
    live on for a moment, and can end the round they are in. Returns the node of each group."""

    def elsewhere() -> dict[str, str] | None:
        found = nodes.nodes_of(run.run_id)
        return found if len(found) == 3 and lost not in found.values() else None

    after: dict[str, str] = run.wait_for(elsewhere, "groups elsewhere")
    run.wait_for_commits(run.rounds_committed() + 1)
    return after


def wait_until_dead(node: str) -> None:
    while any(each["NodeID"] == node and each["Alive"] for each in ray.nodes()):
        time.sleep(0.1)


def test_a_node_is_lost_and_later_another_joins(nodes: Arena, tmp_path: Path, expected: str) -> None:
    run = started(nodes, tmp_path)
    lost = nodes.node_of(run.run_id)
    nodes.kill_node(lost, another=False)
    killed = time.monotonic()
    run.go_on()
    after = wait_until_moved(nodes, run, lost)
    print(f"\n{time.monotonic() - killed:.1f} s from the loss of a node to a commit of the one left")
    assert len(set(after.values())) == 1
    alone = run.pids()

    came = time.monotonic()
    joined, at = nodes.add_node(), run.rounds_committed()
    run.wait_for(lambda: joined in nodes.nodes_of(run.run_id).values(), "a group on the node that joined")
    print(f"{time.monotonic() - came:.1f} s from the start of another node until it holds actors")
    assert run.rounds_committed() - at <= 2  # that of the round in which it joined; one may have been made just now
    run.wait_for_commits(run.rounds_committed() + 1)
    after = nodes.nodes_of(run.run_id)
    stayed = {name for name, node in after.items() if node != joined}
    assert len(after) == 3 and stayed and len(stayed) < 3
    assert pids_on(nodes, run, stayed) == {n: pid for n, pid in alone.items() if n.rpartition(" ")[2] in stayed}
    run.finish()
    run.require(expected)


@pytest.mark.parametrize("on_loss", ["move", "wait"])
def test_only_what_a_lost_node_held_is_replaced(on_loss: str, nodes: Arena, tmp_path: Path, expected: str) -> None:
    """Another node is there at once, or comes while the run waits for it."""
    run = started(nodes, tmp_path, on_loss=on_loss)
    before = nodes.nodes_of(run.run_id)
    lost = before["pack-0"]
    stayed = {name for name, node in before.items() if node != lost}
    pids = pids_on(nodes, run, stayed)
    assert len(pids) == 2 * len(stayed) > 0
    nodes.kill_node(lost, another=on_loss == "move")
    killed = time.monotonic()
    run.go_on()
    if on_loss == "wait":
        wait_until_dead(lost)
        time.sleep(2)
        committed = run.rounds_committed()
        time.sleep(5)
        assert run.rounds_committed() == committed
        nodes.add_node()
    after = wait_until_moved(nodes, run, lost)
    print(f"\n{time.monotonic() - killed:.1f} s from the loss of a node to a commit without it ({on_loss})")
    assert {name: after[name] for name in stayed} == {name: before[name] for name in stayed}
    assert pids_on(nodes, run, stayed) == pids
    run.finish()
    run.require(expected)


def test_who_waits_in_vain_moves(nodes: Arena, tmp_path: Path, expected: str) -> None:
    run = started(nodes, tmp_path, on_loss="wait", stall_s=15)
    lost = nodes.node_of(run.run_id)
    nodes.kill_node(lost, another=False)
    run.go_on()
    assert len(set(wait_until_moved(nodes, run, lost).values())) == 1
    run.finish()
    run.require(expected)
