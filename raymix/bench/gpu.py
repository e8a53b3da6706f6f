"""How well steps use a GPU: how long kernels run, how many there are and by how many launches, what they compute and
move.

Times are what torch's profiler hears from the device; its matrix rate and bandwidth are measured there and then.
"""

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from raymix.bench.ways import Shape, Way
from raymix.planning.footprint import generator_footprint

STEPS = 20
SIDE = 4096  # of the matrices whose product is timed
COPIED_BYTES = 2**30
LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cudaMemcpy", "cudaMemset")


class GPUUse(NamedTuple):
    """Of one step of every component."""

    busy: float
    """Share of the time in which a kernel runs."""
    kernel_ms: float
    kernels: float
    launches: float
    """Calls that start something on the GPU."""
    matrix_share: float
    """Floating-point operations over what products of large float32 matrices reach in the same time."""
    state_share: float
    """The least that a step must move, its parameters and moments there and back, over what a copy reaches in the same
    time."""

    def __str__(self) -> str:
        return (
            f"{self.kernel_ms:.3g} ms of kernels, busy {self.busy:.0%}, {self.kernels:.0f} kernels by "
            f"{self.launches:.0f} launches, {self.matrix_share:.1%} of the matrix rate, {self.state_share:.1%} of the "
            "bandwidth"
        )


def gpu_use(way: Way, shape: Shape, num: int) -> GPUUse:
    """What a way makes of the GPU. The times of a step are those without the profiler."""
    step_s = seconds(lambda: way(STEPS)) / STEPS
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as told:
        way(STEPS)
        torch.cuda.synchronize()
    events = told.events() or []
    kernels = [event for event in events if event.device_type.name == "CUDA"]
    launches = [event for event in events if event.name.startswith(LAUNCHES)]
    kernel_s = sum(event.self_device_time_total for event in kernels) / 1e6 / STEPS
    one = generator_footprint(shape.config, shape.spec)
    return GPUUse(
        busy=min(1.0, kernel_s / step_s),
        kernel_ms=1e3 * kernel_s,
        kernels=len(kernels) / STEPS,
        launches=len(launches) / STEPS,
        matrix_share=num * one.step.flops / step_s / matrix_rate(),
        state_share=2 * num * one.state_bytes / step_s / bandwidth(),
    )


@functools.cache
def matrix_rate() -> float:
    """Floating-point operations per second in products of large float32 matrices."""
    a, b = (torch.randn(SIDE, SIDE, device="cuda") for _ in range(2))
    return 2 * SIDE**3 / seconds(lambda: a @ b)


@functools.cache
def bandwidth() -> float:
    """Bytes per second, read and written, of a copy."""
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / seconds(lambda: target.copy_(source))


def seconds(work: Callable[[], object], times: int = 5) -> float:
    """Of the fastest of a few times, after a first one."""
    found = []
    for _ in range(times + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return min(found[1:])
