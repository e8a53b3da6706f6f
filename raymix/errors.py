"""What can go wrong, as one tree.

Each error keeps its raw fields as arguments and formats itself in `__str__`, so that it crosses a process
boundary by pickling and arrives as what it was.
"""


class RaymixError(Exception):
    """Any failure that raymix explains: what is wrong, where, and what to do."""

    def __init__(self, what: str, where: str = "", todo: str = "") -> None:
        super().__init__(what, where, todo)
        self.what, self.where, self.todo = what, where, todo

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"; {self.todo}" if self.todo else ""
        return f"{place}{self.what}{advice}"


class ConfigError(RaymixError, ValueError):
    """A setting is unknown, out of range, or contradicts another (`where` is the field)."""


class DataError(RaymixError, ValueError):
    """Data cannot be read or is unfit for training (`where` is the file, with a row where one is known)."""


class ResourceError(RaymixError):
    """The cluster cannot hold what was asked."""


class CheckpointError(RaymixError):
    """A run directory or a generation in it is missing, damaged, or held by another writer."""


class DamagedError(CheckpointError):
    """A file of a run directory is not what was written."""


class MissingError(DamagedError):
    """A file of a run directory is not there."""


class StorageFullError(CheckpointError):
    """A file does not fit on its disk, or into the user's share of it; nothing of it was kept."""

    def __init__(self, path: str, needed_bytes: int, free_bytes: int) -> None:
        Exception.__init__(self, path, needed_bytes, free_bytes)
        self.path, self.needed_bytes, self.free_bytes = path, needed_bytes, free_bytes

    def __str__(self) -> str:
        return (
            f"{self.path}: the disk or quota is full ({self.needed_bytes:,} bytes are needed, {self.free_bytes:,} are "
            "free on the disk); free some space, then go on with `raymix resume`"
        )


class WorkerLostError(RaymixError):
    """A process of the run died or fell silent."""


class NodeLostError(WorkerLostError):
    """A node of the cluster died, or a placement group lost a part."""


class NoRoomError(NodeLostError):
    """What a lost node held has no room on the others as it was."""


TRUNK = -1
"""Stands for a component where all of a shared trunk's heads are concerned."""


class DivergedError(RaymixError):
    """A value of one component stopped being finite; round and step are -1 where there is none."""

    def __init__(self, component: int, round: int, step: int, quantity: str) -> None:
        Exception.__init__(self, component, round, step, quantity)
        self.component, self.round, self.step, self.quantity = component, round, step, quantity

    def __str__(self) -> str:
        where = f" in round {self.round}" if self.round >= 0 else ""
        where += f" at step {self.step}" if self.step >= 0 else ""
        who = "the shared trunk" if self.component == TRUNK else f"component {self.component}"
        return f"{who}: {self.quantity} is not finite{where}; lower model.learning_rate or check the scale of the data"
