from dataclasses import replace

import pytest

from raymix.report.words import duration, measured, measures, percent, quantity, standing, summary, title


def test_a_summary_says_what_was_done_and_how_it_ended(make_lines, make_settings):
    config, spec = make_settings((1, 8, 8), 3, rounds=6, classes="abc")
    lines = make_lines(3, classes=3)
    table = ((500, 100, 0), (0, 200, 0), (0, 0, 200))
    lines[-1] = replace(lines[-1], rows_moved=31, won_K=(600, 200, 200), contingency_KC=table)
    assert title(lines, config, spec) == "3 components on rows"
    assert summary(lines, config, spec) == [
        "3 components of the family vae were trained by competition on 1,000 rows of 1 × 8 × 8 pixels (rows), with "
        "seed 0, in 18 seconds.",
        "All rounds are done (6 of 6).",
        "3 components share the 1,000 rows; the effective number is 2.6.",
        "Against the 3 classes, which training never saw: NMI 0.77, purity 0.90.",
        "Rows still moving in the last round: 3.1%.",
    ]


def test_how_it_began_and_settled_is_told(make_lines, make_settings):
    config, spec = make_settings((2,), 3, rounds=6)
    schedule = config.schedule.model_copy(update={"begin": "centroids", "settle": 2})
    lines = make_lines(3)
    sentences = summary(lines, config.model_copy(update={"schedule": schedule}), spec)
    assert "They began with the cells of a k-means of the rows." in sentences
    assert sentences[-1] == "Rows still moving in the last round: 3.5%, after rounds in which none did."
    assert not any("k-means" in sentence for sentence in summary(lines, config, spec))


def test_one_component_shares_with_nobody(make_lines, make_settings):
    config, spec = make_settings((2,), 1, mode="single")
    sentences = summary(make_lines(1, judged=False), config, spec)
    assert sentences[0].startswith("1 component of the family vae was trained alone on all rows")
    assert sentences[-1] == "One component has all 1,000 rows."


def test_a_run_of_round_zero_alone_is_told(make_lines, make_settings):
    config, spec = make_settings((2,), 3, rounds=4)
    lines = make_lines(3, rounds=0)
    assert standing(lines, config).startswith("Round 0 of 4: the run is still going on, or was stopped")
    assert not any("still moving" in sentence for sentence in summary(lines, config, spec))


def test_measures_carry_definition_sample_count_and_seed(make_lines, make_settings):
    lines = make_lines(3, classes=4)
    evaluated = {"kde_log_likelihood": -1.5, "modes_captured": None, "nmi": 0.1, "real": {"kde_log_likelihood": -1.25}}
    lines[4] = replace(lines[4], measures=evaluated | {"num_samples": 10_000, "seed": 7})
    found = {measure.name: measure for measure in measures(lines)}
    assert list(found) == ["kde log likelihood", "nmi", "ari", "purity", "effective components"]
    likelihood = found["kde log likelihood"]
    assert likelihood.value == "-1.5" and "nats per row" in likelihood.definition
    basis = "10,000 samples, seed 7, round 4; training rows in the samples' place reach -1.25"
    assert likelihood.basis == basis
    assert found["nmi"].value == f"{lines[-1].clustering['nmi']:.3f}" and found["nmi"].basis == "1,000 training rows"


def test_measures_asked_for_later_take_the_place_of_the_record_s(make_lines):
    lines = make_lines(3)
    lines[4] = replace(lines[4], measures={"fid": 9.0, "num_samples": 10, "seed": 7, "real": {}})
    (found, _) = measures(lines, {"fid": 8.0, "num_samples": 20, "seed": 1, "real": {}})
    assert (found.name, found.value) == ("fid", "8")
    assert found.basis == f"20 samples, seed 1, round {lines[-1].round}"


@pytest.mark.parametrize(("share", "text"), [(0, "0%"), (0.0312, "3.1%"), (0.0996, "10%"), (1, "100%")])
def test_percent(share, text):
    assert percent(share) == text


def test_quantities_and_durations_are_short():
    assert [quantity(x) for x in (0.01234, 9.876, 99.94, 1234.5)] == ["0.0123", "9.88", "99.9", "1,234"]
    assert [measured(0.01234, "nats"), measured(1234.5, "")] == ["0.0123 nats", "1,234"]
    assert [duration(s) for s in (0.4, 59, 90, 7200)] == ["0 seconds", "59 seconds", "1.5 minutes", "2.0 hours"]
