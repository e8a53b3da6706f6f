"""Train, sample and score the generators of one pack.

A pack's members share a process and nothing else: each has its own tensors, optimisers and seeds, so how components
are packed does not change what they learn.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from raymix.errors import DivergedError
from raymix.maths.log_ratio import log_sum_exp
from raymix.models.base import ClosedForm, DataInitialised, Generator, LogDensity, Updates
from raymix.models.registry import family_of
from raymix.seeds import Phase, numpy_rng, phase_seed
from raymix.state import Fit
from raymix.training import tensors
from raymix.training.batches import RowView, all_batches, drawn_batches
from raymix.training.setting import Progress, Setting, first_not_finite, ignore_progress, seeded_build

CHECK_EVERY = 50  # steps between looks at the losses and reports of progress
SAMPLE_BATCH = 1024
SCORE_BATCH = 1024


class GeneratorPack:
    """The generators of some components."""

    def __init__(self, setting: Setting, components: Sequence[int]) -> None:
        self.setting, self.components = setting, tuple(components)
        config = setting.config
        self.members: dict[int, Generator] = {}
        for k in components:
            seed = phase_seed(config.seed, 0, k, Phase.INITIALISE)
            network = seeded_build(lambda: family_of(config.model).build(config.model, setting.spec.row_shape), seed)
            self.members[k] = network.to(setting.device)

    def initialise(self, blocks: Sequence[NDArray[np.generic]]) -> None:
        """Let members that start from data see one row each, drawn for the component."""
        everything = RowView(blocks, None)
        for k, member in self.members.items():
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
        """Train each member `steps[k]` steps on its shard. Raises `DivergedError`."""
        fits = []
        for k, member in self.members.items():
            seed = phase_seed(self.setting.config.seed, round, k, phase)
            view, scaler = shards[k], self.setting.scaler(member.dtype)
            if len(view) == 0 or steps[k] == 0:
                fits.append(Fit(k, 0, float("nan")))
            elif isinstance(member, ClosedForm):
                fits.append(Fit(k, 1, member.fit(all_batches(view, scaler, SCORE_BATCH))))
                progress(1)
            else:
                assert isinstance(member, Updates)
                member.train()
                batches = drawn_batches(
                    view, scaler, steps[k], self.setting.config.schedule.batch_size, numpy_rng(seed)
                )
                fits.append(self._descend(k, round, member, batches, self.setting.noise(seed), progress))
        return fits

    @staticmethod
    def _descend(k, round, member, batches, noise, progress) -> Fit:  # type: ignore[no-untyped-def]
        losses, total, done = [], 0.0, 0
        for rows in batches:
            losses.append(member.update(rows, noise))
            if len(losses) == CHECK_EVERY:
                total, done = total + _checked_sum(losses, k, round, done), done + len(losses)
                progress(len(losses))
                losses = []
        if losses:
            total, done = total + _checked_sum(losses, k, round, done), done + len(losses)
            progress(len(losses))
        return Fit(k, done, total / done)

    def sample(self, component: int, num: int, seed: int) -> NDArray[np.floating]:
        """`num` rows (num, *row_shape) in scaled units. Raises `DivergedError`."""
        member, noise = self.members[component], self.setting.noise(seed)
        member.eval()
        with torch.inference_mode():
            parts = [member.sample(min(SAMPLE_BATCH, num - i), noise) for i in range(0, num, SAMPLE_BATCH)]
            rows = torch.cat(parts) if parts else member.sample(0, noise)
        array: NDArray[np.floating] = rows.cpu().numpy()
        if not np.isfinite(array).all():
            raise DivergedError(component, -1, -1, "a sample")
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
        return self.sample(component, num, phase_seed(self.setting.config.seed, round, component, Phase.SAMPLE_FAKES))

    def sample_in_data_units(self, component: int, num: int, seed: int) -> NDArray[np.floating]:
        """`num` rows (num, *row_shape) as the data has them, in float32 (float64 where the model works in it)."""
        rows = self.sample(component, num, seed)
        return self.setting.scaler(torch.float64).unscaled(rows).astype(rows.dtype)

    def score(self, round: int, block: NDArray[np.generic]) -> dict[int, tuple[NDArray[np.floating], float]]:
        """In the discriminators' place: for each member (log-density of a block's rows, their log-sum-exp)."""
        scores = {k: self.log_density(k, block) for k in self.components}
        return {k: (values, log_sum_exp(values)) for k, values in scores.items()}

    def state(self, component: int) -> tensors.Tensors:
        """The component's tensors under canonical names."""
        member = self.members[component]
        return tensors.to_arrays(member, member.optimisers())

    def load(self, component: int, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        member = self.members[component]
        tensors.from_arrays(arrays, member, member.optimisers())


def _checked_sum(losses: list[torch.Tensor], component: int, round: int, done: int) -> float:
    values = torch.stack(losses).double()
    bad = first_not_finite(values)
    if bad is not None:
        raise DivergedError(component, round, done + bad, "the loss")
    return float(values.sum())
