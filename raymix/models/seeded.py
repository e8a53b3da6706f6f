"""Networks whose first parameters come from a seed."""

import threading
from collections.abc import Callable
from typing import TypeVar

import torch

Built = TypeVar("Built")

BUILDING = threading.Lock()  # torch draws first parameters from a generator that all threads share


def seeded_build(build: Callable[[], Built], seed: int) -> Built:
    """Build a network whose first parameters come from `seed`; torch's global generators are left as they were."""
    with BUILDING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would reach those of GPUs too
        return build()
