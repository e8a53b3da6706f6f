"""Generations: what a run has committed, round by round.

A round's tensors and labels are written under `generations/<round>-<writer>/`; publishing is the last small write, a
manifest with the state, the record line and the hash of every file. A generation holds when its manifest and all
hashes do; readers take the highest that holds. Manifests are kept for good (they are the record), other files only of
the last two generations and the best one.
"""

import hashlib
import io
import json
import logging
import math
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors.numpy import load as safetensors_load
from safetensors.numpy import save as safetensors_save

from raymix.config import Config, dump_config, parse_config
from raymix.data.source import DataSpec
from raymix.errors import CheckpointError, RaymixError
from raymix.state import Assigned, State
from raymix.storage import FileStamp, Storage

FORMAT = 1
KEPT = 2
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generation:
    """One committed round."""

    name: str
    state: State
    files: dict[str, FileStamp]
    record: dict[str, Any]

    @property
    def folder(self) -> str:
        return f"generations/{self.name}"


class RunDirectory:
    """One run's directory: config, generations, and who may write."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.writer = 0
        self._fence: dict[str, Any] = {}
        self._read: dict[str, Generation] = {}

    @property
    def holds_run(self) -> bool:
        return self.storage.exists("config.yaml")

    def require_new(self) -> None:
        """Raises `CheckpointError` when the directory holds a run."""
        if self.holds_run:
            raise CheckpointError(
                "already holds a run", self.storage.uri, "give another --out, or go on with `raymix resume`"
            )

    def create(self, config: Config, spec: DataSpec, environment: Mapping[str, str]) -> None:
        """Begin a new run. Raises `CheckpointError` when the directory holds one."""
        self.require_new()
        run = {"format": FORMAT, "data": asdict(spec), "environment": dict(environment)}
        self.storage.write("run.json", json.dumps(run, indent=1).encode())
        self.storage.write("config.yaml", dump_config(config).encode())

    def load(self) -> tuple[Config, DataSpec]:
        """The resolved config and what is known of the data. Raises `CheckpointError`."""
        if not self.holds_run:
            raise CheckpointError(
                "holds no run (no config.yaml)", self.storage.uri, "name the --out of a `raymix train`"
            )
        config = parse_config(self.storage.read("config.yaml"), f"{self.storage.uri}/config.yaml")
        run = self._json("run.json")
        if run.get("format") != FORMAT or "data" not in run:
            raise CheckpointError(f"format {run.get('format')} is not {FORMAT}", f"{self.storage.uri}/run.json")
        data = run["data"]
        spec = DataSpec(**{**data, "row_shape": tuple(data["row_shape"]), "classes": tuple(data["classes"])})
        return config, spec

    def take_over(self) -> None:
        """Become the one writer: whoever wrote before fails at its next publish."""
        current = self._json("writer.json")["number"] if self.storage.exists("writer.json") else 0
        self.writer = current + 1
        self._fence = {"number": self.writer, "token": uuid.uuid4().hex}
        self.storage.write("writer.json", json.dumps(self._fence).encode())

    def folder_for(self, round: int) -> str:
        """Where this writer puts the files of a round."""
        return f"generations/{round:06d}-{self.writer:04d}"

    def publish(self, state: State, files: Mapping[str, FileStamp], record: dict[str, Any]) -> Generation:
        """Make a round's files count. Raises `CheckpointError` when another writer took over."""
        if self._json("writer.json") != self._fence:
            raise CheckpointError("another writer took over", self.storage.uri, "the newer run goes on alone")
        folder = self.folder_for(state.round)
        generation = Generation(folder.rsplit("/", 1)[1], state, dict(files), record)
        manifest = {"state": asdict(state), "files": generation.files, "record": record}
        self.storage.write(f"{folder}/manifest.json", json.dumps(manifest).encode())
        self._read[generation.name] = generation
        return generation

    def generations(self) -> list[Generation]:
        """Everything that was ever published, oldest first; of a round published twice the later writer's."""
        by_round: dict[int, Generation] = {}
        for name in self._names():
            generation = self._read.get(name) or self._generation(name)
            if generation is not None:
                self._read[name] = generation  # manifests never change
                by_round[generation.state.round] = generation
        return [by_round[round] for round in sorted(by_round)]

    def last(self) -> Generation | None:
        """The highest generation that holds; damaged ones above it are named in the log."""
        for generation in reversed(self.generations()):
            damage = self.damage(generation)
            if damage is None:
                return generation
            log.warning("generation %s is damaged (%s); falling back to the one before", generation.name, damage)
        return None

    def finished(self, config: Config, last: Generation | None) -> bool:
        """Whether a run whose highest generation is `last` has nothing left to do."""
        return last is not None and last.state.round >= config.schedule.rounds and self.storage.exists("samples.png")

    def require_last(self) -> Generation:
        """The highest generation that holds. Raises `CheckpointError` when there is none."""
        generation = self.last()
        if generation is None:
            raise CheckpointError("holds no complete round yet", self.storage.uri, "start it with `raymix resume`")
        return generation

    def damage(self, generation: Generation) -> str | None:
        """What is wrong with a generation's files."""
        for name, stamp in generation.files.items():
            try:
                content = self.storage.read(f"{generation.folder}/{name}")
            except CheckpointError as error:
                return str(error)
            if FileStamp.of(content) != stamp:
                return f"{name} is not what was written"
        return None

    def drop_after(self, round: int) -> None:
        """Forget rounds above `round`: generations that did not hold, and parts that were never published."""
        for name in self._names():
            if int(name.split("-")[0]) > round:
                self.storage.delete(f"generations/{name}")
                self._read.pop(name, None)

    def prune(self, best_metric: str) -> None:
        """Delete the files of all generations but the last two and the best; manifests stay."""
        generations = self.generations()
        keep = {generation.name for generation in generations[-KEPT:]}
        best = best_of(generations, best_metric)
        if best is not None:
            keep.add(best.name)
        published = {generation.name: generation for generation in generations}
        for name in self._names():
            if name not in published:
                if int(name.split("-")[1]) <= self.writer:  # a newer writer's may be on its way
                    self.storage.delete(f"generations/{name}")
            elif name not in keep:
                for file in self.storage.names(f"generations/{name}"):
                    if file != "manifest.json":
                        self.storage.delete(f"generations/{name}/{file}")

    def _names(self) -> list[str]:
        """Folders of generations, published or not; whatever else lies there is nobody's business."""
        return [name for name in self.storage.names("generations") if re.fullmatch(r"\d+-\d+", name)]

    def _generation(self, name: str) -> Generation | None:
        if not self.storage.exists(f"generations/{name}/manifest.json"):
            return None
        try:
            manifest = self._json(f"generations/{name}/manifest.json")
            saved = manifest["state"].items()
            values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in saved}
            files = {file: FileStamp(*stamp) for file, stamp in manifest["files"].items()}
            return Generation(name, State(**values), files, manifest["record"])
        except (RaymixError, KeyError, TypeError, AttributeError) as error:
            log.warning("generation %s has a damaged manifest (%s)", name, error)
            return None

    def _json(self, name: str) -> dict[str, Any]:
        try:
            values = json.loads(self.storage.read(name))
        except ValueError:
            raise CheckpointError("is not JSON", f"{self.storage.uri}/{name}", "the file is damaged") from None
        if not isinstance(values, dict):
            raise CheckpointError("holds no JSON object", f"{self.storage.uri}/{name}", "the file is damaged")
        return values


def best_of(generations: Iterable[Generation], metric: str) -> Generation | None:
    """The generation with the highest measure, where any was evaluated; the earliest of equals."""
    measured = [g for g in generations if (g.record.get("measures") or {}).get(metric) is not None]
    return max(measured, key=lambda g: g.record["measures"][metric], default=None)


def write_tensors(storage: Storage, name: str, arrays: Mapping[str, NDArray[np.generic]]) -> FileStamp:
    """Save named arrays as safetensors."""
    return storage.write(name, safetensors_save({key: np.asarray(value, order="C") for key, value in arrays.items()}))


def read_tensors(storage: Storage, name: str) -> dict[str, NDArray[np.generic]]:
    arrays: dict[str, NDArray[np.generic]] = safetensors_load(storage.read(name))
    return arrays


def write_assigned(storage: Storage, name: str, assigned: Assigned) -> FileStamp:
    """Save a block's assignment as Parquet: its winner and the components it is lent to, per row."""
    order = np.lexsort((assigned.lent_to, assigned.lent_rows))
    counts = np.bincount(assigned.lent_rows, minlength=len(assigned.labels))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    lent_to = pa.ListArray.from_arrays(pa.array(offsets), pa.array(assigned.lent_to[order]))
    buffer = io.BytesIO()
    pq.write_table(pa.table({"component": assigned.labels, "lent_to": lent_to}), buffer, compression="zstd")
    return storage.write(name, buffer.getvalue())


def read_assigned(storage: Storage, name: str) -> Assigned:
    table = pq.read_table(io.BytesIO(storage.read(name)))
    lent = table["lent_to"].combine_chunks()
    counts = np.diff(lent.offsets.to_numpy())
    rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return Assigned(table["component"].to_numpy(), rows, lent.values.to_numpy())


def labels_name(block: int) -> str:
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
    labels, lent, offset = [], [], 0
    for name in sorted(generation.files):
        path = f"{generation.folder}/{name}"
        if name.startswith("labels-"):
            assigned = read_assigned(directory.storage, path)
            labels.append(assigned.labels)
            lent.append(np.stack([assigned.lent_rows.astype(np.int64) + offset, assigned.lent_to.astype(np.int64)], 1))
            offset += len(assigned.labels)
        else:
            for key, array in sorted(read_tensors(directory.storage, path).items()):
                add(f"{name}/{key}", array)
    add("labels", np.concatenate(labels))
    add("lent", np.concatenate(lent))
    return total.hexdigest()


def finite_or_none(value: float) -> float | None:
    """JSON has no nan."""
    return value if math.isfinite(value) else None
