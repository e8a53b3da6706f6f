"""What a generator and its critic lose to each other, from the critic's logits (high = real).

    non-saturating (Goodfellow et al. 2014)   critic   (E softplus(-c(x)) + E softplus(c(g(z)))) / 2     chance log 2
                                              generator  E softplus(-c(g(z)))
    hinge (Miyato et al. 2018, eqs. 16-17)    critic   (E max(0, 1 - c(x)) + E max(0, 1 + c(g(z)))) / 2  chance 1
                                              generator  -E c(g(z))
    wgan-gp (Gulrajani et al. 2017, eq. 3)    critic     E c(g(z)) - E c(x) + weight E (|grad c(y)| - 1)^2
                                              generator  -E c(g(z))          y between a real row and a fake one

Each side is averaged by itself, over a member's batch.

Shapes: M members, B rows.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from raymix.families.adversarial import Adversary
from raymix.metrics.health import SATURATED


def unit(kind: Adversary) -> str:
    """The unit of both losses: cross-entropies are in nats, margins and critics' values in nothing."""
    return "nats" if kind == "non-saturating" else ""


def critic_loss(kind: Adversary, real_MB: Tensor, fake_MB: Tensor) -> Tensor:
    """(M,), without the penalty of wgan-gp."""
    if kind == "non-saturating":
        return 0.5 * (F.softplus(-real_MB).mean(1) + F.softplus(fake_MB).mean(1))
    if kind == "hinge":
        return 0.5 * (F.relu(1 - real_MB).mean(1) + F.relu(1 + fake_MB).mean(1))
    return fake_MB.mean(1) - real_MB.mean(1)


def generator_loss(kind: Adversary, fake_MB: Tensor) -> Tensor:
    """(M,)"""
    return F.softplus(-fake_MB).mean(1) if kind == "non-saturating" else -fake_MB.mean(1)


def gradient_penalty(
    critic: Callable[..., Tensor], real: Sequence[Tensor], fake: Sequence[Tensor], share_MB: Tensor
) -> Tensor:
    """(M,) mean of (|gradient of the critic| - 1)^2 between what it sees of real rows and of fakes, at real * share +
    fake * (1 - share)."""
    between = [
        torch.lerp(no.to(yes.dtype), yes, share_MB.view(*share_MB.shape, *[1] * (yes.dim() - 2))).requires_grad_()
        for yes, no in zip(real, fake, strict=True)
    ]
    gradients = torch.autograd.grad(critic(*between).sum(), between, create_graph=True)
    norm_MB = torch.cat([each.flatten(2) for each in gradients], 2).norm(dim=2)
    return (norm_MB - 1).square().mean(1)


def is_saturated(kind: Adversary, loss: float) -> bool:
    """Whether a critic is nearly certain of every row. One of wgan-gp never is: its slope is bounded, so it goes on
    telling a generator where to go, however far apart the two sides are."""
    return kind != "wgan-gp" and loss < SATURATED
