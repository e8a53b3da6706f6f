"""What a coordinator has to say, kept beside the run, so that it is there when the process is not."""

import logging
from contextlib import suppress

from raymix.errors import RaymixError
from raymix.runs.checkpoint import RunDirectory

FILE = "logs/coordinator.log"
MOST_LINES = 2000  # the file is written whole, because object stores cannot append
FORMAT = "%(asctime)s %(levelname)s %(message)s"


class Messages(logging.Handler):
    """Takes what raymix logs in this process, and writes it after what the file already holds.

    Before the run is taken over, and when another writer has it, nothing is written: lines wait for the next time.
    """

    def __init__(self, directory: RunDirectory) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter(FORMAT))
        self.directory, self.saved = directory, True
        self.lines: list[str] = []
        with suppress(RaymixError):  # the first coordinator of the run, or a file that cannot be read just now
            self.lines = directory.storage.read(FILE).decode(errors="replace").splitlines()
        logger = logging.getLogger("raymix")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines = [*self.lines, *self.format(record).splitlines()][-MOST_LINES:]
        self.saved = False
        self.save()

    def save(self) -> None:
        """Write what has not been written."""
        self.acquire()
        try:
            if not self.saved:
                self.directory.write(FILE, "".join(f"{line}\n" for line in self.lines).encode())
                self.saved = True
        except RaymixError:  # not the writer, yet or any more; or the disk is full, which the run tells itself
            pass
        finally:
            self.release()
