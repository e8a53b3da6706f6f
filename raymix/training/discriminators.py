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
from raymix.errors import TRUNK, DivergedError
from raymix.maths.log_ratio import log_ratio
from raymix.models.discriminators import Discriminator, discriminator_loss
from raymix.seeds import ALL, Phase, numpy_rng, phase_seed
from raymix.state import Fit
from raymix.training import tensors
from raymix.training.batches import RowView, all_batches, drawn_batches
from raymix.training.divergence import Scores, checked_scores, require_finite
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
        self.slowed = (0, 0)  # round, and how often its learning rate was halved
        self.begin(0)

    def begin(self, round: int) -> None:
        """A new network and optimiser, from the round's seed."""
        config = self.setting.config
        seed = phase_seed(config.seed, round, self.id, Phase.INITIALISE)
        heads = len(self.components)
        network = seeded_build(lambda: Discriminator(config.discriminator, self.setting.spec.row_shape, heads), seed)
        self.network = network.to(self.setting.device)
        self.optimiser = self.network.make_optimiser()
        slowed_round, halvings = self.slowed
        for _ in range(halvings if round == slowed_round else 0):
            self._halve()

    def slow(self, round: int) -> None:
        """Halve the learning rate: of one round when each starts anew, else for good."""
        self.slowed = round, self.slowed[1] + 1 if self.slowed[0] == round else 1
        self._halve()

    def _halve(self) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] /= 2

    def train(
        self,
        round: int,
        blocks: Sequence[NDArray[np.generic]],
        fakes: Mapping[int, NDArray[np.floating]],
        progress: Progress = ignore_progress,
    ) -> list[Fit]:
        """Train the heads of the components in `fakes` on the whole data set against their scaled samples
        {component: (m, *row_shape)}. Raises `DivergedError`."""
        settings = self.setting.config.discriminator
        if settings.restart:
            self.begin(round)
        real = RowView(blocks, None)
        steps = settings.steps(len(real))
        fakes_per_batch = max(1, settings.batch_size // len(self.components))
        seed = phase_seed(self.setting.config.seed, round, self.id, Phase.TRAIN_DISCRIMINATOR)
        fake_rng = numpy_rng(phase_seed(self.setting.config.seed, round, self.id, Phase.TRAIN_DISCRIMINATOR, 1))
        batches = drawn_batches(real, self.setting.scaler(), steps, settings.batch_size, numpy_rng(seed))

        self.network.train()
        heads = [h for h, k in enumerate(self.components) if k in fakes]
        components = [self.components[h] for h in heads]
        smooth_H = np.full(len(heads), np.nan)
        step = 0
        for step, rows in enumerate(batches, start=1):
            drawn = self._draw_fakes([fakes[k] for k in components], fakes_per_batch, fake_rng)
            loss_H = self._step(rows, drawn, heads).double().cpu().numpy()
            bad = [k for k, loss in zip(components, loss_H, strict=True) if not np.isfinite(loss)]
            if bad:
                blamed = TRUNK if self.shared and len(bad) == len(components) else bad[0]
                raise DivergedError(blamed, round, step - 1, "the discriminator's loss")
            smooth_H = loss_H if step == 1 else SMOOTHING * smooth_H + (1 - SMOOTHING) * loss_H
            if step % REPORT_EVERY == 0:
                progress(REPORT_EVERY)
            if step >= settings.guard_steps and smooth_H.mean() < settings.guard_loss:
                break
        require_finite(self.network, TRUNK if self.shared else components[0], round, step - 1)
        return [Fit(k, step, float(loss)) for k, loss in zip(components, smooth_H, strict=True)]

    def _draw_fakes(self, fakes_H: Sequence[NDArray[np.floating]], num: int, rng: np.random.Generator) -> torch.Tensor:
        """(H * m, *row_shape), component after component, in torch's own memory."""
        out = torch.empty((len(fakes_H) * num, *fakes_H[0].shape[1:]))
        for h, fakes in enumerate(fakes_H):
            numbers = rng.integers(0, len(fakes), size=num)
            out[h * num : (h + 1) * num] = torch.from_numpy(fakes[numbers])  # families may work in float64
        return out.to(self.setting.device)

    def _step(self, real: torch.Tensor, fake: torch.Tensor, heads: Sequence[int]) -> torch.Tensor:
        logits = self.network(torch.cat([real, fake]))[:, heads]
        real_BH, fake_all = logits[: len(real)], logits[len(real) :]
        own_mH = fake_all.view(len(heads), -1, len(heads)).diagonal(dim1=0, dim2=2)  # each head on its own fakes
        loss_H = discriminator_loss(real_BH, own_mH)
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
        self.slowed = (0, 0)
        tensors.from_arrays(arrays, self.network, {"adam": self.optimiser})


class DiscriminatorPack:
    """The judges of some components: one each, or a shared one."""

    def __init__(self, setting: Setting, components: Sequence[int]) -> None:
        self.components = tuple(components)
        shared = setting.config.discriminator.trunk == "shared"
        groups = [self.components] if shared else [(k,) for k in self.components]
        self.judges = [Judge(setting, group, shared) for group in groups]

    def initialise(self) -> None:
        """Fresh networks."""
        for judge in self.judges:
            judge.slowed = (0, 0)
            judge.begin(0)

    def slow(self, component: int, round: int) -> None:
        """Halve the learning rate of the component's judge, or of the shared `TRUNK`."""
        for judge in self.judges:
            if component in judge.components or component == TRUNK:
                judge.slow(round)

    def train(
        self,
        round: int,
        blocks: Sequence[NDArray[np.generic]],
        fakes: Mapping[int, NDArray[np.floating]],
        progress: Progress = ignore_progress,
    ) -> list[Fit]:
        """Train the judges of the components in `fakes` on the whole data set against those."""
        asked = [judge for judge in self.judges if fakes.keys() & judge.components]
        return [fit for judge in asked for fit in judge.train(round, blocks, fakes, progress)]

    def score(self, round: int, block: NDArray[np.generic], components: Sequence[int]) -> Scores:
        """For each component (log ratios of a block's rows, their log-sum-exp). Raises `DivergedError`."""
        asked = [judge for judge in self.judges if set(components) & set(judge.components)]
        scored = {
            k: values for judge in asked for k, values in zip(judge.components, judge.log_ratios(block), strict=True)
        }
        return checked_scores({k: scored[k] for k in components}, round)

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
