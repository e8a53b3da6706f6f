"""A batch in parts: the same gradient, whoever computes the parts."""

import multiprocessing
import os

import numpy as np
import pytest
import torch
from torch.distributed import TCPStore

from raymix.errors import WorkerLostError
from raymix.models.discriminators import Discriminator
from raymix.models.seeded import seeded_build
from raymix.training.discriminators import descend
from raymix.training.teams import Alone, Together, abreast

HEADS = [0, 1, 2]


def network(make_setting) -> Discriminator:
    setting = make_setting(trunk="shared", widths=(8,), learning_rate=0.01)
    return seeded_build(lambda: Discriminator(setting.config.discriminator, (2,), len(HEADS)), 0)


def batch(num_fakes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    sizes = (16, len(HEADS) * num_fakes)
    return tuple(torch.from_numpy(rng.normal(size=(1, size, 2)).astype(np.float32)) for size in sizes)


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_parts_sum_to_the_gradient_of_the_whole_batch(make_setting, parts):
    whole, cut = network(make_setting), network(make_setting)
    losses = [descend(each, *batch(), HEADS, Alone(n)) for each, n in ((whole, 1), (cut, parts))]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=1e-7)
    assert losses[1].shape == (1, 3)
    for left, right in zip(whole.parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_more_parts_than_fakes_leave_some_without(make_setting):
    whole, cut = network(make_setting), network(make_setting)
    losses = [descend(each, *batch(1), HEADS, Alone(n)) for each, n in ((whole, 1), (cut, 4))]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=1e-7)


def meet(rank: int, port: int, sent) -> None:
    torch.set_num_threads(1)
    with Together(rank, 2, "127.0.0.1", port, "test", torch.device("cpu"), 60) as team:
        sums = [team.summed(lambda part, step=step: torch.full((3,), step * 10.0**part)) for step in (1, 2)]
        sent.send([total.tolist() for total in sums])
        if rank == 1:
            os._exit(1)  # gone without a word
        try:
            team.summed(lambda part: torch.zeros(3))
        except WorkerLostError as error:
            sent.send(str(error))


@pytest.mark.slow
def test_a_team_sums_in_order_and_tells_when_one_is_gone():
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe(duplex=False) for _ in range(2)]
    processes = [spawn.Process(target=meet, args=(rank, store.port, pipes[rank][1])) for rank in range(2)]
    for process in processes:
        process.start()
    assert [pipe[0].recv() for pipe in pipes] == [[[11.0] * 3, [22.0] * 3]] * 2
    assert pipes[0][0].poll(60)
    assert "one of a team is gone" in pipes[0][0].recv()
    for process in processes:
        process.join(30)
        assert not process.is_alive()


def test_those_abreast_sum_in_order_and_repeat():
    def work(each):
        return [each.summed(lambda part, step=step: torch.full((3,), step * 10.0**part)).tolist() for step in (1, 2)]

    assert abreast(3, work) == [[[111.0] * 3, [222.0] * 3]] * 3


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_those_abreast_end_when_one_fails_and_tell_why(failing):
    def work(each):
        for step in range(3):
            if (each.rank, step) == (failing, 1):
                raise WorkerLostError("broke")
            each.gathered(torch.zeros(1))

    with pytest.raises(WorkerLostError, match="broke"):
        abreast(3, work)
