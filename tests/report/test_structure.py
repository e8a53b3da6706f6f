"""How K changed, as a page tells it."""

from dataclasses import replace

import pytest

from raymix.report.page import render
from raymix.report.structure import events, gone, number_chart, told
from raymix.report.troubles import troubles
from raymix.report.words import title
from raymix.state import Change

CHANGES = {
    2: (
        Change("retire", (3,), (), {"rows": 7}, "won 7 rows"),
        Change("merge", (0, 2), (2,), {}, "one mode <b>"),
        Change("split", (1,), (1, 4, 5), {}, "three modes"),
    ),
    3: (Change("repartition", (4, 5), (4, 5), {}, "two modes"),),
}


def changing(make_lines, make_settings, row_shape=(2,)):
    """Lines of a run that has components 0 to 3 at first, and 1, 2, 4, 5 from round 2 on."""
    early, late = make_lines(4, rounds=4), make_lines(6, rounds=4, dropped=(0, 3))
    last = replace(late[-1], components=(1, 2, 4, 5))
    lines = early[:2] + [replace(last, round=t, flow_F3=()) for t in (2, 3, 4)]
    lines[2] = replace(lines[2], flow_F3=((0, 2, 60), (3, 1, 40), (1, 4, 30)))
    lines = [replace(line, changes=CHANGES.get(line.round, ())) for line in lines]
    config, spec = make_settings(row_shape, 4, rounds=4)
    return lines, config.model_copy(update={"schedule": config.schedule.model_copy(update={"adapt": True})}), spec


def test_changes_are_told_in_order(make_lines, make_settings):
    lines, _, _ = changing(make_lines, make_settings)
    assert [event[:2] for event in events(lines)] == [
        (2, "3 retired"),
        (2, "0 and 2 merged into 2"),
        (2, "1 split into 1, 4, 5"),
        (3, "4 and 5 shared their rows anew"),
    ]
    assert told(CHANGES[2][0]) == "3 retired" and gone(lines) == {0, 3}
    assert "<svg" in number_chart(lines)


def test_who_retired_or_merged_was_not_dropped(make_lines, make_settings, make_portrait):
    lines, config, _ = changing(make_lines, make_settings)
    portrait = make_portrait((2,), [1, 2, 4, 5])
    assert "Dropped" not in [trouble.what for trouble in troubles(lines, config, portrait)]
    retired, _, split = lines[2].changes
    lines[2] = replace(lines[2], changes=(retired, split))  # now nothing says where 0 went
    (dropped,) = [trouble for trouble in troubles(lines, config, portrait) if trouble.what == "Dropped"]
    assert dropped.sentence.startswith("Component 0 no longer competes")


@pytest.mark.slow
def test_a_page_of_a_run_whose_components_changed(make_lines, make_settings, make_portrait):
    lines, config, spec = changing(make_lines, make_settings)
    portrait = make_portrait((2,), [1, 2, 4, 5])
    page = render(lines, config, spec, {}, portrait)
    assert "How K changed" in page and "1 split into 1, 4, 5" in page and "one mode &lt;b&gt;" in page
    assert title(lines, config, spec) == "4 components on rows" and "4 changes so far" in page
    lines = [replace(line, changes=()) for line in lines]
    assert "No component came or went." in render(lines, config, spec, {}, portrait)


def test_a_page_of_a_run_whose_components_stay_has_no_such_section(make_lines, make_settings, make_portrait):
    config, spec = make_settings((2,), 3)
    assert "How K changed" not in render(make_lines(3), config, spec, {}, make_portrait((2,), [0, 1, 2]))
