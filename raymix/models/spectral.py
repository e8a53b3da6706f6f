"""Spectral normalisation (Miyato et al. 2018) of stacked layers: each weight over its largest singular value.

    W_SN = W / sigma(W),    sigma(W) = u^T W v,    u <- W v / |W v|,    v <- W^T u / |W^T u|

One power iteration per pass in training, as `torch.nn.utils.parametrizations.spectral_norm` does; u and v are buffers,
so that they are part of a member's state.

Shapes: M members, O outputs of a layer, I inputs (of a convolution times the filter's pixels).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrize

from raymix.models.stacked import Conv2d, Linear

FIRST_ITERATIONS = 15
EPS = 1e-12


class SpectralNorm(nn.Module):
    """The parametrization of one weight whose outputs lie along axis `outputs`."""

    u_MO: Tensor
    v_MI: Tensor

    def __init__(self, weight: Tensor, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        matrix_MOI = self._matrix(weight.detach())
        self.register_buffer("u_MO", F.normalize(torch.randn_like(matrix_MOI[:, :, 0]), dim=1, eps=EPS))
        self.register_buffer("v_MI", F.normalize(torch.randn_like(matrix_MOI[:, 0]), dim=1, eps=EPS))
        for _ in range(FIRST_ITERATIONS):
            self._iterate(matrix_MOI)

    def forward(self, weight: Tensor) -> Tensor:
        matrix_MOI = self._matrix(weight)
        if self.training:
            self._iterate(matrix_MOI)
        u_MO, v_MI = self.u_MO.clone(), self.v_MI.clone()  # a later pass changes them before this one's gradient
        sigma_M = (u_MO * _product(matrix_MOI, v_MI)).sum(1)
        return weight / sigma_M.view(-1, *[1] * (weight.dim() - 1))

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.outputs, 1).flatten(2)

    @torch.no_grad()
    def _iterate(self, matrix_MOI: Tensor) -> None:
        self.u_MO.copy_(F.normalize(_product(matrix_MOI, self.v_MI), dim=1, eps=EPS))
        self.v_MI.copy_(F.normalize(_product(matrix_MOI.mT, self.u_MO), dim=1, eps=EPS))


def _product(matrices_MOI: Tensor, vectors_MI: Tensor) -> Tensor:
    """(M, O) each member's matrix times its vector."""
    return torch.bmm(matrices_MOI, vectors_MI.unsqueeze(2)).squeeze(2)


def spectral_norm(layer: Linear | Conv2d) -> Linear | Conv2d:
    """The same layer, its weight normalised from now on."""
    outputs = 2 if isinstance(layer, Linear) else 1
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight, outputs))
    return layer
