"""What a meter sees of known work."""

import pytest
import torch

from raymix.training.metering import used


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_memory_is_what_lives_at_a_time_and_views_cost_nothing(device):
    def work():
        a = torch.empty(1000, device=device)  # 4000 bytes
        b = a + 1  # 8000
        del a
        c = b.view(10, 100) * 2  # 8000
        del b
        return c.sum()  # 4004

    assert used(work).num_bytes == 8000


def test_tensors_that_gradients_need_live_until_then():
    weight = torch.empty(100, 100, device="meta", requires_grad=True)
    rows = torch.empty(50, 100, device="meta")

    def forward():
        return (rows @ weight).exp().exp().sum()

    with torch.inference_mode():
        bare = used(forward).num_bytes
    loss = used(lambda: torch.autograd.grad(forward(), weight))
    assert bare == 2 * 50 * 100 * 4
    assert loss.num_bytes >= 2 * 50 * 100 * 4 + 100 * 100 * 4
    assert loss.flops == 2 * 2 * 50 * 100 * 100
