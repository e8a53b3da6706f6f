"""What a failure means, and waits that notice it at once."""

import errno
import os
import signal
import time

import pytest
import ray
from ray import exceptions as ray_errors
from ray.core.generated.common_pb2 import ActorDiedErrorContext
from ray.exceptions import RayTaskError

from raymix.errors import (
    ConfigError,
    DataError,
    DivergedError,
    NodeLostError,
    RaymixError,
    ResourceError,
    WorkerLostError,
)
from raymix.runtime.waiting import gather, last_line, one_line, root_cause, translated


def task_error(cause):
    """As `ray.get` raises what a task or an actor's method raised."""
    name = f"{type(cause).__module__}.{type(cause).__name__}"
    text = f"ray::f() (pid=1, ip=127.0.0.1)\n  File x.py, line 1, in f\n{name}: {cause}"
    return RayTaskError("f", text, cause, proctitle="ray::f", pid=1, ip="127.0.0.1").as_instanceof_cause()


def died(text, name="GeneratorActor"):
    context = ActorDiedErrorContext(
        error_message=text, class_name=name, pid=77, node_ip_address="10.0.0.1", actor_id=b"a" * 16, name="x"
    )
    return ray_errors.ActorDiedError(context)


LOST_OBJECT = ("f" * 56, None, "")
NODE_TEXT = "The actor died because its node has died. Node Id: ab\n\tthe actor's node was terminated"


@pytest.mark.parametrize(
    "error",
    [
        died("Worker exit type: SYSTEM_ERROR Worker exit detail: connection error code 2. End of file."),
        ray_errors.ActorDiedError(),
        ray_errors.ActorUnavailableError("the socket is closed", b"a" * 16),
        ray_errors.RayActorError(),
        ray_errors.WorkerCrashedError(),
        ray_errors.OutOfMemoryError("Task was killed due to the node running low on memory."),
        ray_errors.ObjectLostError(*LOST_OBJECT),
        ray_errors.OwnerDiedError(*LOST_OBJECT),
        ray_errors.ObjectFetchTimedOutError(*LOST_OBJECT),
        ray_errors.GetTimeoutError("Get timed out: some object(s) not ready."),
        ray_errors.RaySystemError("Broken pipe"),
        ray_errors.RpcError("connection reset", rpc_code=14),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_process_is_lost_whoever_tells(error):
    told = [translated(error, "train generators"), translated(task_error(error), "train generators")]
    for found in told:
        assert type(found) is WorkerLostError
        assert found.where == "train generators"
        assert type(error).__name__ in found.what
        assert "\n" not in str(found) and len(str(found)) < 700


@pytest.mark.parametrize(
    "error",
    [
        ray_errors.NodeDiedError("the node is gone"),
        ray_errors.LocalRayletDiedError(),
        died(NODE_TEXT),
        ray_errors.TaskUnschedulableError("The node specified via NodeAffinity does not exist any more"),
        ray_errors.ActorUnschedulableError("The node specified via NodeAffinity does not exist any more"),
        ray_errors.TaskPlacementGroupRemoved(),
        ray_errors.ActorPlacementGroupRemoved(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lost_node_is_told_from_a_lost_process(error):
    assert type(translated(error, "score")) is NodeLostError
    assert type(translated(task_error(error), "score")) is NodeLostError


@pytest.mark.parametrize(
    "error",
    [
        DataError("holds a NaN", "rows.npy, row 3", "mend it"),
        ConfigError("is wrong", "seed"),
        DivergedError(1, 2, 3, "the loss"),
        WorkerLostError("no progress", "commit"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_raymix_error_arrives_as_itself(error):
    assert translated(task_error(error), "train") is error
    assert translated(task_error(task_error(error)), "train") is error


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (ValueError("no\nway"), "ValueError: no way"),
        (KeyError("k"), "KeyError: 'k'"),
        (TypeError("f() takes 1 argument"), "TypeError: f() takes 1 argument"),
        (RuntimeError("CUDA error: device-side assert"), "RuntimeError: CUDA error: device-side assert"),
        (AssertionError(), "AssertionError: "),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "x.npy"),
            "FileNotFoundError: [Errno 2] No such file: 'x.npy'",
        ),
        (TimeoutError("of the user's own"), "TimeoutError: of the user's own"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fault_of_the_code_is_named_and_is_no_loss(cause, text):
    for error in (task_error(cause), task_error(task_error(cause))):
        found = translated(error, "train")
        assert type(found) is RaymixError
        assert found.what == text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_resource(number):
    found = translated(task_error(OSError(number, os.strerror(number), "/runs/x")), "commit")
    assert type(found) is ResourceError
    assert "the disk is full" in str(found) and "/runs/x" in str(found) and "free some space" in str(found)


def test_full_memory_is_a_resource():
    class OutOfMemoryError(RuntimeError):
        """As torch's for a GPU."""

    for cause in (MemoryError("cannot allocate 3 GiB"), OutOfMemoryError("CUDA out of memory")):
        found = translated(task_error(cause), "train")
        assert type(found) is ResourceError
        assert "out of memory" in found.what and str(cause) in found.what and "batch_size" in found.todo


@pytest.mark.parametrize("kind", [ray_errors.ObjectStoreFullError, ray_errors.OutOfDiskError])
def test_a_full_object_store_is_a_resource(kind):
    assert type(translated(kind("full"), "score")) is ResourceError


def test_an_actor_that_cannot_start_would_not_start_again():
    text = "ray::A.__init__() (pid=1)\n  File actors.py, line 9, in __init__\nraymix.errors.ConfigError: seed: is wrong"
    found = translated(ray_errors.ActorDiedError(RayTaskError("f", text, None, proctitle="p", pid=1, ip="i")), "start")
    assert type(found) is RaymixError
    assert found.what == "an actor could not start: ConfigError: seed: is wrong"


def test_an_exception_that_cannot_travel_is_told_by_its_text():
    trace = "Traceback (most recent call last):\n  File x.py, line 1\nmy.module.Odd: 1 and 2\nmore of it"
    assert translated(ray_errors.UnserializableException(trace), "train").what == "Odd: 1 and 2"

    class OddError(Exception):
        def __reduce__(self):
            raise TypeError("cannot pickle it")

    found = translated(task_error(OddError("1 and 2")), "train")
    assert type(found) is RaymixError and found.what == "OddError: 1 and 2"


def test_an_object_lost_while_an_actor_started_is_a_loss():
    text = "ray::A.__init__() (pid=1)\n  File actors.py, line 9\nray.exceptions.OwnerDiedError: it is gone"
    error = ray_errors.ActorDiedError(RayTaskError("f", text, None, proctitle="p", pid=1, ip="i"))
    assert type(translated(error, "start")) is WorkerLostError


def test_a_message_is_one_line_without_colours_and_of_bounded_length():
    text = (
        "\x1b[36mThe actor died\x1b[39m\n\tactor_id: 12\n\tpid: 3\n\n detail. Some common causes include: (1) the moon"
    )
    assert one_line(text) == "The actor died pid: 3 detail."
    assert len(one_line("word " * 1000)) == 400
    assert last_line("") == "" and last_line("KeyError: 3") == "KeyError: 3"


def test_the_root_of_nested_failures():
    cause = ValueError("x")
    assert root_cause(task_error(task_error(task_error(cause)))) is cause
    assert root_cause(cause) is cause


# ---- on a cluster


def start_helper():
    """An actor; its class is inside, so that its process need not import what this module does."""

    class Helper:
        def pid(self):
            return os.getpid()

        def sleep(self, seconds):
            time.sleep(seconds)
            return seconds

        def fail(self):
            raise ValueError("no")

        def diverge(self):
            raise DivergedError(4, 2, 1, "the loss")

        def fetch(self, refs):
            return ray.get(refs)

        def die(self):
            os.kill(os.getpid(), signal.SIGKILL)

    return ray.remote(num_cpus=0)(Helper).remote()


@pytest.fixture(scope="module")
def helpers(ray_cluster):
    actors = [start_helper() for _ in range(2)]
    ray.get([actor.pid.remote() for actor in actors])
    yield actors
    for actor in actors:
        ray.kill(actor)


def test_values_come_in_the_order_of_the_refs(helpers):
    slow, fast = helpers
    refs = [slow.sleep.remote(0.3), fast.sleep.remote(0), slow.sleep.remote(0), fast.sleep.remote(0.1)]
    assert gather(refs, "a phase", 10) == [0.3, 0, 0, 0.1]
    assert gather(refs, "a phase", 10, fetch=False) == []
    assert gather([], "a phase", 10) == []


@pytest.mark.parametrize(
    ("method", "kind"), [pytest.param("fail", RaymixError, marks=pytest.mark.slow), ("diverge", DivergedError)]
)
def test_a_failure_is_noticed_while_others_work(helpers, method, kind):
    slow, failing = helpers
    busy, started = slow.sleep.remote(3), time.monotonic()
    with pytest.raises(kind) as caught:
        gather([busy, getattr(failing, method).remote()], "a phase", 10)
    assert time.monotonic() - started < 1.5
    assert type(caught.value) is kind
    ray.get(busy)


def test_a_death_is_noticed_while_others_work(helpers):
    doomed = start_helper()
    ray.get(doomed.pid.remote())
    busy, started = helpers[0].sleep.remote(3), time.monotonic()
    with pytest.raises(WorkerLostError, match="Helper"):
        gather([busy, doomed.die.remote()], "a phase", 10)
    assert time.monotonic() - started < 2.5
    ray.get(busy)


def test_a_death_is_a_loss_for_whoever_waits_inside_a_worker(helpers):
    doomed = start_helper()
    ray.get(doomed.pid.remote())
    with pytest.raises(WorkerLostError):
        gather([helpers[0].fetch.remote([doomed.die.remote()])], "a phase", 10)


def test_silence_ends_a_wait_and_says_on_what(helpers):
    busy, started = helpers[0].sleep.remote(4), time.monotonic()
    with pytest.raises(WorkerLostError, match=r"a phase: no progress for 1 s, 1 of 2 results are missing"):
        gather([busy, helpers[1].pid.remote()], "a phase", 1)
    assert time.monotonic() - started < 3.5
    ray.get(busy)


def test_progress_is_a_sign_of_life(helpers):
    steps = iter(range(100))
    assert gather([helpers[0].sleep.remote(3)], "a phase", 1.5, lambda: next(steps)) == [3]
