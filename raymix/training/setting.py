"""What a network needs to know to train anywhere: config, data, device."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.models.parts import Part
from raymix.models.stacked import Convolution
from raymix.training.batches import Scaler
from raymix.training.hermetic import set_gpu_precision
from raymix.training.noise import MemberNoise
from raymix.training.replay import CudaGraph, Replays

Network = TypeVar("Network", bound=nn.Module)
Progress = Callable[[int], None]
"""Told the steps done since the last call."""


def ignore_progress(steps: int) -> None:
    """For callers who do not watch."""


def sees_gpu(config: Config) -> bool:
    """Whether this process has a GPU that a run would use."""
    return torch.cuda.is_available() and config.resources.gpus_per_component != 0


@dataclass(frozen=True)
class Setting:
    """One resolved, closed config on one device."""

    config: Config
    spec: DataSpec
    device: torch.device

    @classmethod
    def of(cls, config: Config, spec: DataSpec, use_gpu: bool = False) -> "Setting":
        setting = cls(config, spec, torch.device("cuda" if use_gpu else "cpu"))
        setting.prepare()
        return setting

    def prepare(self) -> None:
        """Give this thread and its process what the config asks of torch; in a process of somebody else's inside
        `hermetic`."""
        torch.set_num_threads(self.config.resources.threads)
        if self.device.type == "cuda":
            set_gpu_precision(self.config.resources.precision == "tf32")
        if self.config.resources.deterministic and self.device.type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.benchmark = False

    def stacks_of(self, components: Sequence[int]) -> list[tuple[int, ...]]:
        """Those that train as one model: the components of a pack, or each alone."""
        everyone = components if self.config.schedule.adapt else self.config.components
        assert set(components) <= set(everyone)
        if self.config.resources.fused is False:
            return [(k,) for k in components]
        packs = [tuple(k for k in pack if k in components) for pack in self.config.packs(everyone)]
        return [pack for pack in packs if pack]

    def placed(self, network: Network) -> Network:
        """A network where it is to work, and in the way that suits the device."""
        unfolds = self.device.type == "cuda" and self.config.resources.convolutions == "unfolded"
        for layer in network.modules():
            if isinstance(layer, Convolution):
                layer.unfolds = unfolds
        return network.to(self.device)

    def compile(self, network: nn.Module) -> None:
        """Let torch compile what the network's call does, where the config asks for it."""
        if self.config.resources.compile:
            network.compile()

    def replays(self, workers: int) -> Replays:
        """What launches the steps of one stack: on a GPU as CUDA graphs, unless several workers meet within one."""
        resources = self.config.resources
        captures = resources.graphs and self.device.type == "cuda" and workers == 1
        return Replays(CudaGraph if captures else None, exact=resources.deterministic)

    def training(self) -> torch.autocast:
        """The arithmetic in which steps are made."""
        return self._in_bfloat16(self.config.resources.precision == "bfloat16")

    def scoring(self) -> torch.autocast:
        """The arithmetic in which discriminators score."""
        return self._in_bfloat16(self.config.resources.score_precision == "bfloat16")

    def _in_bfloat16(self, enabled: bool) -> torch.autocast:
        """Without a cache of weights, which a replay must read anew."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False)

    def scaler(self, dtype: torch.dtype = torch.float32) -> Scaler:
        return Scaler.of(self.config.data, self.spec, self.device, dtype)

    def noise(self, *seeds: int, part: Part | None = None) -> MemberNoise:
        """A seed per member; of one worker's `part` of each batch."""
        return MemberNoise(seeds, self.device, part)
