"""Generations of a run directory: committed whole, damaged, pruned, fenced; and their digest."""

import errno
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest

from raymix.config import Config, FamilyConfig
from raymix.data.source import DataSpec
from raymix.errors import CheckpointError, DamagedError, MissingError
from raymix.models.registry import close
from raymix.runs import checkpoint
from raymix.runs.checkpoint import (
    Generation,
    RunDirectory,
    assignment_name,
    best_of,
    digest,
    discriminator_name,
    finite_or_none,
    generator_name,
    read_assigned,
    read_tensors,
    write_assigned,
    write_tensors,
)
from raymix.runs.rounds import RoundRecord, TermValues
from raymix.state import Assigned, State
from raymix.storage import Disk, FileStamp, Storage

SPEC = DataSpec("file", 6, (1, 2, 2), "uint8", ("a", "b"))
TENSORS = {
    "network/weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "network/steps": np.array(7, np.int64),
    "optimiser/adam/learning_rate": np.array(1e-3),
}


def state_of(round):
    return State(round, (0, 3), (4, 2), (4, 3), (0.25, -1e4), (0, 1))


def record_of(round, measure=None):
    return RoundRecord(
        round=round,
        components=(0, 3),
        won_K=(4, 2),
        loads_K=(4, 3),
        rows_moved=6,
        generator_steps_K=(5, 0),
        terms={"bound": TermValues("nats per row", (1.5, None))},
        discriminator_steps_K=(0, 0),
        discriminator_loss_K=(None, None),
        seconds={"assign": 0.5},
        measures=None if measure is None else {"nmi": measure},
    )


def directory_at(path):
    directory = RunDirectory(Storage.at(path))
    directory.take_over()
    return directory


def commit(directory, round=0, *, measure=None, tensors=None, assigned=None, state=None):
    """Publish a round with one generator and, in blocks, its assignment."""
    storage, folder = directory.storage, directory.folder_for(round)
    name = generator_name(0)
    files = {name: write_tensors(storage, f"{folder}/{name}", tensors or TENSORS)}
    assigned = assigned or [Assigned.of(np.array([0, 0, 3])), Assigned.of(np.array([0, 3, 0]))]
    for b, block in enumerate(assigned):
        files[assignment_name(b)] = write_assigned(storage, f"{folder}/{assignment_name(b)}", block)
    generation = directory.prepared(state or state_of(round), files, record_of(round, measure))
    directory.publish(generation)
    return generation


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
    write_assigned(storage, "assignment.parquet", assigned)
    back = read_assigned(storage, "assignment.parquet")
    assert [array.dtype for array in back] == [np.int32] * 3
    np.testing.assert_array_equal(back.winners, assigned.winners)
    pairs = sorted(zip(assigned.lent_rows.tolist(), assigned.lent_to.tolist(), strict=True))
    assert list(zip(back.lent_rows.tolist(), back.lent_to.tolist(), strict=True)) == pairs
    for k in range(8):
        np.testing.assert_array_equal(back.rows_of(k), assigned.rows_of(k))


def test_names_sort_by_number():
    assert assignment_name(2) < assignment_name(10) and generator_name(2) < generator_name(10)
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


@pytest.mark.parametrize("file", ["run.json", "config.yaml"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"format": 99, "data": {}}', b"\xff"])
def test_settings_that_are_not_as_they_were_written_are_refused(tmp_path, file, content):
    directory = RunDirectory(Storage.at(tmp_path))
    directory.create(Config(), SPEC, {})
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DamagedError, match=rf"/{file}: is not what was written; put the file back as it was, or begin"):
        directory.load()


def test_settings_changed_by_hand_are_refused(tmp_path):
    directory = RunDirectory(Storage.at(tmp_path))
    directory.create(Config(seed=1), SPEC, {})
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("seed: 1", "seed: 2", 1))
    with pytest.raises(DamagedError, match=r"/config\.yaml: is not what was written"):
        directory.load()
    (tmp_path / "config.yaml").write_text(text)
    assert directory.load()[0].seed == 1


def test_run_file_of_another_format_is_refused(tmp_path):
    directory = RunDirectory(Storage.at(tmp_path))
    directory.create(Config(), SPEC, {})
    directory.storage.write_json("run.json", {"format": 99})
    with pytest.raises(CheckpointError, match=r"run\.json: format 99 is not "):
        directory.load()


def test_run_whose_settings_were_not_written_to_the_end_can_be_begun_again(tmp_path):
    directory = RunDirectory(Storage.at(tmp_path))
    directory.storage.write_json("run.json", {"format": 1})
    directory.create(Config(), SPEC, {})
    assert directory.load() == (Config(), SPEC)


def test_tensors_and_assignments_that_cannot_be_read_are_named(tmp_path):
    storage = Storage.at(tmp_path)
    storage.write("x", b"no tensors")
    with pytest.raises(DamagedError, match=r"/x: holds no tensors \("):
        read_tensors(storage, "x")
    with pytest.raises(DamagedError, match=r"/x: holds no assignment \("):
        read_assigned(storage, "x")
    stamp = write_tensors(storage, "y", TENSORS)
    storage.write("y", storage.read("y")[:-1] + b"\x01")
    with pytest.raises(DamagedError, match="/y: is not what was written"):
        read_tensors(storage, "y", stamp)


# ---- generations


def test_generation_comes_back_as_it_was_published(tmp_path, directory):
    written = commit(directory, 3, measure=1.5)
    read = RunDirectory(Storage.at(tmp_path)).last()
    assert read == written
    assert read.state == state_of(3) and isinstance(read.state.won_K, tuple)
    assert read.record == record_of(3, 1.5)
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
@pytest.mark.parametrize("file", [generator_name(0), assignment_name(1)])
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


def test_nothing_is_left_when_all_are_damaged_and_pruned_ones_are_not_called_so(tmp_path, directory, caplog):
    generations = [commit(directory, round) for round in range(5)]
    directory.prune("nmi")
    for generation in generations[-2:]:
        flip_a_byte(tmp_path / generation.folder / generator_name(0))
    assert directory.last() is None
    messages = [entry.getMessage() for entry in caplog.records]
    assert len(messages) == 3
    assert generations[4].name in messages[0] and generations[3].name in messages[1]
    assert messages[2] == f"{tmp_path}: no round holds, the run is as if it had not begun"


def test_a_reader_that_is_overtaken_by_the_writer_looks_again(directory, monkeypatch, caplog):
    commit(directory, 0)
    reader, real = RunDirectory(directory.storage), RunDirectory.damage

    def damage(self, generation):
        if generation.state.round == 0:
            for round in (1, 2):
                commit(directory, round)
            directory.prune("nmi")
        return real(self, generation)

    monkeypatch.setattr(RunDirectory, "damage", damage)
    assert reader.last().state.round == 2
    assert not caplog.records


def test_damaged_manifest_is_told_of_once(tmp_path, directory, caplog):
    flip_a_byte(tmp_path / commit(directory, 0).folder / "manifest.json")
    reader = RunDirectory(directory.storage)
    assert reader.last() is None and reader.generations() == [] and reader.last() is None
    assert len(caplog.records) == 1


@pytest.mark.parametrize("file", [generator_name(0), "manifest.json"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ENOTCONN])
def test_file_that_cannot_be_read_just_now_is_not_taken_for_damaged(directory, monkeypatch, file, code):
    """Or a resume would drop a good round because of a disk or network that is away for a moment."""
    commit(directory, 0)
    newest = commit(directory, 1)
    real = Disk.read

    def read(self, path):
        if path.endswith(f"{newest.folder}/{file}"):
            raise OSError(code, "away")
        return real(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Disk, "read", read)
        with pytest.raises(
            CheckpointError, match=rf"{newest.name}/{re.escape(file)}: cannot be read \(away\)$"
        ) as caught:
            RunDirectory(directory.storage).last()
    assert not isinstance(caught.value, DamagedError)
    assert RunDirectory(directory.storage).last() == newest


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
    directory.prune("nmi")
    assert kept_rounds(directory) == [1, 3, 4]
    assert len(directory.generations()) == 5  # manifests stay, they are the record
    assert files_of(directory, published[0]) == ["manifest.json"]


def test_prune_without_measures_keeps_the_last_two(directory):
    for round in range(4):
        commit(directory, round)
    directory.prune("nmi")
    assert kept_rounds(directory) == [2, 3]


def test_prune_of_the_best_keeps_the_earliest_of_equals_and_ignores_other_measures(directory):
    for round, measure in enumerate((0.5, 0.5, None, 0.1, 0.2)):
        commit(directory, round, measure=measure)
    assert best_of(directory.generations(), "nmi").state.round == 0
    assert best_of(directory.generations(), "auto").state.round == 0
    assert best_of(directory.generations(), "ari") is None
    directory.prune("ari")
    assert kept_rounds(directory) == [3, 4]


def test_prune_removes_parts_that_were_never_published(directory):
    commit(directory, 0)
    directory.storage.write(f"{directory.folder_for(7)}/part", b"")
    directory.prune("nmi")
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


@pytest.mark.parametrize(
    "write",
    [
        lambda old: old.prune("nmi"),
        lambda old: old.drop_after(-1),
        lambda old: old.write("record.jsonl", b"old"),
        lambda old: commit(old, 1),
    ],
)
def test_an_old_writer_changes_nothing_that_a_newer_one_writes(tmp_path, write):
    old = directory_at(tmp_path)
    commit(old, 0)
    old.write("record.jsonl", b"before")
    new = directory_at(tmp_path)
    new.write("record.jsonl", b"new")
    new.storage.write(f"{new.folder_for(1)}/part", b"")
    with pytest.raises(CheckpointError, match=rf"^{tmp_path}: another writer took over; the newer run goes on alone$"):
        write(old)
    assert new.storage.read("record.jsonl") == b"new"
    assert new.storage.exists(f"{new.folder_for(1)}/part") and new.last().state.round == 0


def test_a_reader_may_not_write(tmp_path):
    commit(directory_at(tmp_path), 0)
    with pytest.raises(CheckpointError, match="another writer took over"):
        RunDirectory(Storage.at(tmp_path)).prune("nmi")


def test_restarts_are_counted_until_a_commit_or_a_start_by_hand(tmp_path):
    def start(restarted):
        directory = RunDirectory(Storage.at(tmp_path))
        return directory, directory.take_over(restarted)

    assert start(False)[1] == 0
    assert [start(True)[1] for _ in range(3)] == [1, 2, 3]
    assert start(False)[1] == 0
    directory, restarts = start(True)
    assert restarts == 1
    commit(directory, 0)
    assert start(True)[1] == 0
    assert [start(True)[1] for _ in range(2)] == [1, 2]
    mark = RunDirectory(Storage.at(tmp_path)).storage.read_json("writer.json")
    assert (mark["number"], mark["round"], mark["restarts"]) == (9, 0, 2)


@pytest.mark.parametrize("harm", [flip_a_byte, lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_a_lost_writers_mark_ends_the_writer_and_numbers_go_on(tmp_path, caplog, harm):
    for _ in range(4):
        old = directory_at(tmp_path)
    commit(old, 0)
    harm(tmp_path / "writer.json")
    missing = not (tmp_path / "writer.json").exists()
    with pytest.raises(DamagedError, match=r"/writer\.json: is .*; take over with `raymix resume`$") as caught:
        commit(old, 1)
    assert isinstance(caught.value, DamagedError) and not isinstance(caught.value, MissingError)
    new = RunDirectory(Storage.at(tmp_path))
    assert new.take_over(restarted=True) == 0 and new.writer == 5
    assert missing or "restarts are counted anew" in caplog.text
    assert commit(new, 1) == new.last()


def test_a_new_writer_deletes_parts_of_files(tmp_path):
    directory = directory_at(tmp_path)
    folder = commit(directory, 0).folder
    parts = [tmp_path / place / "x.part-0123abcd" for place in (".", "events", folder)]
    for part in parts:
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(b"")
    directory_at(tmp_path)
    assert not any(part.exists() for part in parts)
    assert directory.last().state.round == 0


# ---- digest


WINNERS = np.array([0, 3, 0, 0, 3, 0], np.int32)
LENT_ROWS, LENT_TO = np.array([4, 0, 4], np.int32), np.array([0, 3, 7], np.int32)


def in_blocks(cuts, winners=WINNERS, lent_rows=LENT_ROWS, lent_to=LENT_TO):
    blocks = []
    for start, stop in zip([0, *cuts], [*cuts, len(winners)], strict=True):
        here = (start <= lent_rows) & (lent_rows < stop)
        blocks.append(Assigned(winners[start:stop], lent_rows[here] - start, lent_to[here]))
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
        {"assigned": in_blocks([3], winners=np.array([0, 3, 0, 0, 3, 3], np.int32))},
        {"assigned": in_blocks([3], lent_rows=np.array([4, 1, 4], np.int32))},
        {"assigned": in_blocks([3], lent_to=np.array([0, 3, 8], np.int32))},
        {"round": 1},
        {"state": State(0, (0, 3), (3, 3), (4, 3), (0.25, -1e4), (0, 1))},
        {"state": State(0, (0, 3), (4, 2), (4, 3), (0.25, -1e4 - 1e-9), (0, 1))},
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
    assert Generation("000001-0002", state_of(1), {}, record_of(1)).folder == "generations/000001-0002"


def test_nothing_is_ever_unpickled():
    loads = r"torch\.load\((?!.*weights_only=True)"  # with it torch builds nothing but tensors
    unpickling = re.compile(rf"{loads}|allow_pickle=True|^\s*(import|from) (pickle|cloudpickle|dill|joblib)\b", re.M)
    files = sorted(Path(checkpoint.__file__).parent.rglob("*.py"))
    assert files and not [file for file in files if unpickling.search(file.read_text())]
