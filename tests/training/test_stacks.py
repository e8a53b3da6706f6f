"""Stacks: joined, parted, put together, saved and loaded, a member is what it was."""

import numpy as np
import pytest
import torch

from raymix.models.base import StackedModule
from raymix.models.optimisers import SGD, Adam
from raymix.models.stacked import BatchNorm, Linear
from raymix.training.stacks import Stack


class Network(StackedModule):
    """A little of everything: a matrix, a number, buffers, two optimisers."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(Linear(3, 5, bias=False), BatchNorm(5), Linear(5, 1))
        self.scale = torch.nn.Parameter(torch.ones(1))

    def make_optimisers(self):
        parameters = dict(self.body.named_parameters(prefix="body"))
        return {"adam": Adam(parameters, 0.01, 0.5, 0.9), "sgd": SGD({"scale": self.scale}, 0.02)}

    def step(self, rows):
        """One step of every member on its rows (M, B, 3); (M,) losses."""
        self.train()
        loss_M = (self.body(rows).square().sum(2) * self.scale[:, None] - rows.sum(2)).square().mean(1)
        adam, sgd = self.optimisers().values()
        moved = [*adam.parameters, *sgd.parameters]
        *gradients, last = torch.autograd.grad(loss_M, moved, torch.ones_like(loss_M))
        adam.step(gradients)
        sgd.step([last])
        return loss_M.detach()


KEYS = (4, 0, 7)


def built(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network()


def stack_of(keys=KEYS, steps=0):
    stack = Stack.of({k: built(k) for k in keys})
    for i in range(steps):
        step(stack, i)
    return stack


def step(stack, i):
    """Each member on rows of its own."""
    rngs = [np.random.default_rng((i, key)) for key in stack.keys]
    return stack.network.step(torch.from_numpy(np.stack([rng.normal(size=(6, 3)) for rng in rngs])).float())


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].shape == b[name].shape, name
        assert a[name].tobytes() == b[name].tobytes(), name
    return True


def test_joined_members_keep_their_tensors():
    members = {k: built(k) for k in KEYS}
    stack = Stack.of(members)
    assert stack.keys == KEYS
    assert all(len(value) == 3 for value in stack.network.tensors().values())
    for k, member in members.items():
        same(stack.state(k), Stack([k], member).state(k))


def test_state_holds_everything_under_the_names_of_one():
    names = set(stack_of().state(0))
    parts = {"0.weight", "1.weight", "1.bias", "2.weight", "2.bias"}
    moments = {f"body.{part}/{moment}" for part in parts for moment in ("exp_avg", "exp_avg_sq")}
    buffers = {"1.running_mean", "1.running_var"}
    assert {name for name in names if name.startswith("network/")} == {
        "network/scale",
        *(f"network/body.{part}" for part in parts | buffers),
    }
    assert {name.removeprefix("optimiser/adam/") for name in names if "/adam/" in name} == {
        "learning_rate",
        "step",
        *moments,
    }
    assert {name for name in names if "/sgd/" in name} == {"optimiser/sgd/learning_rate"}


def test_members_of_a_stack_train_as_each_does_alone():
    stack, singles = stack_of(), {k: stack_of((k,)) for k in KEYS}
    for i in range(50):
        losses = step(stack, i)
        own = torch.cat([step(single, i) for single in singles.values()])
        torch.testing.assert_close(losses, own, rtol=1e-4, atol=1e-5)
    for k, single in singles.items():
        for name, values in single.state(k).items():
            np.testing.assert_allclose(stack.state(k)[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("keys", [(4,), (7,), (4, 7), (0, 7), (7, 4)])
@pytest.mark.parametrize("steps", [0, 3])
def test_a_part_is_a_copy_that_is_put_back(keys, steps):
    stack = stack_of(steps=steps)
    before = {k: stack.state(k) for k in KEYS}
    some = stack.only(keys)
    assert some.keys == keys
    assert all(same(some.state(k), before[k]) for k in keys)
    step(some, 9)
    assert all(same(stack.state(k), before[k]) for k in KEYS)  # nothing is shared
    stack.put(some)
    for k in KEYS:
        same(stack.state(k), some.state(k) if k in keys else before[k])
    for i in range(2):  # from here on each counts its own steps
        step(stack, i)
    expected = [float(some.state(k)["optimiser/adam/step"]) if k in keys else steps for k in KEYS]
    assert [float(stack.state(k)["optimiser/adam/step"]) for k in KEYS] == [each + 2 for each in expected]


def test_all_of_a_stack_is_itself():
    stack = stack_of()
    assert stack.only(KEYS) is stack
    stack.put(stack)


def test_a_part_of_a_part_is_put_into_the_whole():
    stack = stack_of(steps=2)
    before = stack.state(4)
    some = stack.only((0, 7))
    step(some, 1)
    stack.put(some)
    last = some.only((7,))
    step(last, 2)
    stack.put(last)
    assert [float(stack.state(k)["optimiser/adam/step"]) for k in KEYS] == [2, 3, 4]
    same(stack.state(4), before)
    same(stack.state(0), some.state(0))
    same(stack.state(7), last.state(7))


def test_a_part_that_was_put_back_trains_on_as_alone():
    """The optimisers see what was put."""
    stack, alone = stack_of(steps=2), stack_of((0,), steps=2)
    for i in range(3):
        some = stack.only((0,))
        step(some, i)
        stack.put(some)
        step(stack, 10 + i)
        step(alone, i)
        step(alone, 10 + i)
    for name, values in alone.state(0).items():
        np.testing.assert_allclose(stack.state(0)[name], values, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("key", KEYS)
def test_a_loaded_member_is_what_was_saved_and_the_others_stay(key):
    source, stack = stack_of((3,), steps=5), stack_of(steps=2)
    before = {k: stack.state(k) for k in KEYS}
    step(source, 1)
    saved = source.state(3)
    for array in saved.values():
        array.flags.writeable = False  # as files give them
    stack.load(key, saved)
    for k in KEYS:
        same(stack.state(k), saved if k == key else before[k])
    step(source, 2)
    assert not np.array_equal(source.state(3)["network/scale"], saved["network/scale"])
    same(stack.state(key), saved)


def test_a_loaded_member_trains_on_from_its_own_steps():
    saved, stack, alone = stack_of((3,), steps=5).state(3), stack_of(steps=2), stack_of((0,))
    for each in (stack, alone):
        each.load(0, saved)
        step(each, 9)
    assert [float(stack.state(k)["optimiser/adam/step"]) for k in KEYS] == [3, 6, 3]
    for name, values in alone.state(0).items():
        np.testing.assert_allclose(stack.state(0)[name], values, rtol=1e-4, atol=1e-6, err_msg=name)


def test_states_are_copies():
    stack = stack_of(steps=1)
    state = stack.state(0)
    for array in state.values():
        array[...] = 7
    assert all(not np.array_equal(stack.state(0)[name], array) for name, array in state.items())


def test_a_slowed_member_moves_half_as_far():
    stack, slowed = stack_of(), stack_of()
    before = {k: stack.state(k) for k in KEYS}
    slowed.slow(0)
    for each in (stack, slowed):
        step(each, 0)
    trained = [f"network/{name}" for name, _ in stack.network.named_parameters()]
    for k in KEYS:
        for name in trained:
            moved, other = (each.state(k)[name] - before[k][name] for each in (stack, slowed))
            np.testing.assert_allclose(other, moved / 2 if k == 0 else moved, rtol=1e-3, atol=1e-6, err_msg=name)
    rates = {
        k: (slowed.state(k)["optimiser/adam/learning_rate"], slowed.state(k)["optimiser/sgd/learning_rate"])
        for k in KEYS
    }
    assert rates == {4: (0.01, 0.02), 0: (0.005, 0.01), 7: (0.01, 0.02)}


@pytest.mark.parametrize("name", ["scale", "body.0.weight", "body.1.running_var"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_members_that_are_not_finite_are_named(name, value):
    stack = stack_of(steps=1)
    assert stack.not_finite() == []
    for key in (7, 4):
        stack.network.state_dict()[name][KEYS.index(key)].view(-1)[-1] = value
    assert stack.not_finite() == [4, 7]
