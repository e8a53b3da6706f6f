"""Whatever process is killed, wherever: the run ends with the digest of an undisturbed one."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from arena import Arena, arena
from harness import DISCRIMINATORS, GENERATORS, Disturbed, config, undisturbed_digest

from raymix.config import BalanceConfig, Config
from raymix.config_values import replaced
from raymix.runs.record import read_record
from raymix.storage import Storage

PLACES = {
    "load": ("reading blocks", None),
    "pre-train": ("pre-train", None),
    "train generators": ("train generators", 2),
    "train discriminators": ("train discriminators", 2),
    "score": ("score", 2),
    "assign": ("assign", 2),
    "before publish": ("before publish", 2),
    "after publish": ("after publish", 2),
    "evaluate": ("evaluate", 2),
}
PACK_1 = "generators of pack-1, one component per actor"
VICTIMS = (GENERATORS, DISCRIMINATORS, "coordinator", "raylet", "driver", PACK_1)
seconds_to_commit: dict[tuple[str, str], float] = {}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Config], str]:
    """The digest of a config's undisturbed run."""
    digests: dict[str, str] = {}

    def digest(settings: Config) -> str:
        key = settings.model_dump_json()
        if key not in digests:
            digests[key] = undisturbed_digest(settings, tmp_path_factory.mktemp("undisturbed") / "run")
        return digests[key]

    return digest


@pytest.fixture(scope="module")
def nodes() -> Iterator[Arena]:
    with arena() as made:
        yield made
    print("\nseconds from a kill to the next commit")
    for victim in VICTIMS:
        cells = (f"{seconds_to_commit.get((victim, place), float('nan')):6.1f}" for place in PLACES)
        print(f"{victim:50}", *cells)
    print(f"{'':50}", *(f"{place[:6]:>6}" for place in PLACES))


def disturb(run: Disturbed, place: tuple[str, int | None], victim: str, kill: Callable[[], None]) -> float:
    """Run to the end with one kill at the place; returns the seconds from it to the next commit."""
    run.hold_at(*place)
    run.start()
    run.wait_until_held()
    committed = run.rounds_committed()
    kill()
    killed = time.monotonic()
    run.go_on()
    if victim == "driver":
        run.driver.wait()
        run.start("resume")
    run.wait_for_commits(committed + 1)
    back_s = time.monotonic() - killed
    run.finish()
    return back_s


@pytest.mark.parametrize("family", ["vae", pytest.param("sn-dcgan", marks=pytest.mark.faults)])
def test_a_kill_leaves_no_trace(
    family: str, tmp_path: Path, expected: Callable[[Config], str], ray_cluster: None
) -> None:
    """One cell of the table below, for every day; of an adversarial family the generators die while they alternate."""
    settings = config(rounds=3, family=family, epochs_per_round=4, evaluate_every=0)
    run = Disturbed(ray.get_runtime_context().gcs_address, tmp_path / "run", settings)
    disturb(run, PLACES["train generators"], GENERATORS, lambda: run.kill(GENERATORS))
    run.require(expected(run.settings))


@pytest.mark.faults
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("place", PLACES)
def test_every_process_at_every_place(
    victim: str, place: str, tmp_path: Path, expected: Callable[[Config], str], nodes: Arena
) -> None:
    run = Disturbed(nodes.address, tmp_path / "run", config(pack=1 if victim == PACK_1 else 3))
    back_s = disturb(run, PLACES[place], victim, lambda: nodes.strike(run, victim.split(",")[0]))
    seconds_to_commit[victim, place] = back_s
    print(f"{victim}, {place}: {back_s:.1f} s to the next commit")
    run.require(expected(run.settings))


@pytest.mark.faults
@pytest.mark.parametrize("victim", [GENERATORS, DISCRIMINATORS])
@pytest.mark.parametrize("place", [("train discriminators", 2), ("score", 2), ("before publish", 2)])
def test_a_round_that_overlaps_is_repeated_from_what_it_began_with(
    victim: str, place: tuple[str, int], tmp_path: Path, nodes: Arena
) -> None:
    settings = config(overlap=True, synchronous_rounds=1)
    expected = undisturbed_digest(settings, tmp_path / "undisturbed")
    run = Disturbed(nodes.address, tmp_path / "run", settings)
    disturb(run, place, victim, lambda: nodes.strike(run, victim))
    run.require(expected)


@pytest.mark.faults
@pytest.mark.parametrize("victim", ["discriminators of trunk-0", "discriminators of trunk-1", GENERATORS])
@pytest.mark.parametrize("place", [("train discriminators", 2), ("score", 2)])
def test_a_trunk_that_lost_one_of_its_team_is_trained_again(
    victim: str, place: tuple[str, int], tmp_path: Path, nodes: Arena
) -> None:
    settings = config(team=2)
    expected = undisturbed_digest(settings, tmp_path / "undisturbed")
    run = Disturbed(nodes.address, tmp_path / "run", settings)
    disturb(run, place, victim, lambda: nodes.strike(run, victim))
    run.require(expected)


@pytest.mark.faults
@pytest.mark.parametrize("victim", [GENERATORS, "coordinator", "raylet"])
@pytest.mark.parametrize("place", [("begin", None), ("reseed", 0), ("score", 2)])
def test_a_run_that_begins_with_cells_is_begun_again(
    victim: str, place: tuple[str, int | None], tmp_path: Path, nodes: Arena
) -> None:
    """Copies of one generator on cells of k-means, which judge by their bounds."""
    settings = config(begin="centroids", pretrain_on="one", settle=1)
    settings = replaced(settings, {"discriminator.body": "none", "assign.normalise": False})
    expected = undisturbed_digest(settings, tmp_path / "undisturbed")
    run = Disturbed(nodes.address, tmp_path / "run", settings)
    disturb(run, place, victim, lambda: nodes.strike(run, victim))
    run.require(expected)


@pytest.mark.faults
@pytest.mark.parametrize("victim", [GENERATORS, f"{GENERATORS}-worker-1", DISCRIMINATORS])
@pytest.mark.parametrize("place", [("train generators", 2), ("train discriminators", 2)])
def test_a_component_that_lost_one_of_its_workers_is_trained_again(
    victim: str, place: tuple[str, int], tmp_path: Path, ray_cluster: None
) -> None:
    """In the midst of the training its other worker waits for it, and gives up."""
    settings = config(pack=1, workers=2, epochs_per_round=40)
    expected = undisturbed_digest(settings, tmp_path / "undisturbed")
    run = Disturbed(ray.get_runtime_context().gcs_address, tmp_path / "run", settings)
    disturb(run, place, victim, lambda: run.kill(victim))
    run.require(expected)


@pytest.mark.faults
@pytest.mark.parametrize("victim", [GENERATORS, DISCRIMINATORS])
@pytest.mark.parametrize("place", [("reseed", 2), ("before publish", 2)])
def test_a_round_that_reseeds_is_repeated_from_what_it_began_with(
    victim: str, place: tuple[str, int], tmp_path: Path, nodes: Arena
) -> None:
    """Some rounds have starved components here, and copy others onto them; the place is in one that does."""
    settings = config(balance=BalanceConfig(min_share=1, patience=1))
    expected = undisturbed_digest(settings, tmp_path / "undisturbed")
    run = Disturbed(nodes.address, tmp_path / "run", settings)
    disturb(run, place, victim, lambda: nodes.strike(run, victim))
    run.require(expected)
    assert next(line for line in read_record(Storage.at(run.out)) if line.round == place[1]).reseeded
