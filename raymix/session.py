"""Start a run, or go on with one, in this process or on Ray: what the command line and `Mixture` share."""

import logging
import platform
from collections.abc import Callable
from importlib import metadata
from typing import Literal

from raymix import __version__
from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.data.written import require_apart
from raymix.errors import CheckpointError
from raymix.local import LocalWorkers
from raymix.models.registry import close
from raymix.recipes.packing import packed
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.run import Progress, Run, Status
from raymix.runtime.driver import Detached, Reserved, cluster, packed_for_cluster, require_room, run_on_ray
from raymix.runtime.living import living_coordinator, watch_until_end
from raymix.storage import Storage
from raymix.training.hermetic import hermetic
from raymix.training.setting import sees_gpu

log = logging.getLogger(__name__)
Watch = Callable[[Status], None]


def environment() -> dict[str, str]:
    """What bits may depend on beside the config."""
    versions = {package: metadata.version(package) for package in ("torch", "numpy", "ray")}
    machine = f"{platform.system()} {platform.machine()}"
    return {"raymix": __version__, "python": platform.python_version(), **versions, "machine": machine}


@hermetic()
def start(
    config: Config,
    spec: DataSpec,
    uri: str,
    *,
    workers: Literal["ray", "local"] = "ray",
    address: str | None = None,
    wait_s: float = 0,
    watch: Watch = lambda status: None,
    reserved: Reserved | None = None,
    detached: Detached | None = None,
) -> None:
    """Start the run of a resolved config in a new run directory.

    In a `reserved` place the run waits after each round until `watch` has returned. With `detached` the run is started
    on the cluster and goes on by itself.

    Raises `CheckpointError` when the directory holds a run, `ConfigError` when it is the folder of the data,
    `ResourceError` when the cluster cannot hold the run even after `wait_s` seconds; nothing is written then.
    """
    directory = RunDirectory(Storage.at(uri))
    directory.require_new()
    require_apart(uri, config.data)
    if config.schedule.evaluate_every:
        from raymix.evaluation.images import require_measurable  # torchvision and scikit-learn take seconds to import

        require_measurable(config, spec)
    if workers == "local":
        config, reason = packed(config, spec, slots=1, on_gpu=sees_gpu(config))
        directory.create(config, spec, environment() | {"packing": reason})
        run_here(config, spec, directory, watch)
        return
    with cluster(address):
        config, reason = packed_for_cluster(config, spec)
        if reserved is None:
            require_room(config, wait_s)  # what cannot fit fails before anything is written
        directory.create(config, spec, environment() | {"packing": reason})
        run_on_ray(config, spec, directory.storage.uri, watch, reserved, detached)


@hermetic()
def resume(
    uri: str,
    *,
    workers: Literal["ray", "local"] = "ray",
    address: str | None = None,
    wait_s: float = 0,
    watch: Watch = lambda status: None,
    reserved: Reserved | None = None,
    detached: Detached | None = None,
) -> bool:
    """Go on with a run from its last commit, or from the beginning when it has none. One that lives on the cluster is
    watched until it ends.

    Returns whether there was anything to do. `reserved` and `detached` are as in `start`. Raises `CheckpointError` when
    the directory holds no run.
    """
    directory = RunDirectory(Storage.at(uri))
    config, spec = directory.load()
    config = close(config)
    if directory.finished(config, directory.last()):
        return False
    if workers == "local":
        run_here(config, spec, directory, watch)
    else:
        with cluster(address):
            if reserved is None:
                if attached(config, directory.storage.uri, watch, detached):
                    return True
                require_room(config, wait_s)
            run_on_ray(config, spec, directory.storage.uri, watch, reserved, detached)
    return True


def attached(config: Config, uri: str, watch: Watch, detached: Detached | None) -> bool:
    """Whether a coordinator of the run lived on the connected cluster and was watched until the run's end. One that
    dies with its driver meanwhile does not count. Raises `CheckpointError` where another one was to be `detached`."""
    coordinator = living_coordinator(uri)
    if coordinator is None:
        return False
    if detached is not None:
        raise CheckpointError(
            "is run by a coordinator that lives on this cluster", uri, "watch it with `raymix resume`"
        )
    log.warning("the run lives on this cluster: it is watched, and goes on when this command ends")
    return watch_until_end(coordinator, config.resources.stall_s, watch)


def run_here(config: Config, spec: DataSpec, directory: RunDirectory, watch: Watch) -> None:
    """The loop in this process."""
    progress = Progress(config.schedule.rounds, watch=watch)
    Run(config, spec, directory, progress).finish(lambda: LocalWorkers(config, spec, progress.report))
    progress.report(ended=True)
