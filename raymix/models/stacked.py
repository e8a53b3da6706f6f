"""Layers that compute several members at once: each parameter and buffer has a leading axis of members.

A linear layer becomes one batched matrix product, a convolution one grouped convolution, BatchNorm one over the
channels of all members. Members share nothing: each gets what it would get alone, up to rounding. Layers are built with
one member, from torch's own first parameters; `raymix.training.stacks` joins and parts them.

Shapes: M members, B rows, F features, C H W images. Vectors are (M, B, F); between `Grouped` and `Ungrouped` images are
(B, M * C, H, W), as grouped convolutions want them.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raymix.models.parts import Part


class Stacked(nn.Module):
    """A layer with the tensors of an ordinary one, each under a leading axis of one member."""

    def __init__(self, one: nn.Module) -> None:
        super().__init__()
        for name, parameter in one.named_parameters():
            self.register_parameter(name, nn.Parameter(parameter.detach().unsqueeze(0)))
        for name, buffer in one.named_buffers():
            self.register_buffer(name, buffer.unsqueeze(0))


class Linear(nn.Module):
    """(M, B, inputs) -> (M, B, outputs).

    A member's weight is (inputs, outputs) and its bias (1, outputs): as the product wants them, so that nothing is
    transposed at each step.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        one = nn.Linear(inputs, outputs, bias)
        self.weight = nn.Parameter(one.weight.detach().T.contiguous().unsqueeze(0))
        self.bias = nn.Parameter(one.bias.detach().view(1, 1, -1)) if bias else None

    def forward(self, rows: Tensor) -> Tensor:
        bias = self.bias
        return torch.bmm(rows, self.weight) if bias is None else torch.baddbmm(bias, rows, self.weight)


class Convolution(Stacked):
    """A convolution of each member's own channels, as one of all: grouped, or unfolded into matrix products on patches
    of the images. Which is faster depends on the device: cuDNN takes many groups one after another."""

    unfolds = False


class Conv2d(Convolution):
    """(B, M * inputs, H, W) -> (B, M * outputs, H', W')."""

    weight: Tensor
    bias: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int, bias: bool = True) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, kernel, bias=bias))
        self.stride, self.padding, self.has_bias = stride, padding, bias

    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight  # once: where it is parametrized each look computes it anew
        if self.unfolds:
            return self._unfolded(images, weight)
        bias = self.bias.flatten() if self.has_bias else None
        return F.conv2d(images, weight.flatten(0, 1), bias, self.stride, self.padding, groups=len(weight))

    def _unfolded(self, images: Tensor, weight_MOIkk: Tensor) -> Tensor:
        members, outputs, _, kernel, _ = weight_MOIkk.shape
        batch, _, *sides = images.shape
        patches = F.unfold(images, kernel, padding=self.padding, stride=self.stride).unflatten(1, (members, -1))
        made_BMOL = torch.matmul(weight_MOIkk.flatten(2), patches)
        made_BMOL = made_BMOL + self.bias.unsqueeze(2) if self.has_bias else made_BMOL
        height, width = ((side + 2 * self.padding - kernel) // self.stride + 1 for side in sides)
        return made_BMOL.reshape(batch, members * outputs, height, width)


class ConvTranspose2d(Convolution):
    """(B, M * inputs, H, W) -> (B, M * outputs, 2 H, 2 W), for even and odd kernels."""

    weight: Tensor
    bias: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        super().__init__(nn.ConvTranspose2d(inputs, outputs, kernel, bias=bias))
        self.padding, self.extra, self.has_bias = (kernel - 1) // 2, kernel % 2, bias

    def forward(self, images: Tensor) -> Tensor:
        if self.unfolds:
            return self._unfolded(images)
        weight, bias = self.weight.flatten(0, 1), self.bias.flatten() if self.has_bias else None
        return F.conv_transpose2d(images, weight, bias, 2, self.padding, self.extra, groups=len(self.weight))

    def _unfolded(self, images: Tensor) -> Tensor:
        members, inputs, _, kernel, _ = self.weight.shape
        batch, _, height, width = images.shape
        patches = torch.matmul(self.weight.flatten(2).mT, images.reshape(batch, members, inputs, -1))
        made = F.fold(patches.flatten(1, 2), (2 * height, 2 * width), kernel, padding=self.padding, stride=2)
        return made + self.bias.view(1, -1, 1, 1) if self.has_bias else made


class BatchNorm(Stacked):
    """Normalises each channel of each member over its batch: (B, M * C, H, W), or vectors (M, B, C)."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    part: Part | None = None
    """The rows of each batch that it sees, while several workers train the network; it normalises over all of them."""

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        one = nn.BatchNorm2d(channels)
        del one.num_batches_tracked  # counts for nothing when the momentum is given
        super().__init__(one)
        self.momentum, self.eps = momentum, eps

    def forward(self, values: Tensor) -> Tensor:
        if values.dim() == 4:
            return self._normalised(values)
        by_row = values.transpose(0, 1)
        return self._normalised(by_row.flatten(1)).view(by_row.shape).transpose(0, 1)

    def _normalised(self, values: Tensor) -> Tensor:
        means, variances = self.running_mean.view(-1), self.running_var.view(-1)  # views, so that they are updated
        affine = self.weight.view(-1), self.bias.view(-1)
        if self.part is not None and self.training:
            return self._normalised_together(values, self.part, means, variances, *affine)
        return F.batch_norm(values, means, variances, *affine, self.training, self.momentum, self.eps)

    def _normalised_together(
        self, values: Tensor, part: Part, means: Tensor, variances: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        """As `F.batch_norm` of the values of all W workers."""
        axes = [0, *range(2, values.dim())]
        own_var, own_mean = torch.var_mean(values.to(means.dtype), axes, correction=0)
        mean_WC, var_WC = part.gathered(torch.stack([own_mean, own_var])).unbind(1)
        share_W1 = torch.tensor(part.shares, dtype=means.dtype).to(values.device).unsqueeze(1)
        mean = (share_W1 * mean_WC).sum(0)
        var = (share_W1 * (var_WC + (mean_WC - mean).square())).sum(0)
        with torch.no_grad():
            num = part.batch_size * math.prod(values.shape[2:])
            means.lerp_(mean, self.momentum)
            variances.lerp_(var * (num / (num - 1)), self.momentum)
        scale = weight * torch.rsqrt(var + self.eps)
        shape = (1, -1, *[1] * (values.dim() - 2))
        return torch.addcmul((bias - mean * scale).view(shape), values.to(means.dtype), scale.view(shape)).to(
            values.dtype
        )


class Grouped(nn.Module):
    """(M, B, C, H, W) -> (B, M * C, H, W), channels innermost in memory: convolutions are faster so."""

    def forward(self, images: Tensor) -> Tensor:
        return images.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)


class Ungrouped(nn.Module):
    """(B, M * C, H, W) -> (M, B, *shape), where a member's C * H * W values are `shape`."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, images: Tensor) -> Tensor:
        members = math.prod(images.shape[1:]) // math.prod(self.shape)
        return images.reshape(len(images), members, *self.shape).transpose(0, 1)
