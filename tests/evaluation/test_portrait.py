"""Looking at the components of a committed generation."""

from pathlib import Path

import numpy as np
import pytest

from raymix import session
from raymix.config import AssignConfig, Config, DataConfig, DiscriminatorConfig, ResourcesConfig, ScheduleConfig
from raymix.evaluation import portrait
from raymix.evaluation.portrait import amounts, chosen_blocks, portray, walks
from raymix.families.centroid import CentroidConfig
from raymix.families.vae import VAEConfig
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, assignment_name, read_assigned
from raymix.seeds import Phase, phase_seed
from raymix.storage import Storage
from raymix.training.packs import Packs

SCHEDULE = ScheduleConfig(rounds=1, pretrain_epochs=2, epochs_per_round=2, batch_size=16, report=False)
PACKED = ResourcesConfig(pack=3, fused=True)


def trained(folder: Path, rows: np.ndarray, K: int = 3, labels: np.ndarray | None = None, **settings) -> RunDirectory:
    """A short run on these rows, in several blocks."""
    folder.mkdir()
    np.save(folder / "rows.npy", rows)
    if labels is not None:
        np.save(folder / "labels.npy", labels)
    data = DataConfig(
        name="file",
        path=str(folder / "rows.npy"),
        labels=None if labels is None else str(folder / "labels.npy"),
        block_bytes=rows[0].nbytes * 100,
    )
    config = Config(num_components=K, seed=3, data=data, **({"schedule": SCHEDULE, "resources": PACKED} | settings))
    config, spec = resolve(config)
    session.start(config, spec, str(folder / "run"), workers="local")
    return RunDirectory(Storage.at(folder / "run"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, RunDirectory]:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (350, 3, 6, 5), dtype=np.uint8)
    rows[:150] //= 4
    model = VAEConfig(encoder=(16,), decoder=(16,), latent=3, body="mlp")
    return rows, trained(tmp_path_factory.mktemp("images") / "it", rows, model=model)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, RunDirectory]:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(350, 2)) + 6 * rng.integers(0, 3, (350, 1))).astype(np.float32)
    return rows, trained(tmp_path_factory.mktemp("plane") / "it", rows)


def winners_of(directory: RunDirectory) -> np.ndarray:
    generation = directory.require_last()
    names = sorted(name for name in generation.files if name.startswith("labels-"))
    assert len(names) == 4 and names[0] == assignment_name(0)
    parts = [read_assigned(directory.storage, f"{generation.folder}/{name}").winners for name in names]
    return np.concatenate(parts)


def test_samples_and_owned_rows_are_those_of_the_component(images: tuple[np.ndarray, RunDirectory]) -> None:
    rows, directory = images
    generation = directory.require_last()
    winners_N, todo = winners_of(directory), amounts((3, 6, 5), 3)
    seen = portray(directory, generation)
    packs = Packs(*directory.load(), generation.components)
    packs.load(directory.storage, generation)
    for each in seen.components:
        k = each.component
        seed = phase_seed(3, generation.state.round, k, Phase.PICTURE)
        samples = packs.generators.sample_in_data_units(k, todo.measured, seed)
        np.testing.assert_array_equal(each.samples, samples[: todo.shown])
        own = {row.tobytes() for row in rows[winners_N == k]}
        assert each.owned.dtype == np.uint8
        assert len(each.owned) == min(todo.shown, len(own)) == len({row.tobytes() for row in each.owned})
        assert all(row.tobytes() in own for row in each.owned)
    assert (seen.num_rows, seen.num_read, seen.num_searched) == (350, 350, 350)
    assert seen.grid is None


def test_the_nearest_training_row_is_that_of_brute_force(images: tuple[np.ndarray, RunDirectory]) -> None:
    rows, directory = images
    winners_N, flat_ND = winners_of(directory), rows.reshape(350, -1).astype(float)
    for each in portray(directory, directory.require_last()).components:
        near = each.neighbours
        for i, sample in enumerate(each.samples):
            distance_N = np.linalg.norm(flat_ND - sample.reshape(-1), axis=1)
            assert near.distances[i] == pytest.approx(distance_N.min())
            if i < len(near.rows):
                np.testing.assert_array_equal(near.rows[i], rows[near.numbers[i]])
                assert distance_N[near.numbers[i]] == pytest.approx(distance_N.min())
                assert near.owners[i] == winners_N[near.numbers[i]]
        for real, distance in zip(each.owned, near.real_distances, strict=False):
            distance_N = np.sort(np.linalg.norm(flat_ND - real.reshape(-1), axis=1))
            assert distance_N[0] == 0 and distance == pytest.approx(distance_N[1])


def test_latent_walks_go_along_the_coordinates_that_change_most(images: tuple[np.ndarray, RunDirectory]) -> None:
    """Between quantiles of the prior, which here is normal: about -2 and 2."""
    _, directory = images
    generation = directory.require_last()
    packs = Packs(*directory.load(), generation.components)
    packs.load(directory.storage, generation)
    for each in portray(directory, generation).components:
        assert each.walks is not None and each.walks.shape == (2, 9, 3, 6, 5)
        ends = 2.05 * np.concatenate([-np.eye(3), np.eye(3)]).astype(np.float32)
        low, high = np.split(packs.generators.decode_in_data_units(each.component, ends), 2)
        expected = np.sort(np.abs(high - low).reshape(3, -1).mean(1))[::-1][:2]
        changes = [np.abs(walk[8] - walk[0]).mean() for walk in each.walks]
        np.testing.assert_allclose(changes, expected, rtol=0.2)


class Ring:
    """A decoder whose latents lie on two distant points."""

    def latent(self, component: int) -> int:
        return 2

    def latents(self, component: int, num: int, seed: int) -> np.ndarray:
        side = np.where(np.arange(num) % 2, 5.0, -5.0)
        return np.stack([side, np.linspace(-1, 1, num)], 1).astype(np.float32)

    def decode_in_data_units(self, component: int, latents_BZ: np.ndarray) -> np.ndarray:
        return latents_BZ.reshape(-1, 1, 1, 2)


def test_latent_walks_start_from_a_point_of_the_prior() -> None:
    (first, second) = walks(Ring(), 0, 2, seed=0)[:, :, 0, 0]
    assert np.ptp(first[:, 1]) == 0 and np.ptp(second[:, 0]) == 0
    assert {first[0, 0], first[-1, 0]} == {-5.0, 5.0} and abs(second[0, 0]) == 5
    np.testing.assert_allclose(second[:, 1], np.linspace(-0.96, 0.96, 9), atol=0.01)


def test_a_portrait_repeats(plane: tuple[np.ndarray, RunDirectory]) -> None:
    _, directory = plane
    one, two = (portray(directory, directory.require_last()) for _ in range(2))
    for left, right in zip(one.components, two.components, strict=True):
        np.testing.assert_array_equal(left.samples, right.samples)
        np.testing.assert_array_equal(left.owned, right.owned)
        np.testing.assert_array_equal(left.neighbours.distances, right.neighbours.distances)


def test_the_field_is_what_the_discriminators_say(plane: tuple[np.ndarray, RunDirectory]) -> None:
    rows, directory = plane
    generation = directory.require_last()
    seen = portray(directory, generation)
    assert seen.grid is not None
    assert seen.grid.xs[0] < rows[:, 0].min() and seen.grid.xs[-1] > rows[:, 0].max()
    packs = Packs(*directory.load(), generation.components)
    packs.load(directory.storage, generation)
    assert packs.scorer is not None
    points = np.array([[seen.grid.xs[5], seen.grid.ys[40]], [seen.grid.xs[60], seen.grid.ys[2]]], np.float32)
    log_ratios = packs.scorer.score(1, points, generation.state.components)
    for each in seen.components:
        assert each.walks is None and each.log_ratio_YX is not None
        np.testing.assert_allclose(
            [each.log_ratio_YX[40, 5], each.log_ratio_YX[2, 60]], log_ratios[each.component][0], rtol=1e-3, atol=1e-4
        )


def test_of_a_large_data_set_some_blocks_are_read(
    plane: tuple[np.ndarray, RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, directory = plane
    monkeypatch.setattr(portrait, "READ_BYTES", 2 * 100 * rows[0].nbytes)
    monkeypatch.setattr(portrait, "SEARCHED_ROWS", 60)
    seen = portray(directory, directory.require_last())
    assert seen.num_rows == 350 and seen.num_read in (150, 200) and seen.num_searched == 60
    winners_N = winners_of(directory)
    for each in seen.components:
        for real in each.owned:
            (place,) = np.flatnonzero((rows == real).all(1))
            assert winners_N[place] == each.component


def test_blocks_are_chosen_by_seed_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portrait, "READ_BYTES", 1000)
    assert chosen_blocks(7, 100, 0) == list(range(7))
    chosen = chosen_blocks(500, 100, 0)
    assert len(set(chosen)) == 10 and chosen == sorted(chosen) == chosen_blocks(500, 100, 0)
    assert chosen != chosen_blocks(500, 100, 1)
    assert len(chosen_blocks(5, 10_000, 0)) == 1


@pytest.mark.parametrize("mode", ["random", "single"])
def test_a_control_has_no_field(tmp_path: Path, mode: str) -> None:
    rows = np.random.default_rng(0).normal(size=(350, 2)).astype(np.float32)
    directory = trained(tmp_path / "it", rows, mode=mode, labels=np.arange(350) % 4)
    seen = portray(directory, directory.require_last())
    assert seen.grid is None and all(each.log_ratio_YX is None for each in seen.components)
    assert len(seen.components) == (1 if mode == "single" else 3)


def test_a_family_with_its_own_density_is_looked_at_without_walks(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(350, 2))
    directory = trained(
        tmp_path / "it",
        rows,
        model=CentroidConfig(),
        discriminator=DiscriminatorConfig(body="none"),
        assign=AssignConfig(normalise=False),
        schedule=ScheduleConfig(rounds=1, pretrain_epochs=0, report=False),
    )
    seen = portray(directory, directory.require_last())
    assert seen.grid is not None
    for each in seen.components:
        assert each.walks is None and each.owned.dtype == np.float64
        y, x = np.unravel_index(np.argmax(each.log_ratio_YX), (64, 64))
        step = max(np.diff(seen.grid.xs)[0], np.diff(seen.grid.ys)[0])
        np.testing.assert_allclose([seen.grid.xs[x], seen.grid.ys[y]], each.samples[0], atol=step)


@pytest.mark.parametrize("K", [1, 15, 40, 1000])
@pytest.mark.parametrize("shape", [(2,), (1, 28, 28), (3, 64, 64), (3, 218, 178)])
def test_a_plan_shows_something_of_everybody(shape: tuple[int, ...], K: int) -> None:
    todo = amounts(shape, K)
    assert (
        todo.shown >= 4
        and todo.paired >= 2
        and todo.measured >= 8
        and todo.walks == (0 if len(shape) == 1 else todo.walks)
    )
