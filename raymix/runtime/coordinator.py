"""The coordinator: one light actor that owns the blocks, the actors and the loop of a run."""

import logging
import threading
import time
from typing import Any

import ray

from raymix.checkpoint import RunDirectory
from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.errors import CheckpointError, RaymixError
from raymix.run import Progress, Status, Stopped, run
from raymix.runtime.placement import Group
from raymix.runtime.workers import RayWorkers
from raymix.storage import Storage

log = logging.getLogger(__name__)
PREDECESSOR_S = 30


class Coordinator:
    """Runs the loop in a thread from the last commit; answers `status` and `stop` meanwhile."""

    def __init__(self, config_json: str, spec: DataSpec, uri: str, groups: list[Group], run_id: str) -> None:
        self.config = Config.model_validate_json(config_json)
        self.spec, self.groups, self.run_id = spec, groups, run_id
        self.directory = RunDirectory(Storage.at(uri))
        self.progress = Progress(self.config.schedule.rounds)
        self.workers: RayWorkers | None = None
        self.failure: Exception | None = None
        self.stopping = self.stopped = False
        self.thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.workers = RayWorkers(self.config, self.spec, self.groups, self.run_id)
            run(self.config, self.spec, self.directory, self.workers, self.progress, lambda: self.stopping)
        except Stopped:
            self.stopped = True
        except RaymixError as error:
            self.failure = error
        except Exception as error:
            log.exception("the loop failed")
            self.failure = RaymixError(
                f"{error.__class__.__name__}: {error}", "coordinator", "this is a fault in raymix"
            )
        finally:
            if self.workers:
                self.workers.close()

    def status(self, first_line: int = 0) -> Status:
        """Where the run stands, with the record lines from number `first_line` on."""
        workers = self.workers
        share = None
        if workers and workers.steps_to_do:
            share = min(1.0, (workers.steps_done - workers.steps_before) / workers.steps_to_do)
        return Status(
            lines=self.progress.lines[first_line:],
            rounds=self.progress.rounds,
            doing=workers.doing if workers else "start",
            share_done=share,
            ended=not self.thread.is_alive(),
            stopped=self.stopped,
            failure=self.failure,
        )

    def stop(self) -> None:
        """End after the commit of the present round."""
        self.stopping = True


def start_coordinator(config: Config, spec: DataSpec, uri: str, groups: list[Group], run_id: str) -> Any:
    """The actor's handle. It asks no processor; with a local run directory it sits on the driver's node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    options: dict[str, Any] = {"num_cpus": 0, "name": f"raymix-{run_id}"}
    if Storage.at(uri).is_local:
        node = ray.get_runtime_context().get_node_id()
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
    arguments = (config.model_dump_json(), spec, uri, groups, run_id)
    deadline = time.monotonic() + PREDECESSOR_S
    while True:
        try:
            return ray.remote(Coordinator).options(**options).remote(*arguments)
        except ValueError:  # the name is taken by a coordinator that has not ended yet
            if time.monotonic() > deadline:
                raise CheckpointError("another coordinator still runs it", uri, "wait for it, or stop it") from None
            time.sleep(1)
