"""Experiments: complete configs with equal budgets, verdicts on targets, sections of the results."""

from dataclasses import replace
from pathlib import Path

import pytest

from launch.capacity_table import ABLATIONS, places, table
from launch.experiments import EXPERIMENTS, METHODS, Target
from launch.tables import Arguments, carry_out, main, used, verdict, write_section
from raymix.budgets import pretrain_steps, round_steps
from raymix.config import Config
from raymix.config_values import replaced

VALUES = {"kVAE": [1.0, 2.0], "bag": [2.0, 2.0]}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_method_sees_as_many_rows(name: str) -> None:
    experiment = EXPERIMENTS[name]

    def steps(config: Config) -> int:
        """Steps of all generators, with 64,000 rows dealt equally."""
        loads = [64_000 // len(config.components)] * len(config.components)
        rows = config.schedule.epochs_per_round * 64_000
        each = sum(round_steps(rows, config, config.components, loads).values())
        return sum(pretrain_steps(config, 64_000, config.components).values()) + config.schedule.rounds * each

    for case in experiment.bases:
        budgets = {method: steps(experiment.config(case, method, 0)) for method in experiment.methods}
        assert max(budgets.values()) - min(budgets.values()) <= 0.001 * max(budgets.values()), budgets


def test_methods_are_modes_and_the_wide_one_is_wide() -> None:
    experiment = EXPERIMENTS["table-1-small"]
    configs = {method: experiment.config("synthetic-5", method, 7, "somewhere") for method in METHODS}
    assert {method: config.mode for method, config in configs.items()} == {
        **{"kVAE": "compete", "kGAN": "compete", "bag": "bag", "single": "single"},
        **{"wide single": "single", "random": "random", "oracle": "oracle", "centroids": "centroids"},
        **dict.fromkeys(
            ("from centroids", "from pre-training", "judged", "judged, free", "judged, from pre-training"), "compete"
        ),
    }
    assert all(configs[method].competes and not configs[method].own_density for method in configs if "judged" in method)
    assert configs["wide single"].model.encoder == (150, 150) != configs["single"].model.encoder
    assert {config.seed for config in configs.values()} == {7}
    assert {config.data.dir for config in configs.values()} == {"somewhere"}


def test_a_control_is_not_trained_again_for_what_it_does_not_use() -> None:
    config = EXPERIMENTS["table-2-small"].config("mnist-small", "random", 0)
    changes = {"schedule.settle": 1, "schedule.begin": "pretrain", "assign.margin": 2.0, "discriminator.body": "none"}
    assert used(replaced(config, changes)) == used(config)
    assert used(replaced(config, {"schedule.rounds": 3})) != used(config)
    competing = replaced(config, {"mode": "compete"})
    assert used(replaced(competing, changes)) != used(competing)


@pytest.mark.parametrize(
    ("target", "holds"),
    [
        (Target("nmi", least=1.0), True),
        (Target("nmi", least=1.5), False),
        (Target("nmi", least=1.5, of="mean"), True),
        (Target("fid", most=0.75, over="bag"), False),
        (Target("fid", most=0.75, over="bag", of="mean"), True),
        (Target("nmi", least=0.0, over="bag", by="difference"), False),
        (Target("nmi", least=-1.0, over="bag", by="difference"), True),
    ],
)
def test_a_target_holds_for_each_seed_or_in_the_mean(target: Target, holds: bool) -> None:
    text, found = verdict(target, "kVAE", VALUES)
    assert found is holds
    assert f"{target.least if target.least is not None else target.most:g}" in text


def test_a_section_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "results.md"
    write_section(path, "table-1", "old")
    write_section(path, "table-2", "other")
    write_section(path, "table-1", "new")
    text = path.read_text()
    assert "old" not in text
    assert text.index("new") < text.index("other")
    assert text.count("<!-- table-1 -->") == text.count("<!-- end of table-1 -->") == 1


def test_an_unknown_experiment_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(Arguments("table-9", out=tmp_path)) == 2
    assert "one of table-1" in capsys.readouterr().err


def test_runs_of_another_config_are_not_taken_for_those_of_an_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "table-1-small" / "synthetic-5"
    for method in METHODS:
        (runs / f"{method.replace(' ', '-')}-0").mkdir(parents=True)
        (runs / f"{method.replace(' ', '-')}-0.yaml").write_text("seed: 3\n")
    assert (
        carry_out(Arguments("table-1-small", out=tmp_path), EXPERIMENTS["table-1-small"], "synthetic-5", "bag", 0) == 2
    )
    assert "was trained with another config" in capsys.readouterr().err


@pytest.mark.slow
def test_an_experiment_is_run_once_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One method on a tiny set, from training to the table."""
    from raymix.config_values import replaced

    full = EXPERIMENTS["table-1-small"]
    tiny = {"data.num_rows": 300, "schedule.rounds": 1, "schedule.pretrain_epochs": 1, "schedule.epochs_per_round": 1}
    tiny |= {"schedule.evaluate_every": 1, "evaluation.num_samples": 200}
    bases = {"synthetic-5": replaced(full.bases["synthetic-5"], tiny)}
    targets = (Target("kde_log_likelihood", least=-1e9, cases=("synthetic-5",)), Target("nmi", least=2.0))
    monkeypatch.setitem(EXPERIMENTS, "tiny", replace(full, bases=bases, methods=("kVAE",), targets=targets, seeds=(0,)))
    results = tmp_path / "results.md"
    arguments = Arguments("tiny", jobs=1, out=tmp_path / "runs", results=results)
    assert main(arguments) == 1  # NMI cannot be 2
    text = results.read_text()
    assert "reached: kde_log_likelihood of kVAE at least -1e+09" in text
    assert "**missed**: nmi of kVAE at least 2" in text
    assert "| kVAE | compete | 5 |" in text
    record = tmp_path / "runs" / "tiny" / "synthetic-5" / "kVAE-0" / "record.jsonl"
    before = record.stat().st_mtime_ns
    assert main(arguments) == 1
    assert record.stat().st_mtime_ns == before


# ---- the ablation of capacity


@pytest.mark.parametrize("name", ABLATIONS)
def test_few_and_one_take_the_same_steps_at_every_width(name: str) -> None:
    ablation = ABLATIONS[name]
    rows = 54_000

    def steps(mode: str) -> int:
        config = ablation.base.model_copy(update={"mode": mode})
        loads = [rows // len(config.components)] * len(config.components)
        each = sum(round_steps(config.schedule.epochs_per_round * rows, config, config.components, loads).values())
        return sum(pretrain_steps(config, rows, config.components).values()) + config.schedule.rounds * each

    made = [steps(mode) for mode in ablation.modes]
    assert max(made) - min(made) <= 0.001 * max(made)
    assert len(places(ablation)) == len(ablation.modes) * len(ablation.widths)


def test_the_ablations_table_has_ratios_seed_by_seed_and_of_the_means() -> None:
    ablation = replace(ABLATIONS["table-4-small"], widths=(8, 16), modes=("compete", "single"))
    found = {(8, "compete"): [1.0, 3.0], (8, "single"): [2.0, 2.0], (16, "compete"): [], (16, "single"): [1.0]}
    losses = {(8, "compete"): "0.50, 0.60", (8, "single"): "0.70, -"}
    assert table(ablation, found, losses)[2:] == ["| 8 | 2 ± 1.4 | 2 ± 0 | 0.50, 1.50; 1.00 | 0.50, 0.60 / 0.70, - |"]
