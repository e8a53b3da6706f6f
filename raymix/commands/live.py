"""`raymix logs` and `raymix stop`, and what `raymix status` asks a run that lives on a cluster.

The runtime is imported where a cluster is named: Ray takes seconds, and most who look at a run name none.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from raymix.commands.directory import run_directory
from raymix.commands.lines import round_line
from raymix.commands.parsing import parse
from raymix.errors import CheckpointError, MissingError, ResourceError
from raymix.runs.checkpoint import RunDirectory
from raymix.runs.record import read_record

if TYPE_CHECKING:
    from raymix.runs.run import Status
    from raymix.runtime.living import Living

FOLLOW_S = 1.0
LOGS = "logs"


@dataclass(frozen=True)
class Logs:
    """Every round of a run, its warnings, and what its processes have written into the run directory.

    On a cluster also the last lines of each actor, as far as Ray's state API is reachable (`ray[default]` on the head).
    """

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """Run directory."""
    address: Annotated[str | None, tyro.conf.arg(metavar="A")] = None
    """The Ray cluster that the run lives on (auto, host:port or ray://...)."""
    follow: bool = False
    """Go on with what is new, until the run ends (without an address: until this command is interrupted)."""
    lines: int = 20
    """Last lines of each actor."""


@dataclass(frozen=True)
class Stop:
    """End a run that lives on a cluster, after the commit of its present round; `raymix resume` goes on with it."""

    directory: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DIR")]
    """Run directory."""
    address: Annotated[str, tyro.conf.arg(metavar="A")]
    """The Ray cluster that it lives on (auto, host:port or ray://...)."""
    now: bool = False
    """Abandon the present round."""


def stop(argv: list[str]) -> None:
    arguments = parse(Stop, argv, "stop")
    location = arguments.directory
    run_directory(location).load()  # says so where there is no run at all
    from raymix.runtime.driver import cluster
    from raymix.runtime.living import end_at_once, end_in_order, living_coordinator

    with cluster(arguments.address):
        coordinator = living_coordinator(location)
        if coordinator is None:
            raise CheckpointError("does not live on this cluster", location, f"see `raymix status {location}`")
        if arguments.now:
            end_at_once(location, coordinator)
            print(f"ended; go on with `raymix resume {location}`")
        else:
            status = end_in_order(coordinator)
            print(f"will end after round {current(status)} of {status.rounds}; add --now to end it at once")


def told_by(location: str, address: str) -> list[str]:
    """Where a run is that lives on a cluster, and its processes; nothing where it does not."""
    from raymix.runtime.driver import cluster
    from raymix.runtime.living import living_coordinator, look

    with cluster(address):
        coordinator = living_coordinator(location)
        if coordinator is None:
            return []
        living = look(coordinator)
    status = living.status
    share = "" if status.share_done is None else f", {status.share_done:.0%} done"
    state = f"state: lives; round {current(status)} of {status.rounds}, {status.doing}{share}"
    processes = [f"  {each.name}: process {each.pid} on {each.node_ip}" for each in living.processes]
    return [state, *processes]


def current(status: "Status") -> int:
    """The round under way; a run that has done all makes its report."""
    done = status.lines[-1].round if status.lines else -1
    return min(done + 1, status.rounds)


def logs(argv: list[str]) -> None:
    arguments = parse(Logs, argv, "logs")
    directory = run_directory(arguments.directory)
    rounds = directory.load()[0].schedule.rounds
    news = News(directory, rounds)
    for line in news.more():
        print(line)
    if arguments.address is None:
        while arguments.follow:
            time.sleep(FOLLOW_S)
            for line in news.more():
                print(line, flush=True)
        return
    from raymix.runtime.driver import cluster
    from raymix.runtime.living import living_coordinator, look

    with cluster(arguments.address):
        coordinator = living_coordinator(arguments.directory)
        if coordinator is None:
            print(f"raymix: the run does not live on {arguments.address}", file=sys.stderr)
            return
        print_tails(look(coordinator), arguments.lines)
        while arguments.follow and living_coordinator(arguments.directory) is not None:
            time.sleep(FOLLOW_S)
            for line in news.more():
                print(line, flush=True)
    for line in news.more():
        print(line)


def print_tails(living: "Living", lines: int) -> None:
    """The last lines of each actor, or one line that says why there are none."""
    from raymix.runtime.living import tails

    try:
        found = tails(living.processes, lines) if lines > 0 else []
    except ResourceError as error:
        print(f"raymix: {error}", file=sys.stderr)
        return
    for name, text in found:
        for line in text.splitlines():
            print(f"{name}: {line}")


class News:
    """Lines of the record and of the files under `logs/` that were not shown before."""

    def __init__(self, directory: RunDirectory, rounds: int) -> None:
        self.directory, self.rounds = directory, rounds
        self.round = -1
        self.shown: dict[str, int] = {}

    def more(self) -> Iterator[str]:
        storage = self.directory.storage
        for line in read_record(storage):
            if line.round > self.round:
                self.round = line.round
                yield round_line(line, self.rounds)
                yield from (f"warning: round {self.round}: {text}" for text in line.warnings)
        for name in storage.names(LOGS):
            if not name.endswith(".log"):
                continue
            try:
                lines = storage.read(f"{LOGS}/{name}").decode(errors="replace").splitlines()
            except MissingError:  # it is being replaced
                continue
            yield from (f"{name.removesuffix('.log')}: {text}" for text in lines[self.shown.get(name, 0) :])
            self.shown[name] = len(lines)
