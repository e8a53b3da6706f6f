import pytest

from raymix.report.classes import class_table


def test_a_table_has_a_cell_per_component_and_class(make_record):
    table = class_table(make_record(components=(0, 4), contingency_KC=((3, 0, 1), (0, 0, 0))), ["a", "b", "c"])
    assert table.classes == ("a", "b", "c")
    assert [(k, [cell.text for cell in cells]) for k, cells in table.lines] == [(0, ["3", "", "1"]), (4, ["", "", ""])]
    assert [cell.share for cell in table.lines[0][1]] == pytest.approx([0.75, 0, 0.25])


def test_of_many_classes_each_component_names_its_most_frequent(make_record):
    counts = [0] * 1000
    for place, rows in ((7, 5), (300, 2000), (2, 5), (999, 1), (500, 3), (600, 4)):
        counts[place] = rows
    table = class_table(make_record(components=(3,), contingency_KC=(tuple(counts),)), [f"c{i}" for i in range(1000)])
    assert table.classes == ()
    assert [cell.text for cell in table.lines[0][1]] == ["c300: 2,000", "c2: 5", "c7: 5", "c600: 4", "c500: 3"]


def test_without_labels_there_is_no_table(make_record):
    assert class_table(make_record(), []) is None
