"""Which way of sharing actors `auto` takes, from given and from measured paces."""

import json

import pytest

from raymix.config import Config, DataConfig
from raymix.config_values import replaced
from raymix.data.source import DataSpec
from raymix.families.centroid import CentroidConfig
from raymix.families.vae import VAEConfig
from raymix.recipes import packing
from raymix.recipes.packing import Pace, Packing, choices, packed, run_seconds

SPEC = DataSpec("file", 6400, (2,), "float32")


def config(num=6, **values):
    base = Config(
        num_components=num, data=DataConfig(offset=(0.0,), scale=(1.0,)), model=VAEConfig(latent=2).resolved(SPEC)
    )
    discriminator = {"discriminator.body": "mlp", "discriminator.widths": (8,), "discriminator.lowpass": 0}
    return replaced(base, discriminator | {"schedule.rounds": 5} | values)


def pacing(fused_s, alone_s):
    """Paces of stacks: `fused_s` for a stack of any size, `alone_s` for a single member."""
    return lambda config, spec, stacks: [Pace(*[fused_s if each.fused else alone_s] * 2) for each in stacks]


def test_choices_are_one_actor_or_as_many_as_processors_fused_or_not():
    assert choices(config(6), slots=2) == [Packing(6, True), Packing(6, False), Packing(3, True), Packing(3, False)]
    assert choices(config(6), slots=1) == [Packing(6, True), Packing(6, False)]
    assert choices(config(5), slots=8) == [Packing(5, True), Packing(5, False), Packing(1, False)]


@pytest.mark.parametrize(("row_shape", "ways"), [((2,), {False}), ((1, 28, 28), {False, True})])
def test_on_gpus_networks_that_convolve_may_do_so_in_two_ways(row_shape, ways):
    seen = set()

    def measure(config, spec, stacks):
        seen.update(each.unfolded for each in stacks)
        return [Pace(1.0 if each.unfolded else 2.0, 0.0) for each in stacks]

    spec = DataSpec("file", 100, row_shape, "float32")
    asked = config(6).model_copy(update={"model": VAEConfig(latent=2).resolved(spec)})
    found, _ = packed(asked, spec, 1, measure, on_gpu=True)
    assert seen == ways
    assert found.resources.convolutions == ("unfolded" if True in ways else "grouped")
    assert packed(asked, spec, 1, measure)[0].resources.convolutions == "grouped"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"resources.pack": 4}, {Packing(4, True), Packing(4, False)}),
        ({"resources.fused": False}, {Packing(6, False), Packing(3, False)}),
        ({"resources.pack": 4, "resources.fused": True}, {Packing(4, True)}),
        ({"resources.pack": 1}, {Packing(1, False)}),
        ({"mode": "single"}, {Packing(1, False)}),
    ],
)
def test_what_the_config_says_is_kept(values, expected):
    assert set(choices(config(6, **values), slots=2)) == expected


def test_a_family_in_closed_form_is_not_timed():
    values = {"model": CentroidConfig().model_dump(), "discriminator.body": "none", "schedule.pretrain_epochs": 0}
    assert choices(config(6, **values), slots=2) == [Packing(3, True)]


@pytest.mark.parametrize(
    ("fused_s", "alone_s", "slots", "expected"),
    [
        (1.0, 1.0, 2, Packing(6, True)),  # a stack costs as little as one member: one actor
        (6.0, 1.0, 2, Packing(3, False)),  # a stack costs as much as all its members: every processor, one by one
        (1e-6, 1e-6, 2, Packing(6, True)),  # nothing to do: the fewest actors
    ],
)
def test_the_fastest_is_taken(fused_s, alone_s, slots, expected):
    resolved, reason = packed(config(6), SPEC, slots, pacing(fused_s, alone_s))
    assert Packing(resolved.resources.pack, resolved.resources.fused) == expected
    assert reason.startswith(f"estimated for the whole run: {packing.described(expected)} ")


def test_one_choice_is_not_measured():
    def never(*_):
        raise AssertionError

    resolved, reason = packed(config(6, **{"resources.pack": 1}), SPEC, 2, never)
    assert (resolved.resources.pack, resolved.resources.fused, reason) == (1, False, "")


def test_run_seconds_count_steps_in_turn_and_the_start_of_actors():
    """6 components, 5 rounds of 6 epochs and 10 of pre-training over 6,400 rows in batches of 64, and 6 judgements."""
    own = (5 * 600 + 1000) // 6  # steps of each component
    paces = {Packing(1, False): Pace(0.5, 0.25)}
    start = packing.START_S
    assert run_seconds(config(6), SPEC, 2, Packing(3, False), paces) == pytest.approx(
        3 * (own * 0.5 + 600 * 0.25) + start * 4 / 2, rel=0.01
    )
    shared = config(6, **{"discriminator.trunk": "shared"})
    assert run_seconds(shared, SPEC, 2, Packing(3, False), paces) == pytest.approx(3 * own * 0.5 + start, rel=0.01)


def test_measured_paces_are_kept_for_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(packing, "TIMED_S", 0.001)
    first, _ = packed(config(3), SPEC, slots=1)
    assert first.resources.pack == 3
    known = json.loads((tmp_path / "raymix" / "paces.json").read_text())
    assert len(known) == 2 and all(0 < second < 1 for pace in known.values() for second in pace)
    monkeypatch.setattr(packing, "paces", lambda *_: pytest.fail("measured again"))
    assert packed(config(3), SPEC, slots=1)[0] == first


def test_a_damaged_cache_is_measured_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(packing, "TIMED_S", 0.001)
    (tmp_path / "raymix").mkdir()
    (tmp_path / "raymix" / "paces.json").write_text("{")
    assert packed(config(2), SPEC, slots=1)[0].resources.pack == 2
