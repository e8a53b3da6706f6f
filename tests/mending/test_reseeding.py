"""A component that stays starved begins anew as a copy of the largest."""

import numpy as np
import pytest

from raymix.commands.lines import round_line
from raymix.training.discriminators import DiscriminatorPack


@pytest.fixture
def starved_2(monkeypatch):
    """Component 2 wins no row by its log ratios, ever."""
    whole = DiscriminatorPack.score

    def score(self, round, block, components):
        log_ratios = whole(self, round, block, components)
        if 2 in log_ratios:
            log_ratio_n, total = log_ratios[2]
            log_ratios[2] = log_ratio_n - np.float32(100), total - 100
        return log_ratios

    monkeypatch.setattr(DiscriminatorPack, "score", score)


@pytest.fixture
def settings(config):
    def make(patience=2, trunk="separate", **more):
        fixed = {"assign__normalise": False, "schedule__rounds": 5, "discriminator__trunk": trunk}
        return config(balance__patience=patience, **fixed, **more)

    return make


@pytest.mark.usefixtures("starved_2")
def test_it_is_reseeded_when_patience_ends_and_named(settings, trained, tmp_path):
    run = trained(settings(), tmp_path / "run")
    patient = trained(settings(patience=0), tmp_path / "patient")

    reseeded = [line.reseeded for line in run.lines]
    assert [list(each) for each in reseeded] == [[], [2], [], [2], [], []]  # after the last round nobody is
    assert [2 in line.starved for line in run.lines] == [True, False, True, False, True, True]
    assert all(2 in line.starved and not line.reseeded for line in patient.lines)
    for round in (1, 3):
        line = run.lines[round]
        donor = reseeded[round][2]
        assert run.generators(round, 2) == run.generators(round, donor)
        assert f", reseeded: 2 from {donor}" in round_line(line, 5)
        assert line.won_K[2] == line.loads_K[2] > 0 and sum(line.won_K) == 300

    before, after = patient.lines[1], run.lines[1]
    donor = reseeded[1][2]
    assert before.won_K[donor] == max(before.won_K)
    assert before.won_K[2] == 0 and before.won_K[donor] // 2 - 2 <= after.won_K[2] <= before.won_K[donor] // 2
    assert after.won_K[donor] == before.won_K[donor] - after.won_K[2]
    assert after.won_K[1 - donor] == before.won_K[1 - donor]
    assert after.rows_moved == before.rows_moved + after.won_K[2]
    assert run.generators(1, 0, 1) == patient.generators(1, 0, 1)
    assert run.generators(2, 1 - donor) == patient.generators(2, 1 - donor)  # its rows are as they were


@pytest.mark.usefixtures("starved_2")
@pytest.mark.parametrize("round", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("trunk", ["separate", pytest.param("shared", marks=pytest.mark.slow)])
def test_a_run_interrupted_around_it_ends_with_the_same_digest(
    trunk, round, settings, trained, interrupted, undisturbed, tmp_path
):
    expected = trained(settings(trunk=trunk), tmp_path / "whole")
    resumed = interrupted(settings(trunk=trunk), tmp_path / "run", round).resumed()
    assert resumed.digest == expected.digest
    assert [line.reseeded for line in resumed.lines] == [line.reseeded for line in expected.lines]


@pytest.mark.usefixtures("starved_2")
@pytest.mark.parametrize("dropped", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_drop_after_it_leaves_every_row_with_one_owner(dropped, settings, trained, interrupted, plant, tmp_path):
    plant("generator loss", times=None, component=dropped, round=2)
    drop = settings(policy="drop")
    run = trained(drop, tmp_path / "whole")
    rest = tuple(k for k in (0, 1, 2) if k != dropped)
    assert [line.components for line in run.lines] == [(0, 1, 2)] * 2 + [rest] * 4
    assert all(sum(line.won_K) == 300 for line in run.lines)
    assert set(run.winners.tolist()) <= set(rest) and len(run.winners) == 300
    assert interrupted(drop, tmp_path / "run", round=2).resumed().digest == run.digest
