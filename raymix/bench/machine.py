"""The machine a benchmark runs on, and whether it is quiet enough to be believed."""

import os
import platform
from importlib import metadata
from typing import Any

import psutil
import torch

from raymix.recipes.packing import processor

BUSY_SHARE = 0.15  # of all processors, above which other work disturbs
WATCH_S = 2.0


def machine() -> dict[str, Any]:
    """Hardware and versions."""
    versions = {name: metadata.version(name) for name in ("raymix", "torch", "ray", "numpy")}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    memory = round(psutil.virtual_memory().total / 2**30, 1)
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": memory,
        "gpu": device,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions,
    }


def busy_share() -> float:
    """Share of all processors that is at work while this process sleeps."""
    return psutil.cpu_percent(WATCH_S) / 100
