"""How many steps and samples each phase takes; that modes see equal numbers of rows is tested with the loop."""

from raymix.budgets import num_fakes, pretrain_steps, round_steps
from raymix.config import Config, DiscriminatorConfig, ScheduleConfig


def config_of(**schedule):
    return Config(num_components=4, schedule=ScheduleConfig(batch_size=10, **schedule))


def test_pretraining_steps_follow_the_budget():
    def steps(**schedule):
        return pretrain_steps(config_of(**schedule), 1000, range(4))

    assert steps(pretrain_epochs=2, pretrain_budget="shared") == dict.fromkeys(range(4), 50)
    assert steps(pretrain_epochs=2, pretrain_budget="each") == dict.fromkeys(range(4), 200)
    assert steps(pretrain_epochs=0) == dict.fromkeys(range(4), 0)
    assert steps(pretrain_epochs=1e-6) == dict.fromkeys(range(4), 1)


def test_proportional_steps_follow_the_loads():
    config = config_of(steps="proportional")

    def steps(loads_K):
        return tuple(round_steps(1000, config, range(4), loads_K).values())

    assert steps((500, 300, 200, 0)) == (50, 30, 20, 0)
    assert steps((999, 1, 0, 0)) == (100, 1, 0, 0)  # a step at least for a shard
    assert steps((600, 600, 400, 400)) == (30, 30, 20, 20)  # lent rows are shared rows


def test_equal_steps_ignore_the_loads():
    config = config_of()
    assert round_steps(1000, config, range(4), (997, 1, 1, 1)) == dict.fromkeys(range(4), 25)
    assert round_steps(1, config, range(4), (1, 1, 1, 1)) == dict.fromkeys(range(4), 1)


def test_fakes_default_to_an_equal_share_of_the_rows():
    assert num_fakes(Config(num_components=7), 100, 7) == num_fakes(Config(num_components=7), 100, 5) == 14
    assert num_fakes(Config(num_components=7), 3, 7) == 1
    assert num_fakes(Config(discriminator=DiscriminatorConfig(fakes=12)), 100, 7) == 12
    assert num_fakes(Config(num_components=7, schedule=ScheduleConfig(adapt=True)), 100, 5) == 20


def test_steps_are_shared_by_those_who_compete():
    config = config_of(pretrain_epochs=2)
    assert pretrain_steps(config, 1000, (0, 3)) == {0: 100, 3: 100}
    assert round_steps(1000, config, (0, 3), (900, 100)) == {0: 50, 3: 50}
    proportional = config_of(steps="proportional")
    assert round_steps(1000, proportional, (0, 3), (900, 100)) == {0: 90, 3: 10}
    each = config_of(pretrain_epochs=2, pretrain_budget="each")
    assert pretrain_steps(each, 1000, (0, 3)) == {0: 200, 3: 200}
