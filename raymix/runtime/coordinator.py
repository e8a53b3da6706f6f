"""The coordinator: one light actor that owns the blocks, the actors and the loop of a run.

It is named by its run, so that every client of the cluster finds it (`raymix.runtime.living`). An ordinary one ends
with the driver that started it; a detached one goes on without, and ends by itself after the run.
"""

import logging
import os
import threading
import time
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.errors import CheckpointError, RaymixError
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.run import Progress, Run, Status, Stopped
from raymix.runtime.actor_names import Name
from raymix.runtime.actors import Process
from raymix.runtime.capacity import fitting_groups
from raymix.runtime.crew import ACTORS, Crew
from raymix.runtime.groups import remove_groups
from raymix.runtime.identity import NAMESPACE, name_of, prefix_of
from raymix.runtime.logs import keep_log
from raymix.runtime.lookout import Activity
from raymix.runtime.messages import Messages
from raymix.runtime.metrics import Exporter
from raymix.runtime.placement import in_bundles
from raymix.runtime.waiting import translated
from raymix.runtime.workers import RayWorkers
from raymix.storage import Storage

log = logging.getLogger(__name__)
PREDECESSOR_S = 30
PACE_S = 0.05
LINGER_S = 5.0
"""From the end of a detached run until its coordinator leaves: whoever watches asks more often."""


class Coordinator:
    """Runs the loop in a thread from the last commit; answers `status` and `stop` meanwhile."""

    classes = ACTORS
    """Classes of the crew's actors."""

    def __init__(
        self,
        config_json: str,
        spec: DataSpec,
        uri: str,
        run_id: str,
        reserved: PlacementGroup | None = None,
        detached: bool = False,
    ) -> None:
        keep_log(Name(run_id, "coordinator"))
        self.config = Config.model_validate_json(config_json)
        self.spec, self.run_id, self.reserved, self.detached = spec, run_id, reserved, detached
        self.directory = RunDirectory(Storage.at(uri))
        self.messages, self.exporter = Messages(self.directory), Exporter(run_id, uri)
        self.progress = Progress(self.config.schedule.rounds, watch=self._tell)
        self.activity = Activity()
        self.crew: Crew | None = None
        self.failure: Exception | None = None
        self.stopping = self.stopped = False
        self.num_seen = 0
        """Record lines that whoever watches has dealt with."""
        self.thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self.thread.start()

    def __repr__(self) -> str:
        return name_of(self.run_id)

    def _run(self) -> None:
        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        kind = "detached coordinator" if self.detached else "coordinator"
        log.info("%s %s on %s, process %d", kind, "starts again" if restarted else "starts", node_ip(), os.getpid())
        try:
            remove_groups(prefix_of(self.run_id))  # of a coordinator that died
            run = Run(self.config, self.spec, self.directory, self.progress, self._asked_to_stop, restarted)
            run.finish(self._employ)
            log.info("the run is finished")
        except Stopped:
            self.stopped = True
            log.info("the run stopped after its last commit, as it was asked to")
        except RaymixError as error:
            self.failure = error
            log.error("the run failed: %s", error)
        except Exception as error:
            log.exception("the loop failed")
            self.failure = RaymixError(
                f"{error.__class__.__name__}: {error}", "coordinator", "this is a fault in raymix"
            )
        if self.detached:
            threading.Thread(target=self._leave, name="leave", daemon=True).start()

    @staticmethod
    def _leave() -> None:
        """Nobody else ends a detached coordinator, and the end of its process alone would start it again."""
        time.sleep(LINGER_S)
        ray.kill(ray.get_runtime_context().current_actor)

    def _tell(self, status: Status) -> None:
        """What there is to say after a commit."""
        self.exporter(status)
        self.messages.save()

    def _asked_to_stop(self) -> bool:
        """Asked after each commit. Whoever reserved the run's place decides round by round whether it goes on, so it
        waits until they have seen this one."""
        while self.reserved is not None and not self.stopping and self.num_seen < len(self.progress.lines):
            time.sleep(PACE_S)
        return self.stopping

    def _employ(self) -> RayWorkers:
        """Workers placed on the nodes there are now."""
        self.activity.begin("waiting for nodes")
        config, reserved = self.config, self.reserved
        asked = fitting_groups(config, config.resources.stall_s, name=name_of(self.run_id))
        if reserved is not None:
            asked = in_bundles(asked, reserved.bundle_specs[1:])
        self.crew = Crew(config, self.spec, asked, self.run_id, config.resources.place_s, reserved, self.classes)
        try:
            return RayWorkers(self.config, self.spec, self.crew, self.activity)
        except BaseException:
            self.crew.close()
            raise

    def processes(self) -> list[Process]:
        """This coordinator's, and those of the actors that have started."""
        own = Process("coordinator", os.getpid(), node_ip())
        return [own, *(self.crew.processes() if self.crew else [])]

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

    def stop(self, now: bool = False) -> None:
        """End after the commit of the present round; with `now` whoever asks ends this process next."""
        log.info("asked to end %s", "at once" if now else "after the present round")
        self.stopping = True


def node_ip() -> str:
    """Address of the node that this process is on."""
    return str(ray.util.get_node_ip_address())


def start_coordinator(
    config: Config,
    spec: DataSpec,
    uri: str,
    run_id: str,
    reserved: PlacementGroup | None = None,
    detached: bool = False,
) -> Any:
    """The actor's handle. It asks no processor; with a local run directory it sits on the driver's node.

    `reserved`: a placement group to run in, with a bundle for helpers and one for each of the run's groups. `detached`:
    it outlives this process. Raises `CheckpointError` when the run has a coordinator that does not end.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # the namespace is raymix's own wherever the driver is, in a job or a trial too
    options: dict[str, Any] = {"num_cpus": 0, "name": name_of(run_id), "namespace": NAMESPACE, "max_restarts": -1}
    if detached:
        options["lifetime"] = "detached"
    if Storage.at(uri).is_local:
        node = ray.get_runtime_context().get_node_id()
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
    arguments = (config.model_dump_json(), spec, uri, run_id, reserved, detached)
    deadline = time.monotonic() + PREDECESSOR_S
    while True:
        try:
            return ray.remote(Coordinator).options(**options).remote(*arguments)
        except ValueError:  # the name is taken by a coordinator that has not ended yet
            if time.monotonic() > deadline:
                raise CheckpointError("another coordinator still runs it", uri, "wait for it, or stop it") from None
            time.sleep(1)


def start_detached(config: Config, spec: DataSpec, uri: str, run_id: str) -> Process:
    """Start a coordinator that outlives this process; returns where it is, once it answers.

    Raises `WorkerLostError` when it does not within `resources.place_s` seconds; nothing of it is left then.
    """
    coordinator = start_coordinator(config, spec, uri, run_id, detached=True)
    try:
        process: Process = ray.get(coordinator.processes.remote(), timeout=config.resources.place_s)[0]
    except RayError as error:
        ray.kill(coordinator)
        raise translated(error, "the coordinator") from None
    return process
