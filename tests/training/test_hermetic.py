"""Whatever a caller has set in its process, the bits are the same, and all is afterwards as the caller had it."""

import contextlib
import hashlib
import json
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raymix import session
from raymix.errors import DataError
from raymix.mixture import Mixture
from raymix.runs import checkpoint
from raymix.runs.checkpoint import RunDirectory
from raymix.storage import Storage
from raymix.training.hermetic import flushes_denormals, hermetic

ROWS = np.random.default_rng(0).normal(size=(120, 2)) + np.arange(120)[:, None] % 2 * 8
SETTINGS = {
    "schedule.rounds": 1,
    "schedule.pretrain_epochs": 2,
    "schedule.epochs_per_round": 2,
    "discriminator.epochs": 1,
    "schedule.report": False,
    "resources.pack": 2,
    "resources.fused": True,
}

State = Callable[[], AbstractContextManager[Any]]


@contextmanager
def set_to(get: Callable[[], Any], set: Callable[[Any], object], value: Any, back: Any = ...) -> Iterator[None]:
    before = get() if back is ... else back
    set(value)
    try:
        yield
    finally:
        set(before)


@contextmanager
def warnings_as_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@contextmanager
def handlers_of_its_own() -> Iterator[None]:
    with contextlib.ExitStack() as held:
        for signum in (signal.SIGINT, signal.SIGTERM):
            held.callback(signal.signal, signum, signal.signal(signum, lambda *_: None))
        yield


@contextmanager
def logging_of_its_own() -> Iterator[None]:
    """A handler that raises, and a level at which everything reaches it."""

    class Strict(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise AssertionError(record.getMessage())

    root, handler = logging.getLogger(), Strict(logging.CRITICAL)
    root.addHandler(handler)
    with set_to(lambda: root.level, root.setLevel, logging.CRITICAL):
        yield
    root.removeHandler(handler)


STATES: dict[str, State] = {
    "nothing": nullcontext,
    "default dtype": lambda: set_to(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "half dtype": lambda: set_to(torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16),
    "no_grad": torch.no_grad,
    "gradient off": lambda: torch.set_grad_enabled(False),
    "inference mode": torch.inference_mode,
    "threads": lambda: set_to(torch.get_num_threads, torch.set_num_threads, 3),
    "deterministic": lambda: set_to(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, "error"),
    "cudnn": lambda: torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=True),
    "autocast": lambda: torch.autocast("cpu"),
    "default device": lambda: set_to(torch.get_default_device, torch.set_default_device, "meta", back=None),
    "device": lambda: torch.device("meta"),
    "matmul precision": lambda: set_to(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "flushed denormals": lambda: set_to(flushes_denormals, torch.set_flush_denormal, True),
    "new precision": lambda: set_to(
        lambda: torch.backends.mkldnn.matmul.fp32_precision,
        lambda value: setattr(torch.backends.mkldnn.matmul, "fp32_precision", value),
        "bf16",
    ),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "numpy errors": lambda: np.errstate(all="raise"),
    "warnings": warnings_as_errors,
    "logging disabled": lambda: set_to(lambda: logging.root.manager.disable, logging.disable, logging.CRITICAL),
    "logging": logging_of_its_own,
    "signals": handlers_of_its_own,
}


def state() -> dict[str, Any]:
    """What a caller may have set, as it is."""
    raymix = logging.getLogger("raymix")
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "gradient": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "cudnn": [getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic")],
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "matmul precision": precision(),
        "flushes denormals": flushes_denormals(),
        "anomaly detection": torch.is_anomaly_enabled(),
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "numpy's random state": repr(np.random.get_state()),
        "python's random state": random.getstate(),
        "numpy's errors": np.geterr(),
        "warnings": list(warnings.filters),
        "logging": (logging.root.manager.disable, logging.root.level, list(logging.root.handlers)),
        "raymix's log": (raymix.level, list(raymix.handlers), raymix.disabled, raymix.propagate),
        "signals": [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)],
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
    }


def precision() -> tuple[str, ...]:
    """Of products of float32; torch refuses to sum up several settings that do not go together."""
    try:
        whole = torch.get_float32_matmul_precision()
    except RuntimeError:
        whole = "mixed"
    return whole, torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision


def mixture(out: Path | None = None, **arguments: Any) -> Mixture:
    return Mixture("synthetic-3", num_components=2, out=out, overrides=SETTINGS, **arguments)


def bits() -> dict[str, str]:
    """What every public call gives, each as a hash."""
    fitted = mixture().fit(ROWS)
    loaded = Mixture.load(fitted.directory_)
    found = {
        "fit": checkpoint.digest(RunDirectory(Storage.at(fitted.directory_))),
        "labels": fitted.labels_,
        "predict": fitted.predict(ROWS),
        "score": fitted.score_samples(ROWS),
        "sample": fitted.sample(20)[0],
        "component": fitted.sample(20, component=1)[0],
        "load": loaded.score_samples(ROWS),
        "evaluate": json.dumps(fitted.evaluate(num_samples=40)),
    }
    return {
        name: hashlib.sha256(value.encode() if isinstance(value, str) else value.tobytes()).hexdigest()
        for name, value in found.items()
    }


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, str]:
    return bits()


@pytest.mark.parametrize("name", STATES)
def test_bits_and_state_stay_whatever_is_set(name: str, undisturbed: dict[str, str]) -> None:
    with STATES[name]():
        before = state()
        found = bits()
        assert state() == before
    assert found == undisturbed


@pytest.mark.parametrize("name", STATES)
def test_the_state_stays_when_a_fit_fails(name: str, tmp_path: Path) -> None:
    with STATES[name]():
        before = state()
        with pytest.raises(DataError):
            mixture(tmp_path / "run").fit(np.full((9, 2), np.nan))
        assert state() == before


def in_a_thread(work: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def test_another_thread_than_the_main_one_gives_the_same(undisturbed: dict[str, str]) -> None:
    def work() -> dict[str, str]:
        with torch.no_grad(), torch.autocast("cpu"), torch.device("meta"), np.errstate(all="raise"):
            before = state()
            found = bits()
            assert state() == before
        return found

    assert in_a_thread(work) == undisturbed


def test_calls_in_several_threads_at_once_give_the_same(undisturbed: dict[str, str]) -> None:
    with STATES["default dtype"](), STATES["threads"](), warnings_as_errors():
        before = state()
        with ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(bits) for _ in range(3)]
            found = [each.result() for each in asked]
            assert list(pool.map(lambda _: torch.get_num_threads(), range(3))) == [3] * 3
        assert state() == before
        assert in_a_thread(torch.get_num_threads) == 3
    assert found == [undisturbed] * 3


def test_runs_started_and_resumed_in_this_process_give_the_same(tmp_path: Path) -> None:
    fitted = mixture(tmp_path / "fitted").fit(ROWS)
    RunDirectory(Storage.at(tmp_path / "resumed")).create(fitted.config_, fitted.spec_, {})
    with STATES["default dtype"](), STATES["no_grad"](), STATES["threads"](), STATES["default device"]():
        before = state()
        session.start(fitted.config_, fitted.spec_, str(tmp_path / "started"), workers="local")
        assert session.resume(str(tmp_path / "resumed"), workers="local")
        assert state() == before
    digests = {checkpoint.digest(RunDirectory(Storage.at(folder))) for folder in tmp_path.iterdir()}
    assert len(digests) == 1


@pytest.mark.slow
def test_the_process_of_a_run_on_ray_is_left_as_it_was(ray_cluster: None, undisturbed: dict[str, str]) -> None:
    with STATES["default dtype"](), STATES["gradient off"](), STATES["threads"](), STATES["signals"]():
        before = state()
        fitted = mixture(workers="ray").fit(ROWS)
        assert state() == before
        assert hashlib.sha256(fitted.labels_.tobytes()).hexdigest() == undisturbed["labels"]


def test_a_call_inside_another_gives_back_what_the_outer_one_needs() -> None:
    with STATES["default dtype"](), STATES["threads"](), hermetic():
        torch.set_num_threads(2)
        with hermetic():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2 and torch.get_default_dtype() is torch.float32
