"""Generations: what a run has committed, round by round.

A round's tensors and assignment are written under `generations/<round>-<writer>/`; publishing is the last small write,
a manifest with the state, the record line and the hash of every file, itself hashed. A generation holds when its
manifest and all hashes do; readers take the highest that holds. Manifests are kept for good (they are the record),
other files only of the last two generations and the best one.

One writer at a time: `writer.json` holds the number and token of whoever took over last, and whoever finds another's
there before a write stops. A damaged `writer.json` only loses count of restarts: numbers go on from the generations'.
"""

import hashlib
import io
import logging
import math
import os
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as safetensors_load
from safetensors.numpy import save as safetensors_save

from raymix.config import Config
from raymix.config_values import dump_config, parse_config
from raymix.data.source import DataSpec
from raymix.errors import CheckpointError, DamagedError, MissingError
from raymix.maths.centroids import Centroids
from raymix.maths.modality import Frame
from raymix.metrics.catalogue import objective
from raymix.runs.rounds import RoundRecord
from raymix.state import Assigned, State
from raymix.storage import FileStamp, Storage

FORMAT = 4
READABLE = (3, 4)
"""Formats of run directories that are read: 3 had no names of columns."""
KEPT = 2
CENTROIDS = "centroids.safetensors"
FITTED = "data"
"""Folder of a run directory with the rows and labels that were fitted, where those were arrays."""
log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Generation:
    """One committed round."""

    name: str
    state: State
    files: dict[str, FileStamp]
    record: RoundRecord

    @property
    def folder(self) -> str:
        return f"generations/{self.name}"

    @property
    def components(self) -> tuple[int, ...]:
        """Ids of all that were written, ascending: those that compete, and those that were dropped but are kept."""
        names = (re.fullmatch(r"generator-(\d+)\.safetensors", name) for name in self.files)
        return tuple(sorted(int(found[1]) for found in names if found))


class RunDirectory:
    """One run's directory: config, generations, and who may write."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.writer = 0
        self._fence: dict[str, Any] = {}
        self._read: dict[str, Generation | None] = {}  # manifests never change; None for a damaged one

    @property
    def holds_run(self) -> bool:
        return self.storage.exists("config.yaml")

    def require_new(self) -> None:
        """Raises `CheckpointError` when the directory holds a run."""
        if self.holds_run:
            raise CheckpointError(
                "already holds a run", self.storage.where(), "give another --out, or go on with `raymix resume`"
            )

    def create(self, config: Config, spec: DataSpec, environment: Mapping[str, str]) -> None:
        """Begin a new run. Raises `CheckpointError` when the directory holds one."""
        self.require_new()
        settings = dump_config(config).encode()
        run = {"format": FORMAT, "data": asdict(spec), "environment": dict(environment)}
        self.storage.write_json("run.json", run | {"config": FileStamp.of(settings)})
        self.storage.write("config.yaml", settings)

    def load(self) -> tuple[Config, DataSpec]:
        """The resolved config and what is known of the data. Raises `CheckpointError`."""
        if not self.holds_run:
            raise CheckpointError(
                "holds no run (no config.yaml)", self.storage.where(), "name the --out of a `raymix train`"
            )
        try:
            run = self.storage.read_json("run.json")
            if run["format"] not in READABLE:
                what = f"format {run['format']} is not {' or '.join(map(str, READABLE))}"
                raise CheckpointError(what, self.storage.where("run.json"))
            settings = self.storage.read("config.yaml", FileStamp(*run["config"]))
        except DamagedError as error:
            advice = "put the file back as it was, or begin a new run"
            raise DamagedError(error.what, error.where, advice) from None
        data = run["data"]
        lists = {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
        spec = DataSpec(**(data | lists))
        return self._with_own_data(parse_config(settings, self.storage.where("config.yaml"))), spec

    def _with_own_data(self, config: Config) -> Config:
        """Files that a fit wrote below the directory are found there after it was moved or copied, too."""
        if not self.storage.is_local:
            return config
        named = {name: getattr(config.data, name) for name in ("path", "labels")}
        gone = {name: place for name, place in named.items() if place is not None and not os.path.exists(place)}
        own = {name: os.path.join(self.storage.uri, FITTED, os.path.basename(place)) for name, place in gone.items()}
        moved = {name: place for name, place in own.items() if os.path.exists(place)}
        return config.model_copy(update={"data": config.data.model_copy(update=moved)}) if moved else config

    def take_over(self, restarted: bool = False) -> int:
        """Become the one writer: whoever wrote before fails at its next write.

        Returns how many times in a row a writer was `restarted` without a commit in between.
        """
        before = self._last_writer()
        round = max((generation.state.round for generation in self.generations()), default=-1)
        restarts = before["restarts"] + 1 if restarted and before["round"] == round else 0
        self.writer = max(before["number"], *(writer_of(name) for name in self._names()), 0) + 1
        fence = {"number": self.writer, "token": uuid.uuid4().hex, "round": round, "restarts": restarts}
        self.storage.write_json("writer.json", fence)
        self._fence = fence
        for folder in (".", "events", "logs", *(f"generations/{name}" for name in self._names())):
            self.storage.delete_parts(folder)
        return restarts

    def _last_writer(self) -> dict[str, Any]:
        nobody = {"number": 0, "round": -1, "restarts": 0}
        try:
            return self.storage.read_json("writer.json")
        except MissingError:
            return nobody
        except DamagedError as error:
            log.warning("%s; restarts are counted anew", error)
            return nobody

    def require_writer(self) -> None:
        """Raises `CheckpointError` when another writer took over, or when that cannot be told."""
        try:
            current = self.storage.read_json("writer.json")
        except DamagedError as error:
            raise DamagedError(error.what, error.where, "take over with `raymix resume`") from None
        if current != self._fence:
            raise CheckpointError("another writer took over", self.storage.where(), "the newer run goes on alone")

    def write(self, name: str, content: bytes) -> FileStamp:
        """Write a file beside the generations. Raises `CheckpointError` when another writer took over."""
        self.require_writer()
        return self.storage.write(name, content)

    def folder_for(self, round: int) -> str:
        """Where this writer puts the files of a round."""
        return f"generations/{round:06d}-{self.writer:04d}"

    def prepared(self, state: State, files: Mapping[str, FileStamp], record: RoundRecord) -> Generation:
        """A round whose files are written and do not count yet."""
        return Generation(self.folder_for(state.round).rsplit("/", 1)[1], state, dict(files), record)

    def publish(self, generation: Generation) -> None:
        """Make a round's files count. Raises `CheckpointError` when another writer took over."""
        self.require_writer()
        state, record = generation.state.as_json(), generation.record.as_json()
        manifest = {"state": state, "files": generation.files, "record": record}
        self.storage.write_json(f"{generation.folder}/manifest.json", manifest)
        self._read[generation.name] = generation

    def generations(self) -> list[Generation]:
        """Everything that was ever published, oldest first; of a round published twice the later writer's."""
        by_round: dict[int, Generation] = {}
        for name in self._names():
            generation = self._generation(name)
            if generation is not None:
                by_round[generation.state.round] = generation
        return [by_round[round] for round in sorted(by_round)]

    def last(self) -> Generation | None:
        """The highest generation that holds; damaged ones above it are named in the log."""
        generations = self.generations()
        for age, generation in enumerate(reversed(generations)):
            damage = self.damage(generation)
            if damage is None:
                return generation
            if self.generations() != generations:  # a writer went on meanwhile and pruned
                return self.last()
            if age < KEPT or self.storage.names(generation.folder) != ["manifest.json"]:  # older ones are pruned
                log.warning("generation %s is damaged (%s); falling back to the one before", generation.name, damage)
        if generations:
            log.warning("%s: no round holds, the run is as if it had not begun", self.storage.where())
        return None

    def finished(self, config: Config, last: Generation | None) -> bool:
        """Whether a run whose highest generation is `last` has nothing left to do."""
        if last is None or last.state.round < config.schedule.rounds:
            return False
        return not config.schedule.report or self.storage.exists("samples.png")

    def require_last(self) -> Generation:
        """The highest generation that holds. Raises `CheckpointError` when there is none."""
        generation = self.last()
        if generation is None:
            raise CheckpointError("holds no complete round yet", self.storage.where(), "start it with `raymix resume`")
        return generation

    def look(self, at: Callable[[Generation], T]) -> tuple[Generation, T]:
        """The last generation and what a function finds there; the function looks again where a run that goes on prunes
        the generation meanwhile. Raises `CheckpointError`."""
        while True:
            generation = self.require_last()
            try:
                return generation, at(generation)
            except MissingError:
                if self.require_last().name == generation.name:
                    raise

    def damage(self, generation: Generation) -> str | None:
        """What is wrong with a generation's files. Raises `CheckpointError` when they cannot be read, which says
        nothing of what they hold."""
        try:
            for name, stamp in generation.files.items():
                self.storage.read(f"{generation.folder}/{name}", stamp)
        except DamagedError as error:
            return str(error)
        return None

    def drop_after(self, round: int) -> None:
        """Forget rounds above `round`: generations that did not hold, and parts that were never published. Raises
        `CheckpointError` when another writer took over."""
        self.require_writer()
        for name in self._names():
            if int(name.split("-")[0]) > round:
                self.storage.delete(f"generations/{name}/manifest.json")  # first: the rest counts no longer
                self.storage.delete(f"generations/{name}")
                self._read.pop(name, None)

    def prune(self, best_metric: str) -> None:
        """Delete the files of all generations but the last two and the best; manifests stay. Raises `CheckpointError`
        when another writer took over."""
        self.require_writer()
        generations = self.generations()
        keep = {generation.name for generation in generations[-KEPT:]}
        best = best_of(generations, best_metric)
        if best is not None:
            keep.add(best.name)
        published = {generation.name: generation for generation in generations}
        for name in self._names():
            if name not in published:
                if writer_of(name) <= self.writer:  # a newer writer's may be on its way
                    self.storage.delete(f"generations/{name}")
            elif name not in keep:
                for file in self.storage.names(f"generations/{name}"):
                    if file != "manifest.json":
                        self.storage.delete(f"generations/{name}/{file}")

    def _names(self) -> list[str]:
        """Folders of generations, published or not; whatever else lies there is nobody's business."""
        return [name for name in self.storage.names("generations") if re.fullmatch(r"\d+-\d+", name)]

    def _generation(self, name: str) -> Generation | None:
        """The generation of a folder, if it was published; a damaged manifest is named in the log, once."""
        if name not in self._read:
            try:
                manifest = self.storage.read_json(f"generations/{name}/manifest.json")
            except MissingError:
                return None  # it may be on its way
            except DamagedError as error:
                log.warning("generation %s does not count: %s", name, error)
                self._read[name] = None
            else:
                state = State.of_json(manifest["state"])
                files = {file: FileStamp(*stamp) for file, stamp in manifest["files"].items()}
                self._read[name] = Generation(name, state, files, RoundRecord.of_json(manifest["record"]))
        return self._read[name]


def writer_of(name: str) -> int:
    """The number of the writer of a generation's folder."""
    return int(name.split("-")[1])


def best_of(generations: Iterable[Generation], metric: str) -> Generation | None:
    """The generation that is best by a measure, where any was evaluated; the earliest of equals."""
    values = [(objective(g.record.measures or {}, metric), g) for g in generations]
    return min(((value, g) for value, g in values if value is not None), key=lambda pair: pair[0], default=(0, None))[1]


def write_tensors(storage: Storage, name: str, arrays: Mapping[str, NDArray[np.generic]]) -> FileStamp:
    """Save named arrays as safetensors."""
    return storage.write(name, safetensors_save({key: np.asarray(value, order="C") for key, value in arrays.items()}))


def write_states(
    storage: Storage, folder: str, states: Mapping[str, Mapping[str, NDArray[np.generic]]]
) -> dict[str, FileStamp]:
    """Save the tensors of several networks, a file each."""
    return {name: write_tensors(storage, f"{folder}/{name}", state) for name, state in states.items()}


def read_tensors(storage: Storage, name: str, stamp: FileStamp | None = None) -> dict[str, NDArray[np.generic]]:
    """What `write_tensors` saved. Raises `DamagedError`."""
    content = storage.read(name, stamp)
    try:
        arrays: dict[str, NDArray[np.generic]] = safetensors_load(content)
    except SafetensorError as error:
        raise DamagedError(f"holds no tensors ({error})", storage.where(name)) from None
    return arrays


def write_assigned(storage: Storage, name: str, assigned: Assigned) -> FileStamp:
    """Save a block's assignment as Parquet: its winner and the components it is lent to, per row."""
    order = np.lexsort((assigned.lent_to, assigned.lent_rows))
    counts = np.bincount(assigned.lent_rows, minlength=len(assigned.winners))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    lent_to = pa.ListArray.from_arrays(pa.array(offsets), pa.array(assigned.lent_to[order]))
    buffer = io.BytesIO()
    pq.write_table(pa.table({"component": assigned.winners, "lent_to": lent_to}), buffer, compression="zstd")
    return storage.write(name, buffer.getvalue())


def read_assigned(storage: Storage, name: str, stamp: FileStamp | None = None) -> Assigned:
    """What `write_assigned` saved. Raises `DamagedError`."""
    content = storage.read(name, stamp)
    try:
        table = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DamagedError(f"holds no assignment ({reason})", storage.where(name)) from None
    lent = table["lent_to"].combine_chunks()
    counts = np.diff(lent.offsets.to_numpy())
    rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return Assigned(table["component"].to_numpy(), rows, lent.values.to_numpy())


def write_centroids(storage: Storage, folder: str, centroids: Centroids | None) -> dict[str, FileStamp]:
    """Save whose cells the rows are in, where these are kept."""
    if centroids is None:
        return {}
    arrays = {"components": np.array(centroids.components), "centres": centroids.centres_KP}
    if centroids.frame:
        arrays |= {"mean": centroids.frame.mean_D, "axes": centroids.frame.axes_DP}
    return {CENTROIDS: write_tensors(storage, f"{folder}/{CENTROIDS}", arrays)}


def read_centroids(storage: Storage, generation: Generation) -> Centroids | None:
    """What `write_centroids` saved. Raises `DamagedError`."""
    if CENTROIDS not in generation.files:
        return None
    arrays: Any = read_tensors(storage, f"{generation.folder}/{CENTROIDS}", generation.files[CENTROIDS])
    frame = Frame(arrays["mean"], arrays["axes"]) if "axes" in arrays else None
    return Centroids(tuple(arrays["components"].tolist()), arrays["centres"], frame)


def assignment_name(block: int) -> str:
    return f"labels-{block:05d}.parquet"


def generator_name(component: int) -> str:
    return f"generator-{component:05d}.safetensors"


def discriminator_name(component: int, shared: bool) -> str:
    return "trunk.safetensors" if shared else f"discriminator-{component:05d}.safetensors"


def digest(directory: RunDirectory) -> str:
    """SHA-256 over every tensor of every component, its optimiser's state, the assignment, the weights, the normalisers
    and the round of the last commit. Clock times, file layout and the cut into blocks do not enter."""
    generation = directory.require_last()
    total = hashlib.sha256()

    def add(name: str, array: NDArray[np.generic]) -> None:
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())

    add("round", np.array(generation.state.round))
    add("won", np.array(generation.state.won_K))
    add("log_z", np.array(generation.state.log_z_K))
    winners, lent, offset = [], [], 0
    for name in sorted(generation.files):
        path = f"{generation.folder}/{name}"
        if name.startswith("labels-"):
            assigned = read_assigned(directory.storage, path)
            winners.append(assigned.winners)
            lent.append(np.stack([assigned.lent_rows.astype(np.int64) + offset, assigned.lent_to.astype(np.int64)], 1))
            offset += len(assigned.winners)
        else:
            for key, array in sorted(read_tensors(directory.storage, path).items()):
                add(f"{name}/{key}", array)
    add("labels", np.concatenate(winners))
    add("lent", np.concatenate(lent))
    return total.hexdigest()


def finite_or_none(value: float) -> float | None:
    """JSON has no nan."""
    return value if math.isfinite(value) else None
