"""A log file per actor, on the node where it runs, in the folder of Ray's own logs of the session.

    <session>/logs/raymix/<run id>/generator-3.log

It holds what raymix's loggers say, Python's warnings, what the actor worked on and how long, and what it raised, with
the traceback. A file is bounded: it is set aside once (`.log.1`) when it is full.
"""

import functools
import inspect
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TypeVar

import ray

from raymix.errors import RaymixError
from raymix.runtime.actor_names import Name

log = logging.getLogger(__name__)
MOST_BYTES = 8 * 2**20  # of a file
LINE = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
SOURCES = ("raymix", "py.warnings")
C = TypeVar("C", bound=type)


def log_folder(session: str | Path, run_id: str) -> Path:
    """Where a run's actors log on a node, by the node's session folder."""
    return Path(session) / "logs" / "raymix" / run_id


def log_file(session: str | Path, name: Name) -> Path:
    """An actor's log on the node where it ran, by that node's session folder."""
    return log_folder(session, name.run_id) / f"{name.label}.log"


def session_folder() -> str:
    """Ray's session folder on this process's node."""
    node: Any = ray._private.worker.global_worker.node
    return str(node.get_session_dir_path())


def keep_log(name: Name) -> None:
    """Let this process, which is the actor's own, write the actor's file. Where that cannot be, it goes without."""
    path = log_file(session_folder(), name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = RotatingFileHandler(path, maxBytes=MOST_BYTES, backupCount=1, encoding="utf-8")
    except OSError as error:
        log.warning("%s cannot be written (%s); this actor has no log file", path, error.strerror)
        return
    file.setFormatter(logging.Formatter(LINE))
    for source in SOURCES:
        logger = logging.getLogger(source)
        logger.addHandler(file)
        if logging.lastResort:  # a handler of its own would take from stderr what Ray shows beside the actor
            logger.addHandler(logging.lastResort)
    logging.getLogger("raymix").setLevel(logging.INFO)
    logging.captureWarnings(True)
    threading.excepthook = _told_of_thread
    log.info("%s starts", name)


def _told_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        what = f"thread {args.thread.name if args.thread else '?'}"
        log.error("%s failed", what, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))


def telling(actor: C) -> C:
    """Let the log of an actor tell of its constructor and of each public method defined here: seconds, or what it
    raised. Those that only answer while others work are left out."""
    for name, method in list(vars(actor).items()):
        watches = hasattr(method, "__ray_concurrency_group__")
        if inspect.isfunction(method) and not watches and (name == "__init__" or not name.startswith("_")):
            setattr(actor, name, told(method))
    return actor


def told(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, of which the log tells."""
    signature = inspect.signature(method)

    def doing(*args: Any, **options: Any) -> str:
        round = signature.bind_partial(*args, **options).arguments.get("round")
        return method.__name__ if round is None else f"{method.__name__} of round {round}"

    if inspect.isgeneratorfunction(method):

        @functools.wraps(method)
        def generator(*args: Any, **options: Any) -> Iterator[Any]:
            with telling_of(doing(*args, **options)):
                yield from method(*args, **options)

        return generator

    @functools.wraps(method)
    def plain(*args: Any, **options: Any) -> Any:
        with telling_of(doing(*args, **options)):
            return method(*args, **options)

    return plain


@contextmanager
def telling_of(what: str) -> Iterator[None]:
    """Log how long something took, or what it raised."""
    start = time.perf_counter()
    try:
        yield
    except RaymixError as error:
        log.error("%s: %s", what, error)
        raise
    except Exception:
        log.exception("%s failed", what)
        raise
    log.info("%s took %.3f s", what, time.perf_counter() - start)
