"""Generations of a run directory: committed whole, damaged, pruned, fenced; and their digest."""

import json
import logging

import numpy as np
import pytest

from raymix.checkpoint import (
    Generation,
    RunDirectory,
    best_of,
    digest,
    discriminator_name,
    finite_or_none,
    generator_name,
    labels_name,
    read_assigned,
    read_tensors,
    write_assigned,
    write_tensors,
)
from raymix.config import Config, FamilyConfig
from raymix.data.source import DataSpec
from raymix.errors import CheckpointError
from raymix.models.registry import close
from raymix.state import Assigned, State
from raymix.storage import FileStamp, Storage

SPEC = DataSpec("file", 6, (1, 2, 2), "uint8", ("a", "b"))
TENSORS = {
    "network/weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "network/steps": np.array(7, np.int64),
    "optimiser/adam/learning_rate": np.array(1e-3),
}


def state_of(round):
    return State(round, (0, 3), (4, 2), (4, 3), (0.25, -1e4))


def directory_at(path):
    directory = RunDirectory(Storage.at(path))
    directory.take_over()
    return directory


def commit(directory, round=0, *, measure=None, tensors=None, assigned=None, state=None):
    """Publish a round with one generator and, in blocks, its labels."""
    storage, folder = directory.storage, directory.folder_for(round)
    name = generator_name(0)
    files = {name: write_tensors(storage, f"{folder}/{name}", tensors or TENSORS)}
    assigned = assigned or [Assigned.of(np.array([0, 0, 3])), Assigned.of(np.array([0, 3, 0]))]
    for b, block in enumerate(assigned):
        files[labels_name(b)] = write_assigned(storage, f"{folder}/{labels_name(b)}", block)
    record = {"round": round, "measures": None if measure is None else {"score": measure}}
    return directory.publish(state or state_of(round), files, record)


@pytest.fixture
def directory(tmp_path):
    return directory_at(tmp_path)


def files_of(directory, generation):
    return directory.storage.names(generation.folder)


# ---- files


@pytest.mark.parametrize("order", ["C", "F"])
def test_tensors_come_back_with_shape_type_and_bits(tmp_path, order):
    storage = Storage.at(tmp_path)
    tensors = {name: np.asarray(value, order=order) for name, value in TENSORS.items()}
    tensors["b"] = np.array([True, False])
    tensors["empty"] = np.empty((0, 3), np.float32)
    tensors["strange"] = np.array([np.nan, -0.0, np.inf], np.float64)
    stamp = write_tensors(storage, "x.safetensors", tensors)
    assert stamp == FileStamp.of((tmp_path / "x.safetensors").read_bytes())
    back = read_tensors(storage, "x.safetensors")
    assert back.keys() == tensors.keys()
    for name, value in tensors.items():
        assert (back[name].dtype, back[name].shape) == (value.dtype, value.shape), name
        assert back[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize(
    "assigned",
    [
        Assigned.of(np.array([5, 0, 5, 2])),
        Assigned.of(np.array([1])),
        Assigned(np.array([1, 0, 1], np.int32), np.array([1, 0, 1], np.int32), np.array([7, 7, 3], np.int32)),
    ],
)
def test_assignment_comes_back_row_by_row(tmp_path, assigned):
    storage = Storage.at(tmp_path)
    write_assigned(storage, "labels.parquet", assigned)
    back = read_assigned(storage, "labels.parquet")
    assert [array.dtype for array in back] == [np.int32] * 3
    np.testing.assert_array_equal(back.labels, assigned.labels)
    pairs = sorted(zip(assigned.lent_rows.tolist(), assigned.lent_to.tolist(), strict=True))
    assert list(zip(back.lent_rows.tolist(), back.lent_to.tolist(), strict=True)) == pairs
    for k in range(8):
        np.testing.assert_array_equal(back.rows_of(k), assigned.rows_of(k))


def test_names_sort_by_number():
    assert labels_name(2) < labels_name(10) and generator_name(2) < generator_name(10)
    assert discriminator_name(4, shared=True) == "trunk.safetensors" != discriminator_name(4, shared=False)


# ---- the directory


def test_config_and_data_come_back(tmp_path):
    directory = RunDirectory(Storage.at(tmp_path / "run"))
    config = close(Config(num_components=2, model=FamilyConfig(family="vae", latent=3)))
    directory.create(config, SPEC, {"python": "3.x"})
    back, spec = RunDirectory(Storage.at(tmp_path / "run")).load()
    assert close(back) == config and spec == SPEC
    assert json.loads((tmp_path / "run" / "run.json").read_text())["environment"] == {"python": "3.x"}
    with pytest.raises(CheckpointError, match="already holds a run"):
        directory.create(config, SPEC, {})


def test_directory_without_a_run_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=rf"^{tmp_path}: holds no run"):
        RunDirectory(Storage.at(tmp_path)).load()


@pytest.mark.parametrize("content", ["{", "[1]", '{"format": 99, "data": {}}'])
def test_run_file_that_is_damaged_or_of_another_format_is_refused(tmp_path, content):
    directory = RunDirectory(Storage.at(tmp_path))
    directory.create(Config(), SPEC, {})
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"run\.json: "):
        directory.load()


# ---- generations


def test_generation_comes_back_as_it_was_published(tmp_path, directory):
    written = commit(directory, 3, measure=1.5)
    read = RunDirectory(Storage.at(tmp_path)).last()
    assert read == written
    assert read.state == state_of(3) and isinstance(read.state.won_K, tuple)
    assert read.record == {"round": 3, "measures": {"score": 1.5}}
    manifest = json.loads((tmp_path / read.folder / "manifest.json").read_text())
    for name, stamp in read.files.items():
        assert (
            FileStamp.of((tmp_path / read.folder / name).read_bytes()) == stamp == FileStamp(*manifest["files"][name])
        )


def test_last_is_the_highest_round(directory):
    assert directory.last() is None
    for round in (0, 1, 2, 10):
        commit(directory, round)
    assert directory.last().state.round == 10
    assert [g.state.round for g in directory.generations()] == [0, 1, 2, 10]


def test_round_without_a_manifest_does_not_count(directory):
    commit(directory, 0)
    write_tensors(directory.storage, f"{directory.folder_for(1)}/{generator_name(0)}", TENSORS)
    assert directory.last().state.round == 0


def test_run_without_a_complete_round_is_refused(directory):
    with pytest.raises(CheckpointError, match="holds no complete round yet"):
        directory.require_last()


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [flip_a_byte, lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-1])],
    ids=["flipped bit", "missing", "cut short"],
)
@pytest.mark.parametrize("file", [generator_name(0), labels_name(1)])
def test_damaged_file_falls_back_with_a_warning(tmp_path, directory, caplog, file, harm):
    commit(directory, 0)
    damaged = commit(directory, 1)
    harm(tmp_path / damaged.folder / file)
    with caplog.at_level(logging.WARNING):
        assert directory.last().state.round == 0
    assert len(caplog.records) == 1
    assert damaged.name in caplog.text and file in caplog.text


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"state": {}}', b'{"state": 3, "files": {}, "record": {}}'])
def test_damaged_manifest_falls_back_with_a_warning(tmp_path, directory, caplog, content):
    commit(directory, 0)
    damaged = commit(directory, 1)
    (tmp_path / damaged.folder / "manifest.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert RunDirectory(Storage.at(tmp_path)).last().state.round == 0
    assert damaged.name in caplog.text


def test_nothing_is_left_when_all_are_damaged(tmp_path, directory):
    flip_a_byte(tmp_path / commit(directory, 0).folder / generator_name(0))
    assert directory.last() is None


def test_drop_after_forgets_later_rounds_and_unpublished_parts(directory):
    for round in (0, 1, 2):
        commit(directory, round)
    directory.storage.write(f"{directory.folder_for(3)}/part", b"")
    directory.drop_after(1)
    assert [g.state.round for g in directory.generations()] == [0, 1]
    assert len(directory.storage.names("generations")) == 2
    directory.drop_after(-1)
    assert directory.storage.names("generations") == []


# ---- pruning


def kept_rounds(directory):
    return [g.state.round for g in directory.generations() if directory.damage(g) is None]


def test_prune_keeps_the_last_two_and_the_best(directory):
    published = [commit(directory, round, measure=m) for round, m in enumerate((0.1, 0.9, 0.3, 0.2, 0.4))]
    directory.prune("score")
    assert kept_rounds(directory) == [1, 3, 4]
    assert len(directory.generations()) == 5  # manifests stay, they are the record
    assert files_of(directory, published[0]) == ["manifest.json"]


def test_prune_without_measures_keeps_the_last_two(directory):
    for round in range(4):
        commit(directory, round)
    directory.prune("score")
    assert kept_rounds(directory) == [2, 3]


def test_prune_of_the_best_keeps_the_earliest_of_equals_and_ignores_other_measures(directory):
    for round, measure in enumerate((0.5, 0.5, None, 0.1, 0.2)):
        commit(directory, round, measure=measure)
    assert best_of(directory.generations(), "score").state.round == 0
    assert best_of(directory.generations(), "another") is None
    directory.prune("another")
    assert kept_rounds(directory) == [3, 4]


def test_prune_removes_parts_that_were_never_published(directory):
    commit(directory, 0)
    directory.storage.write(f"{directory.folder_for(7)}/part", b"")
    directory.prune("score")
    assert directory.storage.names("generations") == [directory.last().name]


# ---- writers


def test_an_old_writer_cannot_publish(tmp_path):
    old = directory_at(tmp_path)
    commit(old, 0)
    new = directory_at(tmp_path)
    with pytest.raises(CheckpointError, match="another writer took over"):
        commit(old, 1)
    assert new.last().state.round == 0
    assert commit(new, 1) == new.last() == old.last()


def test_writers_do_not_share_folders(tmp_path):
    old, new = directory_at(tmp_path), directory_at(tmp_path)
    assert old.folder_for(1) != new.folder_for(1)
    assert directory_at(tmp_path).writer == 3


def test_of_a_round_published_twice_the_later_writers_counts(tmp_path):
    first = commit(directory_at(tmp_path), 1)
    second = commit(directory_at(tmp_path), 1)
    assert first.name != second.name
    assert [g.name for g in RunDirectory(Storage.at(tmp_path)).generations()] == [second.name]


def test_an_old_writer_does_not_prune_what_a_newer_one_writes(tmp_path):
    old = directory_at(tmp_path)
    commit(old, 0)
    new = directory_at(tmp_path)
    new.storage.write(f"{new.folder_for(1)}/part", b"")
    old.prune("score")
    assert new.storage.exists(f"{new.folder_for(1)}/part")


# ---- digest


LABELS = np.array([0, 3, 0, 0, 3, 0], np.int32)
LENT_ROWS, LENT_TO = np.array([4, 0, 4], np.int32), np.array([0, 3, 7], np.int32)


def in_blocks(cuts, labels=LABELS, lent_rows=LENT_ROWS, lent_to=LENT_TO):
    blocks = []
    for start, stop in zip([0, *cuts], [*cuts, len(labels)], strict=True):
        here = (start <= lent_rows) & (lent_rows < stop)
        blocks.append(Assigned(labels[start:stop], lent_rows[here] - start, lent_to[here]))
    return blocks


def digest_of(path, **commit_settings):
    directory = directory_at(path)
    commit(directory, assigned=commit_settings.pop("assigned", in_blocks([3])), **commit_settings)
    return digest(directory)


def test_digest_does_not_depend_on_the_cut_into_blocks_or_the_writer(tmp_path):
    cuts = ([], [3], [1, 2, 5], [1, 2, 3, 4, 5])
    found = {digest_of(tmp_path / str(i), assigned=in_blocks(cut)) for i, cut in enumerate(cuts)}
    directory_at(tmp_path / "later")
    found.add(digest_of(tmp_path / "later"))
    assert len(found) == 1


def changed(name, change):
    array = TENSORS[name].copy()
    array.reshape(-1)[:1] = change(array.reshape(-1)[:1])
    return TENSORS | {name: array}


@pytest.mark.parametrize(
    "settings",
    [
        {"tensors": changed("network/weight", lambda value: value + np.float32(1e-30))},
        {"tensors": changed("network/steps", lambda value: value + 1)},
        {"tensors": changed("optimiser/adam/learning_rate", lambda value: np.nextafter(value, 1))},
        {"tensors": TENSORS | {"network/weight": TENSORS["network/weight"].reshape(3, 2)}},
        {"tensors": TENSORS | {"network/weight": TENSORS["network/weight"].view(np.int32)}},
        {"tensors": {name + "_": value for name, value in TENSORS.items()}},
        {"tensors": TENSORS | {"network/more": np.zeros(0)}},
        {"assigned": in_blocks([3], labels=np.array([0, 3, 0, 0, 3, 3], np.int32))},
        {"assigned": in_blocks([3], lent_rows=np.array([4, 1, 4], np.int32))},
        {"assigned": in_blocks([3], lent_to=np.array([0, 3, 8], np.int32))},
        {"round": 1},
        {"state": State(0, (0, 3), (3, 3), (4, 3), (0.25, -1e4))},
        {"state": State(0, (0, 3), (4, 2), (4, 3), (0.25, -1e4 - 1e-9))},
    ],
)
def test_digest_changes_with_any_tensor_label_weight_normaliser_or_round(tmp_path, settings):
    assert digest_of(tmp_path / "a") != digest_of(tmp_path / "b", **settings)


def test_digest_is_of_the_last_round_and_its_record_does_not_enter(tmp_path):
    directory = directory_at(tmp_path / "a")
    commit(directory, 0)
    commit(directory, 1, assigned=in_blocks([3]), measure=2.0)
    assert digest(directory) == digest_of(tmp_path / "b", round=1)


def test_numbers_that_json_lacks_are_none():
    assert [finite_or_none(x) for x in (1.5, np.nan, np.inf, -np.inf)] == [1.5, None, None, None]


def test_folder_of_a_generation():
    assert Generation("000001-0002", state_of(1), {}, {}).folder == "generations/000001-0002"
