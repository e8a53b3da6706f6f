"""Optimisers of stacked members: one call for all, with steps and learning rates of their own.

Every tensor has a leading axis M of members, as the parameters have.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam as adam_step

from raymix.models.parts import Part


class Optimiser(ABC):
    """Moves parameters along gradients."""

    part: Part | None = None
    """The rows of each batch that losses are of, while several workers train the network."""

    def __init__(self, parameters: Mapping[str, Tensor], learning_rate: float) -> None:
        """`parameters` by their names in the network."""
        self.names, self.parameters = tuple(parameters), tuple(parameters.values())
        first = self.parameters[0]
        self.learning_rate_M = torch.full((len(first),), learning_rate, dtype=torch.float64, device=first.device)

    def tensors(self) -> dict[str, Tensor]:
        """What `step` depends on besides the parameters, each (M, ...), by name."""
        return {"learning_rate": self.learning_rate_M}

    @abstractmethod
    def refresh(self) -> None:
        """To be called after `tensors` were changed from outside."""

    def course(self) -> object:
        """What `step` depends on besides tensors at their places: another object where a step is made otherwise."""
        return None

    def slow(self, member: int) -> None:
        """Halve a member's learning rate."""
        self.learning_rate_M[member] /= 2
        self.refresh()

    def descend(self, loss_M: Tensor) -> None:
        """One step of every member on its own loss."""
        if self.part is None:
            self.step(torch.autograd.grad(loss_M, self.parameters, torch.ones_like(loss_M)))
        else:
            weight_M = torch.full_like(loss_M, self.part.share)
            self.step(self.part.summed_each(torch.autograd.grad(loss_M, self.parameters, weight_M)))

    @abstractmethod
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step of every member, the gradients in the order of the parameters."""


class Adam(Optimiser):
    """Adam (Kingma and Ba 2014) by torch's fused kernel.

    Members that have made equally many steps at the same learning rate, and lie side by side, share a call.
    """

    def __init__(self, parameters: Mapping[str, Tensor], learning_rate: float, beta1: float, beta2: float) -> None:
        super().__init__(parameters, learning_rate)
        self.beta1, self.beta2 = beta1, beta2
        self.means = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.squares = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.steps_M = torch.zeros_like(self.learning_rate_M)
        self._runs: list[_Run] = []
        self._runs_are_due = True

    def tensors(self) -> dict[str, Tensor]:
        named = {f"{name}/exp_avg": value for name, value in zip(self.names, self.means, strict=True)}
        named |= {f"{name}/exp_avg_sq": value for name, value in zip(self.names, self.squares, strict=True)}
        return super().tensors() | {"step": self.steps_M} | named

    def refresh(self) -> None:
        self._runs_are_due = True

    def course(self) -> "list[_Run]":
        """Its runs: they stay where they are while the same members share one at the same learning rate."""
        if not self._runs_are_due:
            return self._runs
        paces = list(zip(self.steps_M.tolist(), self.learning_rate_M.tolist(), strict=True))
        groups = [[m for m, _ in group] for _, group in itertools.groupby(enumerate(paces), key=lambda each: each[1])]
        found = [(slice(group[0], group[-1] + 1), *paces[group[0]]) for group in groups]
        if [run.pace for run in self._runs] != [(members, rate) for members, _, rate in found]:
            with torch.inference_mode(False):  # whoever asks
                self._runs = [_Run(self, members, rate) for members, _, rate in found]
        for run, (_, steps, _) in zip(self._runs, found, strict=True):
            run.steps.fill_(steps)
        self._runs_are_due = False
        return self._runs

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        runs = self.course()
        gradients = [gradient.contiguous() for gradient in gradients]  # the fused kernel does not look at strides
        for run in runs:
            adam_step(
                run.parameters,
                [gradient[run.members] for gradient in gradients] if len(runs) > 1 else gradients,
                run.means,
                run.squares,
                [],
                run.steps_of_each,
                foreach=False,
                fused=True,
                capturable=False,
                differentiable=False,
                has_complex=False,
                amsgrad=False,
                beta1=self.beta1,
                beta2=self.beta2,
                lr=run.learning_rate,
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )
        self.steps_M += 1

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes runs of its own."""
        return self.__dict__ | {"_runs": [], "_runs_are_due": True}


class _Run:
    """Neighbouring members that one call of Adam can move."""

    def __init__(self, adam: Adam, members: slice, learning_rate: float) -> None:
        self.members, self.learning_rate = members, learning_rate
        self.parameters, self.means, self.squares = (
            [value.detach()[members] for value in values] for values in (adam.parameters, adam.means, adam.squares)
        )
        self.steps = torch.empty(len(self.parameters), device=self.parameters[0].device)
        self.steps_of_each = list(self.steps.unbind())

    @property
    def pace(self) -> tuple[slice, float]:
        """What its members share."""
        return self.members, self.learning_rate


class SGD(Optimiser):
    """Plain gradient descent."""

    def refresh(self) -> None:
        """Keeps nothing besides its tensors."""

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            rates = self.learning_rate_M.to(gradient).view(-1, *[1] * (gradient.dim() - 1))
            parameter -= rates * gradient
