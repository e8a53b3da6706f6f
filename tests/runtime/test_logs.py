"""Log files of actors: what they hold, and that an actor works without."""

import inspect
import logging
import warnings

import pytest
import ray

from raymix.errors import DataError
from raymix.runtime.actor_names import Name
from raymix.runtime.actors import DiscriminatorActor, GeneratorActor
from raymix.runtime.logs import keep_log, log_file, session_folder, telling, told


def test_the_file_of_an_actor_lies_in_the_folder_of_its_run():
    place = log_file("/tmp/ray/session_x", Name("1f0c", "generator-3"))
    assert str(place) == "/tmp/ray/session_x/logs/raymix/1f0c/generator-3.log"


def test_a_method_is_told_of_with_its_round(caplog):
    @told
    def train(steps, round):
        return steps + round

    with caplog.at_level(logging.INFO, "raymix"):
        assert train(3, round=4) == 7
    assert caplog.messages[0].startswith("train of round 4 took 0.")


def test_results_that_come_one_by_one_are_told_of_when_all_are_there(caplog):
    @told
    def score(round):
        yield from range(round)

    with caplog.at_level(logging.INFO, "raymix"):
        results = score(2)
        assert not caplog.messages
        assert list(results) == [0, 1]
    assert caplog.messages[0].startswith("score of round 2 took")


@pytest.mark.parametrize(
    ("error", "traced"), [(DataError("holds a NaN", "rows.npy, row 3"), False), (KeyError(5), True)]
)
def test_what_a_method_raises_is_told_and_raised(caplog, error, traced):
    @told
    def train():
        raise error

    with pytest.raises(type(error)):
        train()
    (record,) = caplog.records
    assert record.levelname == "ERROR" and record.getMessage().startswith("train")
    assert bool(record.exc_info) is traced


def actor_class():
    @telling
    class Worker:  # in a function, so that it travels by value
        def __init__(self, name):
            keep_log(name)

        def warn(self):
            logging.getLogger("raymix.models").warning("a warning")
            warnings.warn("of Python", UserWarning, stacklevel=1)

        def fail(self):
            raise KeyError("not there")

    return ray.remote(num_cpus=0)(Worker)


def test_an_actor_writes_warnings_and_tracebacks_into_its_own_file(ray_cluster):
    name = Name("logs", "generator-7")
    actor = actor_class().remote(name)
    ray.get(actor.warn.remote())
    with pytest.raises(KeyError):
        ray.get(actor.fail.remote())
    ray.kill(actor)
    text = log_file(session_folder(), name).read_text()
    assert "raymix-logs-generator-7 starts" in text
    assert "WARNING" in text and "raymix.models: a warning" in text and "UserWarning: of Python" in text
    assert "fail failed\nTraceback (most recent call last)" in text and "KeyError: 'not there'" in text


def test_an_actor_whose_file_cannot_be_written_works_without(ray_cluster):
    folder = log_file(session_folder(), Name("taken", "x")).parent
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file where the folder should be")
    actor = actor_class().remote(Name("taken", "generator-0"))
    ray.get(actor.warn.remote())
    ray.kill(actor)
    folder.unlink()


def test_scores_are_told_of_once_the_last_is_made():
    assert all(inspect.isgeneratorfunction(actor.score) for actor in (GeneratorActor, DiscriminatorActor))
