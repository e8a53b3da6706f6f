"""The coordinator: one light actor that owns the blocks, the actors and the loop of a run."""

import logging
import os
import threading
import time
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup

from raymix.checkpoint import RunDirectory
from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.errors import CheckpointError, RaymixError
from raymix.run import Progress, Status, Stopped, run
from raymix.runtime.actor_names import Name
from raymix.runtime.capacity import fitting_groups
from raymix.runtime.crew import ACTORS, Crew
from raymix.runtime.groups import remove_groups
from raymix.runtime.logs import keep_log
from raymix.runtime.metrics import Exporter
from raymix.runtime.placement import in_bundles
from raymix.runtime.workers import Activity, RayWorkers
from raymix.storage import Storage

log = logging.getLogger(__name__)
PREDECESSOR_S = 30
PACE_S = 0.05


class Coordinator:
    """Runs the loop in a thread from the last commit; answers `status` and `stop` meanwhile."""

    classes = ACTORS
    """Of the crew's actors."""

    def __init__(
        self, config_json: str, spec: DataSpec, uri: str, run_id: str, reserved: PlacementGroup | None = None
    ) -> None:
        keep_log(Name(run_id, "coordinator"))
        self.config = Config.model_validate_json(config_json)
        self.spec, self.run_id, self.reserved = spec, run_id, reserved
        self.directory = RunDirectory(Storage.at(uri))
        self.progress = Progress(self.config.schedule.rounds, watch=Exporter(run_id, uri))
        self.activity = Activity()
        self.crew: Crew | None = None
        self.failure: Exception | None = None
        self.stopping = self.stopped = False
        self.num_seen = 0
        """Record lines that whoever watches has dealt with."""
        self.thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self.thread.start()

    def __repr__(self) -> str:
        return f"raymix-{self.run_id}"

    def _run(self) -> None:
        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        try:
            remove_groups(f"raymix-{self.run_id}-")  # of a coordinator that died
            run(
                self.config,
                self.spec,
                self.directory,
                self._employ,
                self.progress,
                stopping=self._asked_to_stop,
                restarted=restarted,
            )
        except Stopped:
            self.stopped = True
        except RaymixError as error:
            log.error("the run ends: %s", error)
            self.failure = error
        except Exception as error:
            log.exception("the loop failed")
            self.failure = RaymixError(
                f"{error.__class__.__name__}: {error}", "coordinator", "this is a fault in raymix"
            )

    def _asked_to_stop(self) -> bool:
        """Asked after each commit. Whoever reserved the run's place decides round by round whether it goes on, so it
        waits until they have seen this one."""
        while self.reserved is not None and not self.stopping and self.num_seen < len(self.progress.lines):
            time.sleep(PACE_S)
        return self.stopping

    def _employ(self) -> RayWorkers:
        """Workers placed on the nodes there are now."""
        self.activity.doing, self.activity.steps_to_do = "waiting for nodes", 0
        config, reserved = self.config, self.reserved
        asked = fitting_groups(config, config.resources.stall_s, name=f"raymix-{self.run_id}")
        if reserved is not None:
            asked = in_bundles(asked, reserved.bundle_specs[1:])
        self.crew = Crew(config, self.spec, asked, self.run_id, config.resources.place_s, reserved, self.classes)
        try:
            return RayWorkers(self.config, self.spec, self.crew, self.activity)
        except BaseException:
            self.crew.close()
            raise

    def pids(self) -> dict[str, int]:
        """Process numbers of this coordinator and of the actors, by name."""
        own = {"coordinator": os.getpid()}
        return own | (self.crew.pids() if self.crew else {})

    def status(self, first_line: int = 0) -> Status:
        """Where the run stands, with the record lines from number `first_line` on; those before were dealt with."""
        self.num_seen = max(self.num_seen, first_line)
        return Status(
            lines=self.progress.lines[first_line:],
            rounds=self.progress.rounds,
            doing=self.activity.doing,
            share_done=self.activity.share_done,
            ended=not self.thread.is_alive(),
            stopped=self.stopped,
            failure=self.failure,
        )

    def stop(self) -> None:
        """End after the commit of the present round."""
        self.stopping = True


def start_coordinator(
    config: Config, spec: DataSpec, uri: str, run_id: str, reserved: PlacementGroup | None = None
) -> Any:
    """The actor's handle. It asks no processor; with a local run directory it sits on the driver's node.

    `reserved`: a placement group to run in, with a bundle for helpers and one for each of the run's groups.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    options: dict[str, Any] = {"num_cpus": 0, "name": f"raymix-{run_id}", "max_restarts": -1}
    if Storage.at(uri).is_local:
        node = ray.get_runtime_context().get_node_id()
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
    arguments = (config.model_dump_json(), spec, uri, run_id, reserved)
    deadline = time.monotonic() + PREDECESSOR_S
    while True:
        try:
            return ray.remote(Coordinator).options(**options).remote(*arguments)
        except ValueError:  # the name is taken by a coordinator that has not ended yet
            if time.monotonic() > deadline:
                raise CheckpointError("another coordinator still runs it", uri, "wait for it, or stop it") from None
            time.sleep(1)
