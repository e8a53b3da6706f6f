"""What to do about a failure: a pure function of it, of those before it in the same round, and of the settings."""

from collections.abc import Sequence
from enum import Enum

from raymix.config import Config
from raymix.errors import TRUNK, DivergedError, NoRoomError, RaymixError, WorkerLostError

TRIES = 3  # of a round that loses the same worker in the same phase, or in which the same component diverges
MOST = 12  # failures in one round, whatever they have in common


class Action(Enum):
    REPLACE = "replace what was lost and repeat the round"
    RESTART = "start all workers anew and repeat the round"
    SLOW = "repeat the round with half the component's learning rate"
    DROP = "repeat the round without the component"
    GIVE_UP = "end the run; its last commit stays"


def action(failure: RaymixError, earlier: Sequence[RaymixError], config: Config, num_competing: int) -> Action:
    """`earlier` are the failures since the last commit, `failure` not among them."""
    repeats = sum(same_failure(failure, other) for other in earlier)
    may_repeat = repeats + 1 < TRIES and len(earlier) + 1 < MOST
    if isinstance(failure, DivergedError):
        policy = config.schedule.on_divergence
        if policy == "drop" and num_competing > 1 and failure.component != TRUNK:
            return Action.DROP
        return Action.SLOW if policy == "restart" and may_repeat else Action.GIVE_UP
    if not isinstance(failure, WorkerLostError) or not may_repeat:
        return Action.GIVE_UP
    return Action.RESTART if repeats or isinstance(failure, NoRoomError) else Action.REPLACE


def same_failure(one: RaymixError, other: RaymixError) -> bool:
    """Whether two failures have one cause, as far as can be told: kind and place."""
    if isinstance(one, DivergedError) and isinstance(other, DivergedError):
        return one.component == other.component
    return type(one) is type(other) and one.where == other.where
