"""Errors say what, where and what to do, on both sides of a process boundary."""

import pickle

import pytest

from raymix import errors
from raymix.errors import DivergedError, RaymixError, StorageFullError

PLAIN = [
    errors.RaymixError,
    errors.ConfigError,
    errors.DataError,
    errors.ResourceError,
    errors.CheckpointError,
    errors.DamagedError,
    errors.MissingError,
    errors.WorkerLostError,
    errors.NodeLostError,
    errors.NoRoomError,
]


def test_every_error_is_tested_here():
    every = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, RaymixError)]
    assert set(every) == {*PLAIN, DivergedError, StorageFullError}


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("fields", [("is wrong",), ("is wrong", "a.npy, row 3"), ("is wrong", "a.npy", "mend it")])
def test_errors_survive_pickling(kind, fields):
    error = kind(*fields)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind
    assert str(back) == str(error)
    assert (back.what, back.where, back.todo) == (error.what, error.where, error.todo) == (*fields, "", "")[:3]
    assert back.args == error.args == (error.what, error.where, error.todo)  # raw, for whatever pickles arguments only


def test_divergence_survives_pickling():
    error = DivergedError(3, 2, 117, "the loss")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is DivergedError and str(back) == str(error)
    assert (back.component, back.round, back.step, back.quantity) == (3, 2, 117, "the loss")
    assert str(error).startswith("component 3: the loss is not finite in round 2 at step 117; ")


def test_a_full_disk_survives_pickling():
    error = StorageFullError("/runs/a/record.jsonl", 12345, 678)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is StorageFullError and isinstance(back, errors.CheckpointError) and str(back) == str(error)
    assert back.args == (back.path, back.needed_bytes, back.free_bytes) == ("/runs/a/record.jsonl", 12345, 678)
    assert str(error).startswith(
        "/runs/a/record.jsonl: the disk or quota is full (12,345 bytes are needed, 678 are free"
    )


def test_divergence_outside_of_training_names_no_round_or_step():
    assert str(DivergedError(3, -1, -1, "a sample")).startswith("component 3: a sample is not finite; ")
    assert str(DivergedError(3, 0, -1, "a log ratio")).startswith("component 3: a log ratio is not finite in round 0; ")


def test_messages_name_place_and_remedy_where_they_are_known():
    assert str(RaymixError("is wrong")) == "is wrong"
    assert str(RaymixError("is wrong", "a.npy")) == "a.npy: is wrong"
    assert str(RaymixError("is wrong", "", "mend it")) == "is wrong; mend it"
    assert str(RaymixError("is wrong", "a.npy", "mend it")) == "a.npy: is wrong; mend it"


def test_what_users_type_is_a_value_error():
    assert issubclass(errors.ConfigError, ValueError) and issubclass(errors.DataError, ValueError)
    assert not issubclass(errors.ResourceError, ValueError)
