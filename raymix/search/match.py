"""Mixtures of different K and width on equal terms: the same parameters, steps or arithmetic as a reference.

Rows are those that all generators train on together, pre-training included; arithmetic is that of their networks.
"""

from typing import Literal, NamedTuple

import torch

from raymix.budgets import pretrain_steps, round_steps
from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.errors import ConfigError
from raymix.models.base import ClosedForm
from raymix.models.registry import close, family_of
from raymix.training.metering import Meter
from raymix.training.noise import MemberNoise

Terms = Literal["params", "steps", "flops"]
WIDEST = 4096
APART = 0.25  # of the parameters: so far from equal none may be
BATCH = 2  # rows of the pass that is counted


class Cost(NamedTuple):
    """What a run trains, and what that takes."""

    parameters: int
    """Parameters of all generators."""
    rows: int
    """That all generators train on."""
    flops: float
    """Arithmetic of their updates, forward and backward."""


def cost(config: Config, spec: DataSpec) -> Cost:
    """What a run of a resolved config costs."""
    parameters, flops_per_row = of_one(config, spec)
    rows = total_rows(config, spec.num_rows)
    return Cost(parameters * len(config.components), rows, rows * flops_per_row)


def of_one(config: Config, spec: DataSpec) -> tuple[int, float]:
    """Parameters that one generator trains, a critic's too, and floating-point operations of its update per row."""
    model = close(config).model
    with torch.random.fork_rng():
        network = family_of(model).build(model, spec.row_shape)
        parameters = sum(value.numel() for value in network.parameters() if value.requires_grad)
        rows = torch.rand(1, network.batches * BATCH, *spec.row_shape)
        with Meter() as meter:
            if not isinstance(network, ClosedForm):  # which is fitted in one pass, and counts as nothing
                network.update(rows, MemberNoise([0], torch.device("cpu")))
    return parameters, meter.flops / BATCH


def total_rows(config: Config, num_rows: int) -> int:
    """Rows that all generators train on, with equal loads."""
    loads = [num_rows // len(config.components)] * len(config.components)
    rows = config.schedule.epochs_per_round * num_rows
    each = sum(round_steps(rows, config, config.components, loads).values())
    first = sum(pretrain_steps(config, num_rows, config.components).values())
    return (first + config.schedule.rounds * each) * config.schedule.batch_size


def matched(config: Config, spec: DataSpec, reference: Config, terms: Terms) -> Config:
    """The config with another width (`params`) or number of rounds (`steps`, `flops`), so that it costs what the
    reference does, as nearly as whole numbers allow. Raises `ConfigError` where none comes near."""
    config, goal = close(config), cost(reference, spec)
    if terms == "params":
        return with_parameters(config, spec, goal.parameters)
    own = cost(config, spec)
    if terms == "flops" and not own.flops:
        raise ConfigError(f"family {config.model.family} makes no update steps", "--match flops", "choose params")
    share = goal.rows / own.rows if terms == "steps" else goal.flops / own.flops
    first = own.rows - config.schedule.rounds * (per_round := round_rows(config, spec))
    rounds = round((own.rows * share - first) / per_round)
    if rounds < 1:
        what = f"K = {len(config.components)} would take more than all {terms} in pre-training and one round"
        raise ConfigError(what, "--match", "raise schedule.rounds, or lower schedule.pretrain_epochs")
    return config.model_copy(update={"schedule": config.schedule.model_copy(update={"rounds": rounds})})


def round_rows(config: Config, spec: DataSpec) -> int:
    """Rows that all generators train on in a round."""
    one = config.model_copy(update={"schedule": config.schedule.model_copy(update={"rounds": 1})})
    none = config.model_copy(update={"schedule": config.schedule.model_copy(update={"rounds": 0})})
    return total_rows(one, spec.num_rows) - total_rows(none, spec.num_rows)


def with_parameters(config: Config, spec: DataSpec, parameters: int) -> Config:
    """The config at the width with which all generators together have nearly so many parameters."""

    def at(width: int) -> Config:
        return config.model_copy(update={"model": config.model.with_width(width)})

    def parameters_at(width: int) -> int:
        return of_one(at(width), spec)[0] * len(config.components)

    low, high = 1, 2
    while high < WIDEST and parameters_at(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameters_at(middle) < parameters else (low, middle)
    found = min((low, high), key=lambda width: abs(parameters_at(width) - parameters))
    if abs(parameters_at(found) - parameters) > APART * parameters:
        what = f"no width gives K = {len(config.components)} nearly {parameters:,} parameters"
        raise ConfigError(what, "--match params", "start from a config of another width")
    return at(found)
