"""Train, sample and score the generators of one pack.

A pack's members share a process and nothing else: each has its own tensors, optimisers and seeds, so how components
are packed does not change what they learn.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raymix.errors import DivergedError
from raymix.models.base import ClosedForm, DataInitialised, Generator, LogDensity, Updates
from raymix.models.registry import family_of
from raymix.seeds import Phase, numpy_rng, phase_seed
from raymix.state import Fit
from raymix.training import tensors
from raymix.training.batches import RowView, all_batches, drawn_batches
from raymix.training.divergence import Scores, checked_scores, first_not_finite, require_finite
from raymix.training.setting import Progress, Setting, ignore_progress, seeded_build

CHECK_EVERY = 50  # steps between looks at the losses and reports of progress
SAMPLE_BATCH = 1024
SCORE_BATCH = 1024


class GeneratorPack:
    """The generators of some components."""

    def __init__(self, setting: Setting, components: Sequence[int]) -> None:
        self.setting, self.components = setting, tuple(components)
        self.members: dict[int, Generator] = {k: self._build(k) for k in components}

    def _build(self, component: int) -> Generator:
        config, row_shape = self.setting.config, self.setting.spec.row_shape
        seed = phase_seed(config.seed, 0, component, Phase.INITIALISE)
        network = seeded_build(lambda: family_of(config.model).build(config.model, row_shape), seed)
        return network.to(self.setting.device)

    def initialise(self, blocks: Sequence[NDArray[np.generic]]) -> None:
        """Fresh members; those that start from data see one row each, drawn for the component."""
        everything = RowView(blocks, None)
        for k in self.components:
            self.members[k] = member = self._build(k)
            if isinstance(member, DataInitialised):
                rng = numpy_rng(phase_seed(self.setting.config.seed, 0, k, Phase.INITIALISE, 1))
                rows = everything.take(rng.integers(0, len(everything), size=1))
                member.initialise(self.setting.scaler(member.dtype).scaled(rows), k)

    def train(
        self,
        phase: Phase,
        round: int,
        shards: Mapping[int, RowView],
        steps: Mapping[int, int],
        progress: Progress = ignore_progress,
    ) -> list[Fit]:
        """Train the members in `steps`, each `steps[k]` steps on its shard. Raises `DivergedError`."""
        fits = []
        for k in steps:
            member = self.members[k]
            seed = phase_seed(self.setting.config.seed, round, k, phase)
            view, scaler = shards[k], self.setting.scaler(member.dtype)
            if len(view) == 0 or steps[k] == 0:
                fits.append(Fit(k, 0, float("nan")))
            elif isinstance(member, ClosedForm):
                loss = member.fit(all_batches(view, scaler, SCORE_BATCH))
                if not math.isfinite(loss):
                    raise DivergedError(k, round, 0, "the loss")
                require_finite(member, k, round, 0)
                fits.append(Fit(k, 1, loss))
                progress(1)
            else:
                member.train()
                batches = drawn_batches(
                    view, scaler, steps[k], self.setting.config.schedule.batch_size, numpy_rng(seed)
                )
                fits.append(_descend(k, round, member, batches, self.setting.noise(seed), progress))
        return fits

    def slow(self, component: int) -> None:
        """Halve a member's learning rates for good."""
        for optimiser in self.members[component].optimisers().values():
            for group in optimiser.param_groups:
                group["lr"] /= 2

    def sample(self, component: int, num: int, seed: int, round: int = -1) -> NDArray[np.floating]:
        """`num` rows (num, *row_shape) in scaled units. Raises `DivergedError`."""
        member, noise = self.members[component], self.setting.noise(seed)
        member.eval()
        with torch.inference_mode():
            parts = [member.sample(min(SAMPLE_BATCH, num - i), noise) for i in range(0, num, SAMPLE_BATCH)]
            rows = torch.cat(parts) if parts else member.sample(0, noise)
        array: NDArray[np.floating] = rows.cpu().numpy()
        if not np.isfinite(array).all():
            raise DivergedError(component, round, -1, "a sample")
        return array

    def log_density(self, component: int, block: NDArray[np.generic]) -> NDArray[np.floating]:
        """(n,) log-density of a block's rows, for families that know it."""
        member = self.members[component]
        assert isinstance(member, LogDensity)
        member.eval()
        with torch.inference_mode():
            scaler = self.setting.scaler(member.dtype)
            parts = [member.log_density(rows) for rows in all_batches(RowView([block], None), scaler, SCORE_BATCH)]
        array: NDArray[np.floating] = torch.cat(parts).cpu().numpy()
        return array

    def fakes(self, component: int, num: int, round: int) -> NDArray[np.floating]:
        """The samples a discriminator sees in a round, in scaled units."""
        seed = phase_seed(self.setting.config.seed, round, component, Phase.SAMPLE_FAKES)
        return self.sample(component, num, seed, round)

    def sample_in_data_units(self, component: int, num: int, seed: int) -> NDArray[np.floating]:
        """`num` rows (num, *row_shape) as the data has them, in float32 (float64 where the model works in it)."""
        rows = self.sample(component, num, seed)
        return self.setting.scaler(torch.float64).unscaled(rows).astype(rows.dtype)

    def score(self, round: int, block: NDArray[np.generic], components: Sequence[int]) -> Scores:
        """In the discriminators' place: for each component (log-density of a block's rows, their log-sum-exp). Raises
        `DivergedError`."""
        return checked_scores({k: self.log_density(k, block) for k in components}, round)

    def state(self, component: int) -> tensors.Tensors:
        """The component's tensors under canonical names."""
        member = self.members[component]
        return tensors.to_arrays(member, member.optimisers())

    def load(self, component: int, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        member = self.members[component]
        tensors.from_arrays(arrays, member, member.optimisers())


def _descend(
    component: int, round: int, member: Generator, batches: Iterable[Tensor], noise: torch.Generator, progress: Progress
) -> Fit:
    """A step per batch; losses and weights are looked at every few steps, so as not to wait for the device."""
    assert isinstance(member, Updates)
    total, done = 0.0, 0
    for some in batched((member.update(rows, noise) for rows in batches), CHECK_EVERY):
        losses = torch.stack(some).double()
        bad = first_not_finite(losses)
        if bad is not None:
            raise DivergedError(component, round, done + bad, "the loss")
        total, done = total + float(losses.sum()), done + len(some)
        require_finite(member, component, round, done - 1)
        progress(len(some))
    return Fit(component, done, total / done)


def batched(items: Iterable[Tensor], num: int) -> Iterator[list[Tensor]]:
    """Lists of `num` items; the last may be shorter."""
    iterator = iter(items)
    while some := list(itertools.islice(iterator, num)):
        yield some
