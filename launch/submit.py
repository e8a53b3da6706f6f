"""Run a raymix command on a cluster as a job of Ray's, which goes on whatever becomes of this process.

    python -m launch.submit --address http://127.0.0.1:8265 --name digits-1 -- train digits --out s3://bucket/digits-1
    python -m launch.submit --address http://127.0.0.1:8265 --attach digits-1

The working tree goes along, without what .gitignore and EXCLUDED leave out, so that the cluster runs this code;
packages that it needs must be installed there. Lines of the job are shown until it ends. Ctrl-C, a lost connection or
the death of this process leave the job alone: `--attach` shows its lines again, from the first one on, and waits for
its end.
"""

import asyncio
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from raymix.commands.parsing import option
from raymix.errors import ConfigError, RaymixError, ResourceError

ROOT = Path(__file__).parents[1]
EXCLUDED = ["/.git", "/.ci", "/tests", "/docs", "/runs"]
ON_RAY = ("train", "resume", "tune", "status", "logs", "stop")
"""Commands that take an address, which is the job's own cluster."""
RETRY_S = 2.0
RETRIES = 30


@dataclass(frozen=True)
class Arguments:
    """Run a raymix command on a cluster as a job, or go on watching one.

    What follows `--` is the command: `-- train mnist --data-dir /data/mnist --out s3://bucket/mnist-1`.
    """

    address: Annotated[str, tyro.conf.arg(metavar="URL")] = "http://127.0.0.1:8265"
    """The cluster's dashboard, often the near end of `ray dashboard cluster.yaml` or of an SSH tunnel."""
    name: str | None = None
    """The job's name, for `--attach` and `ray job stop`; unset: the recipe and the time."""
    attach: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Watch this job instead, from its first line on."""
    no_wait: bool = False
    """Return when the job has started."""


def main() -> None:
    own, command = split(sys.argv[1:])
    arguments = tyro.cli(Arguments, prog="python -m launch.submit", args=own, config=(tyro.conf.FlagCreatePairsOff,))
    try:
        sys.exit(run(arguments, command))
    except RaymixError as error:
        print(f"submit: error: {error}", file=sys.stderr)
        sys.exit(2)


def split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Options of this script, and the command after `--`."""
    at = argv.index("--") if "--" in argv else len(argv)
    return argv[:at], argv[at + 1 :]


def run(arguments: Arguments, command: list[str]) -> int:
    """The exit code. Raises `ConfigError`, `ResourceError`."""
    if (arguments.attach is None) == (not command):
        raise ConfigError("give a command after -- or --attach NAME, one of them", "command line")
    name = arguments.attach or arguments.name or default_name(command)
    entrypoint = entrypoint_of(command) if command else None
    client = connected(arguments.address)
    if entrypoint is not None:
        submit(client, name, entrypoint)
        say(f"job {name}: {entrypoint}")
        say(f"watch it again with: python -m launch.submit --address {arguments.address} --attach {name}")
        say(f"end it with: ray job stop --address {arguments.address} {name}")
    if arguments.no_wait:
        return 0
    try:
        return 0 if watched(client, name) == "SUCCEEDED" else 1
    except KeyboardInterrupt:
        say(f"job {name} goes on without this command")
        return 130


def default_name(command: list[str]) -> str:
    words = [word for word in command[:2] if not word.startswith("-")]
    return "-".join(["raymix", *words[-1:], time.strftime("%Y%m%d-%H%M%S")])


def entrypoint_of(command: list[str]) -> str:
    """What the job runs on the cluster's head. Raises `ConfigError` where its result would be lost with the job."""
    verb = command[0]
    if verb in ("train", "tune"):
        out = option(command, "resume") or option(command, "out")
        if out is None or not (Path(out).is_absolute() or "://" in out):
            todo = "give --out s3://..., gs://... or an absolute path (of the head node, or one that all nodes share)"
            raise ConfigError("the job's own folder is deleted after it", f"--out {out or ''}".strip(), todo)
    if verb in ON_RAY and option(command, "address") is None and option(command, "workers") != "local":
        command = [*command, "--address", "auto"]
    return shlex.join(["python", "-m", "raymix.cli", *command])


def connected(address: str) -> Any:
    """A client of the cluster's job server. Raises `ResourceError`."""
    try:
        from ray.job_submission import JobSubmissionClient  # needs parts of ray[default]

        return JobSubmissionClient(address)
    except Exception as error:  # of many kinds: the network, a token, a missing package
        raise ResourceError(f"no job server can be reached ({first_line(error)})", f"--address {address}") from None


def submit(client: Any, name: str, entrypoint: str) -> None:
    """Start the job with this working tree. Raises `ResourceError`, `ConfigError` where the name is taken."""
    if not (ROOT / "pyproject.toml").is_file():
        raise ConfigError("is no working tree of raymix", str(ROOT), "run it from a clone")
    if any(name == job.submission_id for job in client.list_jobs()):
        raise ConfigError("a job of this name is known to the cluster", f"--name {name}", "choose another, or --attach")
    environment = {"working_dir": str(ROOT), "excludes": EXCLUDED, "env_vars": {"PYTHONUNBUFFERED": "1"}}
    try:
        client.submit_job(
            entrypoint=entrypoint, submission_id=name, runtime_env=environment, metadata={"raymix": entrypoint}
        )
    except Exception as error:
        raise ResourceError(f"the job cannot be submitted ({first_line(error)})", name) from None


def watched(client: Any, name: str) -> str:
    """Show the job's lines until it ends, over any number of lost connections; returns its last state.

    Raises `ResourceError` when the cluster stays silent for a minute, `ConfigError` when it knows no such job.
    """
    lines, failures = Lines(client, name), 0
    while True:
        try:
            info = client.get_job_info(name)
            if info.status.is_terminal():
                lines.show(client.get_job_logs(name))
                say(f"job {name}: {info.status.value.lower()} ({info.message})")
                return str(info.status.value)
            asyncio.run(lines.follow())
            failures = 0
        except Exception as error:  # of many kinds, from the network
            if "does not exist" in str(error):
                raise ConfigError("the cluster knows no such job", f"--attach {name}", "see `ray job list`") from None
            failures += 1
            if failures > RETRIES:
                reason = f"the cluster does not answer ({first_line(error)})"
                raise ResourceError(reason, name, "the job may go on: --attach later") from None
        time.sleep(RETRY_S if failures else 0.5)


class Lines:
    """What a job has written, each character shown once."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name = client, name
        self.shown = 0

    async def follow(self) -> None:
        """Show what comes until the job ends or the connection does; each connection begins with the first line."""
        passed = ""
        async for text in self.client.tail_job_logs(self.name):
            passed += text
            self.show(passed)

    def show(self, text: str) -> None:
        """Show what is new of all that was written so far."""
        print(text[self.shown :], end="", flush=True)
        self.shown = max(self.shown, len(text))


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def say(text: str) -> None:
    print(f"submit: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
