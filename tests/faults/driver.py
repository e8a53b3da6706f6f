"""`raymix train` and `raymix resume` as a process of their own on a given cluster, with the hook of `hold`.

python driver.py train|resume ADDRESS FOLDER_OF_HOLD CONFIG OUT
"""

import os
import sys
from pathlib import Path

import hold
import ray
from ray._private import ray_constants

from raymix import session
from raymix.commands.signals import interruptible
from raymix.config_values import load_config
from raymix.recipes.resolve import resolve
from raymix.runs.checkpoint import RunDirectory
from raymix.storage import Storage


def main(action: str, address: str, folder: str, config: str, out: str) -> None:
    here = str(Path(__file__).parent)
    environment = {hold.FOLDER: folder, "PYTHONPATH": f"{here}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    runtime = {"worker_process_setup_hook": "hold.install", "env_vars": environment}
    if address.startswith("127."):  # else Ray takes the machine's own address instead
        ray_constants.ENABLE_RAY_CLUSTER = False
    ray.init(address=address, namespace="raymix", log_to_driver=False, logging_level="ERROR", runtime_env=runtime)
    with interruptible():
        if action == "resume" and RunDirectory(Storage.at(out)).holds_run:
            session.resume(out)
        else:
            session.start(*resolve(load_config(config)), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
