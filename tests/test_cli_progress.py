"""What is shown of a run while it goes on."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

from raymix.commands.lines import component_table, measure_lines, round_line
from raymix.commands.progress import LiveRounds, Rounds, time_left
from raymix.errors import DivergedError, WorkerLostError
from raymix.runs.failures import Action
from raymix.runs.rounds import RoundRecord, TermValues
from raymix.runs.run import Status


@pytest.fixture
def line(make_record: Callable[..., RoundRecord]) -> Callable[..., RoundRecord]:
    """Makes the record of a round of two components, of which the second is starved."""
    fields = {
        "components": (0, 2),
        "won_K": (1800, 200),
        "loads_K": (1800, 500),
        "rows_moved": 1234,
        "seconds": {"train generators": 3.0, "assign": 1.0},
    }
    return lambda round, **more: make_record(**{"round": round, **fields, **more})


BOUND = {"bound": TermValues("nats per row", (1.5, None)), "kl": TermValues("", (0.5, 0.25))}


def test_round_line_names_rows_moved_phases_and_starved_components(line: Callable[..., RoundRecord]) -> None:
    expected = "round 3/9: 1,234 rows moved, nmi 1.000, 4.0 s (train generators 3.0, assign 1.0), starved: 2"
    assert round_line(line(3, contingency_KC=((1800, 0), (0, 200))), 9) == expected


def test_round_line_tells_between_what_the_first_term_lies_with_its_unit(line: Callable[..., RoundRecord]) -> None:
    told = round_line(line(3, terms={"bound": TermValues("nats per row", (2.5, 1.5)), "kl": BOUND["kl"]}), 9)
    assert told.startswith("round 3/9: 1,234 rows moved, bound 1.500 to 2.500 nats per row, 4.0 s (")
    assert ", kl 0.250 to 0.500, 4.0 s (" in round_line(line(3, terms={"kl": BOUND["kl"]}), 9)


def test_round_line_names_reseeded_components_and_what_was_mended(line: Callable[..., RoundRecord]) -> None:
    failures = (
        (str(DivergedError(1, 3, 17, "the loss")), Action.SLOW.value),
        (str(WorkerLostError("died", "generators of 0", "look at its log")), Action.REPLACE.value),
    )
    assert round_line(line(3, loads_K=(1800, 200), reseeded={2: 0, 5: 1}, mendings=failures), 9) == (
        "round 3/9: 1,234 rows moved, 4.0 s (train generators 3.0, assign 1.0), reseeded: 2 from 0, 5 from 1, "
        "mended: component 1: the loss is not finite in round 3 at step 17 "
        "(repeat the round with half the component's learning rate), "
        "mended: generators of 0: died (replace what was lost and repeat the round)"
    )


def test_component_table_has_the_first_term_and_marks_what_is_not_there(line: Callable[..., RoundRecord]) -> None:
    assert component_table(line(1, terms=BOUND)) == [
        ("component", "weight", "load", "bound, nats per row", "discriminator loss"),
        ("0", "90.0%", "1,800", "1.500", "-"),
        ("2", "10.0%", "500", "-", "-"),
    ]
    assert component_table(line(1, terms={"kl": BOUND["kl"]}))[0][3:] == ("kl", "discriminator loss")
    assert component_table(line(1, discriminator_loss_K=(0.5, 0.6)))[2] == ("2", "10.0%", "500", "0.600")


def test_measure_lines_leave_out_what_is_unknown(line: Callable[..., RoundRecord]) -> None:
    assert measure_lines(line(1)) == []
    measures = {"kde_log_likelihood": -1.25, "modes_captured": None, "mixing_weights": [1.0], "seed": 0}
    assert measure_lines(line(1, measures=measures)) == ["kde_log_likelihood -1.25"]


def test_rounds_shows_each_new_round_once_with_its_warnings(line: Callable[..., RoundRecord]) -> None:
    text = io.StringIO()
    rounds = Rounds(Console(file=text), rounds=3, num_rows=2000, done=0)
    rounds.show(Status([line(0), line(1, warnings=("[1] is saturated",))], 3, ""))
    rounds.show(Status([line(1), line(2)], 3, ""))
    shown = text.getvalue().splitlines()
    assert [words.split(":")[0] for words in shown] == ["round 1/3", "raymix", "round 2/3"]
    assert shown[1] == "raymix: warning: round 1: [1] is saturated"


def test_live_rounds_move_both_bars(line: Callable[..., RoundRecord]) -> None:
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
