"""Runs a small mixture in a process of its own on a cluster, kills what it is told where it is told, and looks at what
is left: the digest, the record, the assignment."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray
from ray.exceptions import RayError

from raymix import session
from raymix.config import BalanceConfig, Config, DataConfig, DiscriminatorConfig, ResourcesConfig, ScheduleConfig
from raymix.config_values import dump_config, replaced
from raymix.families.dcgan import SNDCGANConfig
from raymix.families.vae import VAEConfig
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory, assignment_name, digest, read_assigned
from raymix.runs.record import read_record
from raymix.runtime.identity import NAMESPACE, name_of, run_id_of
from raymix.storage import Storage

NUM_ROWS = 900
RUN_S = 240  # a disturbed run, before the test gives up
DRIVER = Path(__file__).with_name("driver.py")
GENERATORS, DISCRIMINATORS = "generators of pack-0", "discriminators of pack-0"


def config(
    rounds: int = 4,
    pack: int = 3,
    balance: BalanceConfig | None = None,
    team: int = 1,
    family: str = "vae",
    workers: int = 1,
    on_loss: Literal["move", "wait"] = "move",
    stall_s: float = 60,
    **schedule: Any,
) -> Config:
    """K = 3 on three blocks, evaluated in every round; a team of more than one trains a shared trunk together, and
    several workers each component (then there are two). The family is vae, of points, or sn-dcgan, of small images."""
    schedule = {"pretrain_epochs": 3, "epochs_per_round": 10, "batch_size": 8, "evaluate_every": 1} | schedule
    data = DataConfig(name="synthetic-3", num_rows=NUM_ROWS, block_bytes=300 * 8)
    model: VAEConfig | SNDCGANConfig = VAEConfig(encoder=(16,), decoder=(16,), latent=2)
    if family == "sn-dcgan":
        data = DataConfig(name="digits", num_rows=NUM_ROWS, block_bytes=300 * 64)
        model = SNDCGANConfig(filters=8, latent=4, ema=0.9)
    return Config(
        num_components=3 if workers == 1 else 2,
        data=data,
        model=model,
        discriminator=DiscriminatorConfig(
            trunk="shared" if team > 1 else "separate", workers=team, widths=(16,), batch_size=32
        ),
        schedule=ScheduleConfig(rounds=rounds, **schedule),
        balance=balance or BalanceConfig(),
        resources=ResourcesConfig(
            pack=pack, fused=pack > 1, workers_per_component=workers, stall_s=stall_s, on_loss=on_loss
        ),
    )


def undisturbed_digest(settings: Config, out: Path) -> str:
    """The digest of the same run in one process, without what is measured and drawn, which leaves no trace in it."""
    beside = {"schedule.evaluate_every": 0, "schedule.report": False}
    session.start(*resolve(replaced(settings, beside)), str(out), workers="local")
    return digest(RunDirectory(Storage.at(out)))


def pids_of(run_id: str) -> dict[str, int]:
    """Processes of a run's coordinator and its actors that have started, by name, as the coordinator tells."""
    coordinator = ray.get_actor(name_of(run_id), namespace=NAMESPACE)
    return {process.name: process.pid for process in ray.get(coordinator.processes.remote(), timeout=15)}


@dataclass
class Disturbed:
    """One run in `out`, and the process that drives it."""

    address: str
    folder: Path
    settings: Config

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.out, self.file = self.folder / "run", self.folder / "settings.yaml"
        self.file.write_text(dump_config(self.settings))
        self.driver: subprocess.Popen[bytes] | None = None
        self.log = self.folder / "driver.log"

    def start(self, action: str = "train") -> None:
        command = [sys.executable, str(DRIVER), action, self.address, str(self.folder), str(self.file), str(self.out)]
        with self.log.open("ab") as log:
            self.driver = subprocess.Popen(command, stdout=log, stderr=log)

    def hold_at(self, place: str, round: int | None) -> None:
        """Ask for the coordinator to stop there."""
        for name in ("reached", "go"):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "plan.json").write_text(json.dumps({"place": place, "round": round}))

    def wait_until_held(self) -> None:
        self.wait_for((self.folder / "reached").exists, "the place to be reached")

    def wait_for_commits(self, num: int) -> None:
        self.wait_for(lambda: self.rounds_committed() >= num, f"commit {num}")

    def ended(self) -> bool:
        return self.driver is None or self.driver.poll() is not None

    def go_on(self) -> None:
        (self.folder / "go").touch()

    def wait_for(self, done: Callable[[], object], what: str, limit_s: float = RUN_S) -> Any:
        deadline = time.monotonic() + limit_s
        while not (found := done()):
            assert time.monotonic() < deadline, f"waited {limit_s} s for {what}\n{self.log.read_text()}"
            assert not self.ended() or done(), f"the driver ended\n{self.log.read_text()}"
            time.sleep(0.01)
        return found

    @property
    def run_id(self) -> str:
        return run_id_of(str(self.out))

    def pids(self) -> dict[str, int]:
        """`pids_of` the run; empty when the coordinator does not tell."""
        try:
            return pids_of(self.run_id)
        except (ValueError, RayError):
            return {}

    def pid(self, victim: str) -> int:
        assert self.driver is not None
        if victim == "driver":
            return self.driver.pid
        return int(self.wait_for(lambda: self.pids().get(victim), f"the process of the {victim}"))

    def kill(self, victim: str) -> None:
        self.kill_pid(self.pid(victim))

    @staticmethod
    def kill_pid(pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def rounds_committed(self) -> int:
        return len(list(self.out.glob("generations/*/manifest.json")))

    def finish(self) -> None:
        """Wait for the driver to end the run."""
        assert self.driver is not None
        code = self.driver.wait(RUN_S)
        assert code == 0, f"the driver ended with {code}\n{self.log.read_text()}"

    def require(self, expected_digest: str) -> None:
        """The run ended as if nothing had happened."""
        storage = Storage.at(self.out)
        directory = RunDirectory(storage)
        assert digest(directory) == expected_digest
        rounds = [line.round for line in read_record(storage)]
        assert rounds == list(range(self.settings.schedule.rounds + 1)), "each round once"
        last = directory.require_last()
        blocks = [name for name in last.files if name.startswith("labels-")]
        parts = [read_assigned(storage, f"{last.folder}/{assignment_name(b)}").winners for b in range(len(blocks))]
        owned = Counter(int(k) for winners in parts for k in winners)
        assert sum(owned.values()) == NUM_ROWS, "each row once"
        assert [owned[k] for k in last.state.components] == list(last.state.won_K)
        assert (self.out / "samples.png").exists()
