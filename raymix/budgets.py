"""How much is trained in each phase: the same number of rows in every mode, so that modes can be compared.

Axes: K components that compete.
"""

from collections.abc import Sequence

from raymix.config import Config


def equal_steps(rows: float, config: Config, components: Sequence[int]) -> dict[int, int]:
    """The same number of steps for every component, so that together they see about `rows` rows.

    A `single` generator gets the steps of all K, rounded as theirs are, so that budgets are equal.
    """
    num = config.num_components if config.mode == "single" else len(components)
    steps = max(1, round(rows / config.schedule.batch_size / num))
    return dict.fromkeys(components, steps * num // len(components))


def round_steps(rows: float, config: Config, components: Sequence[int], loads_K: Sequence[int]) -> dict[int, int]:
    """Steps of each component in a round: equal, or in proportion to the loads, with one step at least for a shard that
    is not empty."""
    if config.schedule.steps == "equal" or config.mode == "single":
        return equal_steps(rows, config, components)
    steps = rows / config.schedule.batch_size
    loads = dict(zip(components, loads_K, strict=True))
    return {k: max(1, round(steps * load / sum(loads_K))) if load else 0 for k, load in loads.items()}


def pretrain_steps(config: Config, num_rows: int, components: Sequence[int]) -> dict[int, int]:
    """Equal steps for every component, or the first takes those of all; none without pre-training."""
    schedule = config.schedule
    if schedule.pretrain_epochs == 0:
        return dict.fromkeys(components, 0)
    rows = schedule.pretrain_epochs * num_rows
    if schedule.pretrain_budget == "each":
        rows *= config.num_components if config.mode == "single" else len(components)
    steps = equal_steps(rows, config, components)
    return steps if schedule.pretrain_on != "one" else dict.fromkeys(steps, 0) | {components[0]: sum(steps.values())}


def num_fakes(config: Config, num_rows: int, num_components: int) -> int:
    """Fresh samples of each generator that the discriminators see in a round; `num_components` compete in it."""
    fakes, num = config.discriminator.fakes, num_components if config.schedule.adapt else config.num_components
    return max(1, num_rows // num) if fakes == "auto" else fakes
