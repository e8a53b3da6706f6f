"""What the actors of a run are called: in Ray's dashboard and state, in the prefix of their lines, and in log files.

An actor of the run `1f0c` is `raymix-1f0c-generator-3`. A run's id is made from its directory, so that two runs, or two
trials of a search, never ask for the same name.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from raymix.runtime.identity import name_of
from raymix.runtime.placement import Group

NAME_S = 5.0  # within which whoever had a name before has lost it, as a rule at once
RETRY_S = 0.02


class Name(NamedTuple):
    """An actor of a run."""

    run_id: str
    label: str
    """What it is in the run, such as `generator-3`."""

    def __str__(self) -> str:
        return name_of(self.run_id, self.label)


def label(role: str, group: Group, own_component: bool) -> str:
    """An actor's label, by its `role` (generator or discriminator) in a group and its component where it has one alone.

    `own_component`: components stay in the groups that were made for them, which is not so where K may change.
    """
    if own_component and len(group.generators) == 1 and group.name == f"pack-{group.generators[0]}":
        return f"{role}-{group.generators[0]}"
    return f"{role}s-of-{group.name}"


def named(create: Callable[[str | None], Any], name: Name) -> Any:
    """The actor that `create` starts under a name.

    A predecessor that was ended keeps the name until Ray has seen its end, so it is asked for again. Names are for
    people: an actor that cannot have its own goes without.
    """
    deadline = time.monotonic() + NAME_S
    while True:
        try:
            return create(str(name))
        except ValueError:  # taken
            if time.monotonic() > deadline:
                return create(None)
            time.sleep(RETRY_S)
