"""One trial: an ordinary raymix run in the placement group that Tune reserved for it, reported round by round.

Its run directory is `trials/<id>` of the search's directory. Ray Tune may stop a trial at any time, which ends its
actors; whoever starts the trial again goes on from its last commit.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune
from ray.util.placement_group import get_current_placement_group

from raymix import session
from raymix.checkpoint import RunDirectory
from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.metrics.catalogue import MEASURES
from raymix.record import read_record
from raymix.run import Status
from raymix.search.match import Terms, matched
from raymix.search.space import applied
from raymix.storage import Storage

CHECKPOINT = "round.json"  # in a checkpoint: whose it is, and its last round


@dataclass(frozen=True)
class Task:
    """What all trials of a search share."""

    base: Config
    """Resolved; trials replace some of its fields."""
    spec: DataSpec
    out: str
    """The search's directory."""
    match: Terms | None = None
    """What is made equal to the base config's."""
    whole_checkpoints: bool = False
    """Whether checkpoints hold a round's files, so that other trials can go on from them."""

    def config(self, values: Mapping[str, Any]) -> Config:
        """Of one trial. Raises `ConfigError`."""
        config = applied(self.base, values)
        return matched(config, self.spec, self.base, self.match) if self.match else config

    def run_directory(self, trial: str) -> RunDirectory:
        return RunDirectory(Storage.at(f"{self.out}/trials/{trial}"))


def packed_whole(config: Config) -> Config:
    """With all components in one actor, where the config leaves that open: trials share the cluster among them."""
    if config.resources.pack != "auto":
        return config
    resources = config.resources.model_copy(update={"pack": len(config.components)})
    return config.model_copy(update={"resources": resources})


def run_trial(values: dict[str, Any], task: Task) -> None:
    """The function that Ray Tune calls for a trial, with the values it drew."""
    trial = tune.get_context().get_trial_id()
    directory = task.run_directory(trial)
    config = packed_whole(task.config(values))
    reported = taken_up(task, trial, config)
    place = get_current_placement_group()

    def watch(status: Status) -> None:
        for line in status.lines:
            tell(line)

    def tell(line: Mapping[str, Any]) -> None:
        nonlocal reported
        if line["round"] > reported:
            reported = line["round"]
            report(line, task, trial)

    if directory.holds_run:
        session.resume(directory.storage.uri, watch=watch, reserved=place)
    else:
        session.train(config, task.spec, directory.storage.uri, watch=watch, reserved=place)
    for line in read_record(directory.storage):
        tell(line)


def taken_up(task: Task, trial: str, config: Config) -> int:
    """The last round that Tune knows of this trial, -1 for none. Where the checkpoint is another trial's, whose weights
    Tune chose, the run begins anew from them."""
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return -1
    with checkpoint.as_directory() as folder:
        known = json.loads(Path(folder, CHECKPOINT).read_text())
        if known["trial"] != trial:
            adopt(task, trial, known["trial"], Path(folder, known["generation"]), config)
    return int(known["round"])


def adopt(task: Task, trial: str, donor: str, generation: Path, config: Config) -> None:
    """Begin this trial's run again from the files of a round of another trial's, packed as that is."""
    own, resources = task.run_directory(trial), task.run_directory(donor).load()[0].resources
    config = config.model_copy(update={"resources": resources})
    if own.holds_run:
        own.storage.delete(".")
    own.create(config, task.spec, session.environment() | {"packing": f"as trial {donor}"})
    files = sorted(generation.iterdir(), key=lambda file: file.name == "manifest.json")  # what publishes it comes last
    for file in files:
        own.storage.write(f"generations/{generation.name}/{file.name}", file.read_bytes())


def report(line: Mapping[str, Any], task: Task, trial: str) -> None:
    """Tell Tune of one round, with a checkpoint that says whose it is."""
    measures = line.get("measures") or {}
    metrics = {name: value for name in (*MEASURES, "num_parameters") if (value := measures.get(name)) is not None}
    metrics |= line.get("clustering", {})
    metrics |= {"round": line["round"], "seconds": sum(line["seconds"].values()), "rows_moved": line["rows_moved"]}
    metrics |= {"num_components": len(line["components"]), "effective_components": line["effective_components"]}
    directory = task.run_directory(trial)
    generation = next(each for each in reversed(directory.generations()) if each.state.round == line["round"])
    with tempfile.TemporaryDirectory() as folder:
        known = {"trial": trial, "round": line["round"], "generation": generation.name}
        Path(folder, CHECKPOINT).write_text(json.dumps(known))
        if task.whole_checkpoints:
            copied(directory, generation.folder, Path(folder, generation.name))
        tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def copied(directory: RunDirectory, generation: str, to: Path) -> None:
    """The files of a generation in a local folder."""
    to.mkdir()
    for name in directory.storage.names(generation):
        (to / name).write_bytes(directory.storage.read(f"{generation}/{name}"))
