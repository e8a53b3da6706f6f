"""One trial: an ordinary raymix run in the placement group that Tune reserved for it, reported round by round.

Its run directory is `trials/<id>` of the search's directory. The run waits after each round until Tune has decided
whether it goes on; whoever starts the trial again goes on from its last commit.
"""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

from ray import tune
from ray.util.placement_group import get_current_placement_group

from raymix import session
from raymix.config import Config
from raymix.metrics.catalogue import MEASURES
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.record import read_record
from raymix.runs.rounds import RoundRecord
from raymix.runs.run import Status
from raymix.search.asked import Task
from raymix.search.room import packed_whole
from raymix.storage import Storage

CHECKPOINT = "round.json"  # in a checkpoint: whose it is, and its last round
WORST = {"max": -math.inf, "min": math.inf}  # reported where a round could not be measured


def run_trial(values: dict[str, Any], task: Task) -> None:
    """The function that Ray Tune calls for a trial, with the values it drew."""
    trial = tune.get_context().get_trial_id()
    directory = task.run_directory(trial)
    config = packed_here(task.config(values))
    reported = taken_up(task, trial, config)
    place = get_current_placement_group()

    def watch(status: Status) -> None:
        for line in status.lines:
            tell(line)

    def tell(line: RoundRecord) -> None:
        nonlocal reported
        if line.round > reported:
            reported = line.round
            report(line, task, trial, directory)

    if directory.holds_run:
        session.resume(directory.storage.uri, watch=watch, reserved=place)
    else:
        session.start(config, task.spec, directory.storage.uri, watch=watch, reserved=place)
    for line in read_record(directory.storage):
        tell(line)


def packed_here(config: Config) -> Config:
    """All components in one actor where the config leaves that open; on a GPU, of which a trial may have a part, as one
    batched model, because it could not be measured what is faster."""
    config, place = packed_whole(config), get_current_placement_group()
    if config.resources.fused != "auto" or not place or not any("GPU" in each for each in place.bundle_specs):
        return config
    return config.model_copy(update={"resources": config.resources.model_copy(update={"fused": True})})


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
    Storage.at(task.out).delete(f"trials/{trial}")
    own.create(config, task.spec, session.environment() | {"packing": f"as trial {donor}"})
    files = sorted(generation.iterdir(), key=lambda file: file.name == "manifest.json")  # what publishes it comes last
    for file in files:
        own.storage.write(f"generations/{generation.name}/{file.name}", file.read_bytes())


def report(line: RoundRecord, task: Task, trial: str, directory: RunDirectory) -> None:
    """Tell Tune of one round, with a checkpoint that says whose it is. The run waits meanwhile."""
    measures = line.measures or {}
    metrics = {task.asked.metric: WORST[task.asked.mode]}
    metrics |= {name: value for name in (*MEASURES, "num_parameters") if (value := measures.get(name)) is not None}
    metrics |= line.clustering
    metrics |= {"round": line.round, "seconds": line.total_s, "rows_moved": line.rows_moved}
    metrics |= {"num_components": len(line.components), "effective_components": line.effective_components}
    generation = next(each for each in reversed(directory.generations()) if each.state.round == line.round)
    with tempfile.TemporaryDirectory() as folder:
        known = {"trial": trial, "round": line.round, "generation": generation.name}
        Path(folder, CHECKPOINT).write_text(json.dumps(known))
        if task.asked.method == "pbt" and directory.damage(generation) is None:  # others may go on from it
            copied(directory, generation.folder, Path(folder, generation.name))
        tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def copied(directory: RunDirectory, generation: str, to: Path) -> None:
    """The files of a generation in a local folder."""
    to.mkdir()
    for name in directory.storage.names(generation):
        (to / name).write_bytes(directory.storage.read(f"{generation}/{name}"))
