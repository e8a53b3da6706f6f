"""What a person sees while a run goes on: a line per round and, on a terminal, live bars below them. On stderr."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from raymix.commands.lines import round_line
from raymix.runs.rounds import RoundRecord
from raymix.runs.run import Status


@contextmanager
def watching(rounds: int, num_rows: int, done: int = -1) -> Iterator[Callable[[Status], None]]:
    """A `watch` for `raymix.session` that shows the rounds after `done`."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Rounds(console, rounds, num_rows, done).show
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield LiveRounds(console, rounds, num_rows, done, bars).show


class Rounds:
    """Prints each round once, when it is there."""

    def __init__(self, console: Console, rounds: int, num_rows: int, done: int) -> None:
        self.console, self.rounds, self.num_rows, self.done = console, rounds, num_rows, done

    def show(self, status: Status) -> None:
        for line in status.lines:
            if line.round > self.done:
                self.done = line.round
                self.show_round(line)

    def show_round(self, line: RoundRecord) -> None:
        self.say(round_line(line, self.rounds))
        for warning in line.warnings:
            self.say(f"raymix: warning: round {line.round}: {warning}")

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveRounds(Rounds):
    """Also moves two bars: rounds done and time left, the present phase."""

    def __init__(self, console: Console, rounds: int, num_rows: int, done: int, bars: Progress) -> None:
        super().__init__(console, rounds, num_rows, done)
        self.bars = bars
        self.rounds_bar = bars.add_task(self.title(), total=rounds + 1, completed=done + 1, note="")
        self.phase_bar = bars.add_task("start", total=None, note="")
        self.round_s: float | None = None
        self.round_began, self.moved = time.monotonic(), ""

    def title(self) -> str:
        return f"round {min(self.done + 1, self.rounds)}/{self.rounds}"

    def show(self, status: Status) -> None:
        super().show(status)
        left = time_left(self.round_s, self.rounds - self.done, time.monotonic() - self.round_began)
        note = ", ".join(part for part in (self.moved, left) if part)
        self.bars.update(self.rounds_bar, description=self.title(), completed=self.done + 1, note=note)
        share, phase = status.share_done, status.doing or "working"
        if share is None:  # its steps are unknown: the bar pulses
            self.bars.tasks[self.phase_bar].total = None
            self.bars.update(self.phase_bar, description=phase, note="")
        else:
            self.bars.update(self.phase_bar, description=phase, completed=share, total=1.0, note=f"{share:.0%}")

    def show_round(self, line: RoundRecord) -> None:
        super().show_round(line)
        self.round_began, self.moved = time.monotonic(), f"{line.rows_moved / self.num_rows:.1%} of rows moved"
        if line.round > 0:  # round 0 pre-trains: no guide to the others
            self.round_s = line.total_s


def time_left(round_s: float | None, rounds_left: int, elapsed_s: float) -> str:
    """From the length of the last round; nothing where none has ended."""
    if round_s is None:
        return ""
    left = max(0, round(round_s * rounds_left - elapsed_s))
    return f"{left // 60}:{left % 60:02d} left"
