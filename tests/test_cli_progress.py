"""What is shown of a run while it goes on."""

import io
from typing import Any

from rich.console import Console
from rich.progress import Progress, TextColumn

from raymix.commands.lines import component_rows, measure_lines, round_line
from raymix.commands.progress import LiveRounds, Rounds, time_left
from raymix.errors import DivergedError, WorkerLostError
from raymix.failures import Action
from raymix.run import Status


def line(round: int, **more: Any) -> dict[str, Any]:
    """A record line of two components, of which the second is starved."""
    return {
        "round": round,
        "components": [0, 2],
        "weights": [0.9, 0.1],
        "loads": [1800, 500],
        "rows_moved": 1234,
        "starved": [2],
        "reseeded": {},
        "mendings": [],
        "generator_loss": [1.5, None],
        "discriminator_loss": [],
        "seconds": {"train generators": 3.0, "assign": 1.0},
        **more,
    }


def test_round_line_names_rows_moved_phases_and_starved_components() -> None:
    expected = "round 3/9: 1,234 rows moved, nmi 0.500, 4.0 s (train generators 3.0, assign 1.0), starved: 2"
    assert round_line(line(3, clustering={"nmi": 0.5}), 9) == expected


def test_round_line_names_reseeded_components_and_what_was_mended() -> None:
    failures = [
        [str(DivergedError(1, 3, 17, "the loss")), Action.SLOW.value],
        [str(WorkerLostError("died", "generators of 0", "look at its log")), Action.REPLACE.value],
    ]
    assert round_line(line(3, starved=[], reseeded={"2": 0, "5": 1}, mendings=failures), 9) == (
        "round 3/9: 1,234 rows moved, 4.0 s (train generators 3.0, assign 1.0), reseeded: 2 from 0, 5 from 1, "
        "mended: component 1: the loss is not finite in round 3 at step 17 "
        "(repeat the round with half the component's learning rate), "
        "mended: generators of 0: died (replace what was lost and repeat the round)"
    )


def test_component_rows_mark_what_is_not_there() -> None:
    assert component_rows(line(1)) == [("0", "90.0%", "1,800", "1.500", "-"), ("2", "10.0%", "500", "-", "-")]


def test_measure_lines_leave_out_what_is_unknown() -> None:
    assert measure_lines(line(1)) == []
    measures = {"kde_log_likelihood": -1.25, "modes_captured": None, "mixing_weights": [1.0], "seed": 0}
    assert measure_lines(line(1, measures=measures)) == ["kde_log_likelihood -1.25"]


def test_rounds_shows_each_new_round_once_with_its_warnings() -> None:
    text = io.StringIO()
    rounds = Rounds(Console(file=text), rounds=3, num_rows=2000, done=0)
    rounds.show(Status([line(0), line(1, warnings=["[1] is saturated"])], 3, ""))
    rounds.show(Status([line(1), line(2)], 3, ""))
    shown = text.getvalue().splitlines()
    assert [words.split(":")[0] for words in shown] == ["round 1/3", "raymix", "round 2/3"]
    assert shown[1] == "raymix: warning: round 1: [1] is saturated"


def test_live_rounds_move_both_bars() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    with Progress(TextColumn("{task.description} {task.fields[note]}"), console=console) as bars:
        live = LiveRounds(console, rounds=3, num_rows=2468, done=-1, bars=bars)
        live.show(Status([line(0), line(1)], 3, "train generators", share_done=0.25))
        rounds, phase = bars.tasks
        assert (rounds.description, rounds.completed, rounds.total) == ("round 2/3", 2, 4)
        assert rounds.fields["note"] == "50.0% of rows moved, 0:08 left"
        assert (phase.description, phase.completed, phase.total) == ("train generators", 0.25, 1.0)
        live.show(Status([], 3, "assign"))
        assert (phase.description, phase.total) == ("assign", None)


def test_time_left_is_unknown_before_the_first_round_and_never_negative() -> None:
    assert time_left(None, 3, 1.0) == ""
    assert time_left(40.0, 2, 5.0) == "1:15 left"
    assert time_left(1.0, 1, 5.0) == "0:00 left"
