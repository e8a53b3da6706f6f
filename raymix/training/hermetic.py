"""The caller's process stays the caller's: what is set in it does not reach the work, and nothing is left changed.

torch, numpy and Python hold settings for a whole thread or process that change what arithmetic does. A user's own stay
in force around a call of raymix, not within. Random states need no care: nothing in raymix draws from them.
"""

import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

DEVICES = ("cpu", "cuda")  # on which a run may be
FULL_PRECISION = ("none", "ieee")  # nothing is said, or float32 is float32


class Switch(NamedTuple):
    """A setting of the whole process."""

    get: Callable[[], Any]
    set: Callable[[Any], object]
    own: Any
    """What it is meanwhile."""

    def put(self, value: Any) -> None:
        """Let it be so; torch may refuse to be told even what it is."""
        if self.get() != value:
            self.set(value)


def attribute(owner: Any, name: str, own: Any) -> Switch:
    """A setting that is an attribute."""
    return Switch(lambda: getattr(owner, name), lambda value: setattr(owner, name, value), own)


SWITCHES = (
    Switch(torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    Switch(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
    attribute(torch.backends.cudnn, "benchmark", False),
    attribute(torch.backends.cudnn, "deterministic", False),
)


@contextmanager
def hermetic() -> Iterator[None]:
    """Inside, this thread computes by torch's, numpy's and Python's own defaults, on one torch thread; afterwards all
    is as it was. Other threads of the process see some of that meanwhile."""
    with ExitStack() as held:
        held.enter_context(_process.held())
        held.enter_context(torch.inference_mode(False))
        held.enter_context(torch.enable_grad())
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                held.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            held.enter_context(torch.device("cpu"))  # every call of torch is slower inside
        held.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        if flushes_denormals():
            torch.set_flush_denormal(False)
            held.callback(torch.set_flush_denormal, True)
        yield


class _Process:
    """Settings of the whole process: the first call that comes in takes them, the last to leave gives them back."""

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), Counter[int]()
        self.num_threads = 1
        self.taken = ExitStack()

    @contextmanager
    def held(self) -> Iterator[None]:
        with self.lock:
            me, first = threading.get_ident(), not self.inside
            # A thread begins with the number that was last given to any, which may be that of a call under way.
            found = torch.get_num_threads() if first or me in self.inside else self.num_threads
            if first:
                self.num_threads = found
                self._take()
            self.inside[me] += 1
            torch.set_num_threads(1)
        try:
            yield
        finally:
            with self.lock:
                self.inside = self.inside - Counter([me])  # which drops what is 0
                torch.set_num_threads(found)
                if not self.inside:
                    self.taken.close()

    def _take(self) -> None:
        for switch in [*SWITCHES, *lowered_precisions()]:
            self.taken.callback(switch.put, switch.get())
            switch.put(switch.own)
        if any(action == "error" for action, *_ in warnings.filters):
            self.taken.enter_context(warnings.catch_warnings())
            warnings.simplefilter("default")


_process = _Process()


def lowered_precisions() -> list[Switch]:
    """The settings that let products of float32 be less than that; on a machine with GPUs all of theirs, for whoever
    works there sets them."""
    if not hasattr(torch.backends.mkldnn, "matmul"):  # torch before 2.9 has one for all
        return [
            Switch(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
            attribute(torch.backends.cudnn, "allow_tf32", False),
        ]
    on_processors = [torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv]  # type: ignore[attr-defined]
    found = [attribute(owner, "fp32_precision", "ieee") for owner in (*on_gpus(), *on_processors)]
    return [switch for switch in found if torch.cuda.is_available() or switch.get() not in FULL_PRECISION]


def on_gpus() -> list[Any]:
    """What says of products on GPUs how precise they are; torch's own convolutions there are less than float32 unless
    they are told."""
    return [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn]  # type: ignore[attr-defined]


def set_gpu_precision(tf32: bool) -> None:
    """Products of float32 on GPUs in TF32, or in float32."""
    if not hasattr(torch.backends.mkldnn, "matmul"):
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
        return
    for owner in on_gpus():
        owner.fp32_precision = "tf32" if tf32 else "ieee"


def flushes_denormals() -> bool:
    """Whether this thread takes the smallest numbers for 0 (`torch.set_flush_denormal`)."""
    return sys.float_info.min / 2 == 0
