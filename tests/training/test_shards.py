"""Which rows a component sees, against the winners."""

import numpy as np
import pytest

from raymix.config import Config, ScheduleConfig
from raymix.data.source import DataSpec
from raymix.local import map_blocks
from raymix.maths.ownership import Ownership
from raymix.state import Assigned
from raymix.training.shards import pretraining_rows, shards

ROWS_B = [np.arange(0, 12)[:, None].astype(np.float32), np.arange(12, 17)[:, None].astype(np.float32)]
NONE = np.empty(0, np.int32)


def numbers(view):
    return view.take(np.arange(len(view))).flatten().long().tolist()


def test_a_shard_holds_rows_won_and_rows_lent_in_order():
    winners = np.array([5, 2] * 6, np.int32)
    assigned_B = [
        Assigned(winners, np.array([0, 4, 1], np.int32), np.array([2, 2, 5], np.int32)),
        Assigned(np.full(5, 5, np.int32), NONE, NONE),
    ]
    found = shards(ROWS_B, iter(assigned_B), (2, 5, 7))
    assert numbers(found[2]) == [0, 1, 3, 4, 5, 7, 9, 11]
    assert numbers(found[5]) == [0, 1, 2, 4, 6, 8, 10, 12, 13, 14, 15, 16]
    assert numbers(found[7]) == []


@pytest.mark.parametrize("mode", ["compete", "random", "oracle", "single"])
def test_pretraining_shows_everything(mode):
    config = Config(mode=mode, num_components=3)
    for view in pretraining_rows(config, ROWS_B, [], config.components).values():
        assert numbers(view) == list(range(17))


@pytest.mark.parametrize("mode", ["compete", "centroids"])
def test_pretraining_shows_the_cells_that_there_are(mode):
    assigned_B = [Assigned.of(np.array([0, 1] * 6)), Assigned.of(np.array([1] * 5))]
    config = Config(mode=mode, num_components=2, schedule=ScheduleConfig(begin="centroids"))
    found = pretraining_rows(config, ROWS_B, assigned_B, (0, 1))
    assert numbers(found[0]) == [0, 2, 4, 6, 8, 10]
    assert numbers(found[1]) == [1, 3, 5, 7, 9, *range(11, 17)]
    copied = config.model_copy(update={"schedule": ScheduleConfig(begin="centroids", pretrain_on="one")})
    assert numbers(pretraining_rows(copied, ROWS_B, assigned_B, (0, 1))[0]) == list(range(17))


def test_pretraining_on_a_split_deals_every_row_once():
    config = Config(num_components=3, schedule=ScheduleConfig(pretrain_on="split"))
    parts = [numbers(view) for view in pretraining_rows(config, ROWS_B, [], range(3)).values()]
    assert sorted(number for part in parts for number in part) == list(range(17))
    other = Config(num_components=3, seed=1, schedule=ScheduleConfig(pretrain_on="split"))
    assert parts != [numbers(view) for view in pretraining_rows(other, ROWS_B, [], range(3)).values()]


@pytest.mark.parametrize("pretrain_on", ["whole", "split"])
def test_a_bag_is_pretrained_on_the_rows_it_keeps(pretrain_on):
    config = Config(mode="bag", num_components=3, schedule=ScheduleConfig(pretrain_on=pretrain_on))
    spec = DataSpec("rows", 17, (1,), "float32")
    owned = Ownership(config, spec, map_blocks, ROWS_B, [None, None], [12, 5])
    owned.deal(4, config.components)
    for k in range(3):
        kept_B = [assigned.rows_of(k) for assigned in owned.assigned_B]
        expected = [*kept_B[0], *(kept_B[1] + 12)]
        assert numbers(pretraining_rows(config, ROWS_B, [], (k,))[k]) == expected
