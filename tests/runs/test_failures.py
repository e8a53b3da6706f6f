"""What is done about which failure, as one table."""

import pytest

from raymix.config import Config, ScheduleConfig
from raymix.errors import (
    TRUNK,
    CheckpointError,
    ConfigError,
    DamagedError,
    DataError,
    DivergedError,
    MissingError,
    NodeLostError,
    NoRoomError,
    RaymixError,
    ResourceError,
    StorageFullError,
    WorkerLostError,
)
from raymix.runs.failures import MOST, TRIES, Action, action, same_failure

K = 3
REPLACE, RESTART, SLOW, DROP, GIVE_UP = Action
POLICIES = ("fail", "restart", "drop")


def died(where: str = "generators of 0") -> WorkerLostError:
    return WorkerLostError("died", where)


def node(where: str = "node a") -> NodeLostError:
    return NodeLostError("is gone", where)


def diverged(component: int = 1, round: int = 2, step: int = 7, quantity: str = "the loss") -> DivergedError:
    return DivergedError(component, round, step, quantity)


LOSSES = [
    # failure, those before it in the round, what is done
    (died(), [], REPLACE),
    (died(), [died("generators of 1")], REPLACE),  # another place is another failure
    (died(), [died("discriminators of 0")], REPLACE),
    (died(), [node("generators of 0")], REPLACE),  # so is another kind
    (died(), [diverged()], REPLACE),
    (died(), [died()], RESTART),
    (died(), [died(), died("generators of 1")], RESTART),
    (died(), [died(), died()], GIVE_UP),
    (died(), [died(), node(), diverged(), died()], GIVE_UP),
    (node(), [], REPLACE),
    (node(), [node("node b"), node("node c"), node("node d")], REPLACE),
    (node(), [died("node a"), died("node a")], REPLACE),
    (NoRoomError("is full", "pack-0"), [], RESTART),
    (NoRoomError("is full", "pack-0"), [node(), died()], RESTART),
    (NoRoomError("is full", "pack-0"), [NoRoomError("is full", "pack-0")] * 2, GIVE_UP),
    (node(), [node()], RESTART),
    (node(), [node(), node()], GIVE_UP),
    (died(), [died(str(k)) for k in range(MOST - 2)], REPLACE),
    (died(), [died(str(k)) for k in range(MOST - 1)], GIVE_UP),  # something kills them all
]
DIVERGENCES = [
    # failure, those before it in the round, components that compete, what is done under fail, restart and drop
    (diverged(), [], K, (GIVE_UP, SLOW, DROP)),
    (diverged(), [diverged(0), diverged(2)], K, (GIVE_UP, SLOW, DROP)),
    (diverged(), [died(), died(), died()], K, (GIVE_UP, SLOW, DROP)),
    (diverged(), [diverged()], K, (GIVE_UP, SLOW, DROP)),
    (
        diverged(),
        [diverged(step=9), diverged(quantity="a sample")],
        K,
        (GIVE_UP, GIVE_UP, DROP),
    ),  # one component, one cause
    (diverged(TRUNK), [], K, (GIVE_UP, SLOW, GIVE_UP)),  # whose fault it is cannot be told
    (diverged(), [died(str(k)) for k in range(MOST - 1)], K, (GIVE_UP, GIVE_UP, DROP)),
    (diverged(), [diverged(0)] * 3, K, (GIVE_UP, SLOW, DROP)),
    (diverged(), [], 2, (GIVE_UP, SLOW, DROP)),
    (diverged(), [], 1, (GIVE_UP, SLOW, GIVE_UP)),  # somebody has to stay
]
OTHERS = [
    RaymixError("is odd"),
    ConfigError("is odd"),
    DataError("holds nan"),
    ResourceError("is too small"),
    CheckpointError("another writer took over"),
    DamagedError("is damaged"),
    MissingError("is not there"),
    StorageFullError("run", 2, 1),
]


def config(policy: str = "fail") -> Config:
    return Config(num_components=K, schedule=ScheduleConfig(on_divergence=policy))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("failure", "earlier", "expected"), LOSSES)
def test_what_is_lost_is_replaced_then_all_is_restarted_then_given_up(failure, earlier, expected, policy):
    assert action(failure, earlier, config(policy), K) is expected
    assert action(failure, earlier, config(policy), 1) is expected  # who competes does not matter


@pytest.mark.parametrize(("failure", "earlier", "competing", "expected"), DIVERGENCES)
def test_divergence_is_met_by_the_policy(failure, earlier, competing, expected):
    assert tuple(action(failure, earlier, config(policy), competing) for policy in POLICIES) == expected


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("failure", OTHERS, ids=lambda failure: type(failure).__name__)
def test_other_errors_are_given_up(failure, policy):
    assert action(failure, [], config(policy), K) is GIVE_UP


def all_actions(failure: RaymixError, policy: str) -> list[Action]:
    """What is done when the same failure comes back until it is given up."""
    earlier: list[RaymixError] = []
    done = []
    while not done or done[-1] is not GIVE_UP:
        left = K - done.count(DROP)
        done.append(action(failure, earlier, config(policy), left))
        earlier.append(failure)
    return done


@pytest.mark.parametrize("policy", POLICIES)
def test_a_deterministic_crasher_is_given_up_after_3_tries(policy):
    assert all_actions(died(), policy) == [REPLACE, RESTART, GIVE_UP]
    assert all_actions(node(), policy) == [REPLACE, RESTART, GIVE_UP]
    assert TRIES == 3


def test_a_component_that_diverges_3_times_in_a_round_is_given_up():
    assert all_actions(diverged(), "restart") == [SLOW, SLOW, GIVE_UP]


def test_drop_never_leaves_nobody():
    assert all_actions(diverged(), "drop") == [DROP, DROP, GIVE_UP]


def test_failures_are_the_same_by_kind_and_place():
    assert same_failure(died(), WorkerLostError("fell silent", "generators of 0"))
    assert not same_failure(died("a"), died("b"))
    assert not same_failure(died("a"), node("a")) and not same_failure(node("a"), died("a"))
    assert same_failure(diverged(1), diverged(1, 3, 9, "a sample"))
    assert not same_failure(diverged(1), diverged(2))
    assert not same_failure(diverged(), died()) and not same_failure(died(), diverged())
