"""Train discriminators and score rows with them.

`Judge` is one network with a head per component: the separate form has a judge per component, the shared form one
judge for all. Both see the same loss, guard and low-pass.

Shapes: B real rows, m fakes per component, H heads.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from raymix.checkpoint import discriminator_name
from raymix.errors import DivergedError
from raymix.maths.log_ratio import log_ratio, log_sum_exp
from raymix.models.discriminators import Discriminator, discriminator_loss
from raymix.seeds import ALL, Phase, numpy_rng, phase_seed
from raymix.state import Fit
from raymix.training import tensors
from raymix.training.batches import RowView, all_batches, drawn_batches
from raymix.training.setting import Progress, Setting, ignore_progress, seeded_build

SMOOTHING = 0.9  # of the loss that the guard looks at
SCORE_BATCH = 1024
REPORT_EVERY = 50


class Judge:
    """One discriminator network for the given components, a head each."""

    def __init__(self, setting: Setting, components: Sequence[int], shared: bool) -> None:
        self.setting, self.components, self.shared = setting, tuple(components), shared
        self.id = ALL if shared else self.components[0]
        self.name = discriminator_name(self.components[0], shared)
        self.begin(0)

    def begin(self, round: int) -> None:
        """A new network and optimiser, from the round's seed."""
        config = self.setting.config
        seed = phase_seed(config.seed, round, self.id, Phase.INITIALISE)
        heads = len(self.components)
        network = seeded_build(lambda: Discriminator(config.discriminator, self.setting.spec.row_shape, heads), seed)
        self.network = network.to(self.setting.device)
        self.optimiser = self.network.make_optimiser()

    def train(
        self,
        round: int,
        blocks: Sequence[NDArray[np.generic]],
        fakes: Mapping[int, NDArray[np.floating]],
        progress: Progress = ignore_progress,
    ) -> list[Fit]:
        """Train on the whole data set against scaled fakes {component: (m, *row_shape)}. Raises `DivergedError`."""
        settings = self.setting.config.discriminator
        if settings.restart and round > 0:
            self.begin(round)
        real = RowView(blocks, None)
        steps = settings.steps(len(real))
        fakes_per_batch = max(1, settings.batch_size // len(self.components))
        seed = phase_seed(self.setting.config.seed, round, self.id, Phase.TRAIN_DISCRIMINATOR)
        fake_rng = numpy_rng(phase_seed(self.setting.config.seed, round, self.id, Phase.TRAIN_DISCRIMINATOR, 1))
        batches = drawn_batches(real, self.setting.scaler(), steps, settings.batch_size, numpy_rng(seed))

        self.network.train()
        smooth_H = np.full(len(self.components), np.nan)
        step = 0
        for step, rows in enumerate(batches, start=1):
            loss_H = self._step(rows, self._draw_fakes(fakes, fakes_per_batch, fake_rng)).double().cpu().numpy()
            if not np.isfinite(loss_H).all():
                bad = self.components[int(np.flatnonzero(~np.isfinite(loss_H))[0])]
                raise DivergedError(bad, round, step, "the discriminator's loss")
            smooth_H = loss_H if step == 1 else SMOOTHING * smooth_H + (1 - SMOOTHING) * loss_H
            if step % REPORT_EVERY == 0:
                progress(REPORT_EVERY)
            if step >= settings.guard_steps and smooth_H.mean() < settings.guard_loss:
                break
        return [Fit(k, step, float(loss)) for k, loss in zip(self.components, smooth_H, strict=True)]

    def _draw_fakes(
        self, fakes: Mapping[int, NDArray[np.floating]], num: int, rng: np.random.Generator
    ) -> torch.Tensor:
        """(H * m, *row_shape), component after component, in torch's own memory."""
        first = fakes[self.components[0]]
        out = torch.empty((len(self.components) * num, *first.shape[1:]))
        for h, k in enumerate(self.components):
            numbers = rng.integers(0, len(fakes[k]), size=num)
            out[h * num : (h + 1) * num] = torch.from_numpy(fakes[k][numbers])  # families may work in float64
        return out.to(self.setting.device)

    def _step(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        heads = len(self.components)
        logits = self.network(torch.cat([real, fake]))
        real_BH, fake_all = logits[: len(real)], logits[len(real) :]
        own_Hm = fake_all.view(heads, -1, heads).diagonal(dim1=0, dim2=2)  # (m, H): head h on its own fakes
        loss_H = discriminator_loss(real_BH, own_Hm)
        self.optimiser.zero_grad(set_to_none=True)
        loss_H.mean().backward()
        self.optimiser.step()
        return loss_H.detach()

    def log_ratios(self, block: NDArray[np.generic]) -> NDArray[np.float32]:
        """(H, n) log p_k - log p_data of a block's rows, in nats."""
        self.network.eval()
        with torch.inference_mode():
            batches = all_batches(RowView([block], None), self.setting.scaler(), SCORE_BATCH)
            logits = torch.cat([self.network(rows) for rows in batches]).T.contiguous()
        ratios_Hn: NDArray[np.float32] = log_ratio(logits.cpu().numpy()).astype(np.float32, copy=False)
        return ratios_Hn

    def state(self) -> tensors.Tensors:
        """The network's tensors under canonical names."""
        return tensors.to_arrays(self.network, {"adam": self.optimiser})

    def load(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        tensors.from_arrays(arrays, self.network, {"adam": self.optimiser})


class DiscriminatorPack:
    """The judges of some components: one each, or a shared one."""

    def __init__(self, setting: Setting, components: Sequence[int]) -> None:
        self.components = tuple(components)
        shared = setting.config.discriminator.trunk == "shared"
        groups = [self.components] if shared else [(k,) for k in self.components]
        self.judges = [Judge(setting, group, shared) for group in groups]

    def train(
        self,
        round: int,
        blocks: Sequence[NDArray[np.generic]],
        fakes: Mapping[int, NDArray[np.floating]],
        progress: Progress = ignore_progress,
    ) -> list[Fit]:
        """Train every judge on the whole data set against its components' fakes."""
        return [fit for judge in self.judges for fit in judge.train(round, blocks, fakes, progress)]

    def score(self, round: int, block: NDArray[np.generic]) -> dict[int, tuple[NDArray[np.floating], float]]:
        """For each component (log ratios of a block's rows, their log-sum-exp). Raises `DivergedError`."""
        scores: dict[int, tuple[NDArray[np.floating], float]] = {}
        for judge in self.judges:
            for k, values in zip(judge.components, judge.log_ratios(block), strict=True):
                if not np.isfinite(values).all():
                    raise DivergedError(k, round, -1, "a log ratio")
                scores[k] = values, log_sum_exp(values)
        return scores

    @property
    def names(self) -> list[str]:
        """File names of the judges' states in a checkpoint."""
        return [judge.name for judge in self.judges]

    def states(self) -> dict[str, tensors.Tensors]:
        """Tensors of each judge by file name."""
        return {judge.name: judge.state() for judge in self.judges}

    def load(self, states: Mapping[str, Mapping[str, NDArray[np.generic]]]) -> None:
        for judge in self.judges:
            judge.load(states[judge.name])
