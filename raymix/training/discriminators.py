"""Train discriminators and score rows with them.

A `DiscriminatorStack` are networks that train as one model: the separate form has a member per component with one head,
the shared form one member with a head per component. Both see the same loss, guard and low-pass.

Shapes: M members, B real rows, m fakes per component, H heads of a member.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from raymix.errors import TRUNK, DivergedError
from raymix.maths.log_ratio import log_ratio
from raymix.models.base import Noise
from raymix.models.discriminators import Discriminator, discriminator_loss, partial_loss
from raymix.models.seeded import seeded_build
from raymix.runs.checkpoint import discriminator_name
from raymix.seeds import ALL, Phase, numpy_rng, phase_seed
from raymix.state import Fit
from raymix.training.ahead import Batch, StepsAhead
from raymix.training.batches import Draws, RowView, Scaler, all_batches
from raymix.training.divergence import LogRatios, checked_log_ratios
from raymix.training.paging import Blocks, PagedBlocks
from raymix.training.replay import Replays
from raymix.training.setting import Progress, Setting, ignore_progress
from raymix.training.stacks import Stack, Tensors
from raymix.training.teams import Alone, Team

SMOOTHING = 0.9  # of the loss that the guard looks at
SCORE_BATCH = 1024
REPORT_EVERY = 50

Samples = NDArray[np.floating] | PagedBlocks
"""Scaled samples of one component, (m, *row_shape), whole or in pieces."""


class DiscriminatorStack:
    """Discriminators that train as one model, known by their components or, when shared, by `ALL`."""

    def __init__(self, setting: Setting, components: Sequence[int], shared: bool) -> None:
        self.setting, self.components, self.shared = setting, tuple(components), shared
        self.heads = self.components if shared else (None,)
        self.keys = (ALL,) if shared else self.components
        self.slowed: dict[int, tuple[int, int]] = {}
        """By key the round, and how often its learning rate was halved in it."""
        self.stack = self._fresh(self.keys, 0, setting.replays(setting.config.discriminator.workers))
        setting.compile(self.stack.network)

    def _fresh(self, keys: Sequence[int], round: int, replays: Replays | None = None) -> Stack[Discriminator]:
        """New networks and optimisers, from the seeds of a round."""
        settings, shape = self.setting.config.discriminator, self.setting.spec.row_shape
        networks = {}
        for key in keys:
            seed = phase_seed(self.setting.config.seed, round, key, Phase.INITIALISE)
            network = seeded_build(lambda: Discriminator(settings, shape, len(self.heads)), seed)
            networks[key] = self.setting.placed(network)
        stack = Stack.of(networks, replays)
        for key in keys:
            slowed_round, halvings = self.slowed.get(key, (0, 0))
            for _ in range(halvings if round == slowed_round else 0):
                stack.slow(key)
        return stack

    def initialise(self) -> None:
        self.slowed = {}
        self.stack.put(self._fresh(self.keys, 0))

    def slow(self, component: int, round: int) -> None:
        """Halve the learning rate of a component's network: of one round when each starts anew, else for good."""
        for key in self.keys:
            if component in (key, TRUNK) or self.shared:
                slowed_round, halvings = self.slowed.get(key, (0, 0))
                self.slowed[key] = round, halvings + 1 if slowed_round == round else 1
                self.stack.slow(key)

    def train(
        self,
        round: int,
        blocks: Blocks,
        fakes: Mapping[int, Samples],
        progress: Progress = ignore_progress,
        team: Team | None = None,
    ) -> list[Fit]:
        """Train on the whole data set against the scaled samples of components. A separate network without samples
        stays as it is, a head without them has no loss. `team`: who trains a shared network together; alone this
        process does all parts. Raises `DivergedError`, and `WorkerLostError` when one of a team is gone."""
        team = team or Alone(self.setting.config.discriminator.workers)
        settings, seed = self.setting.config.discriminator, self.setting.config.seed
        components = [k for k in self.components if k in fakes]
        keys = self.keys if self.shared else tuple(components)
        if settings.restart:
            self.stack.put(self._fresh(keys, round))
        running = self.stack.left(keys)
        running.network.train()

        pieces = [[own] if isinstance(own := fakes[k], np.ndarray) else own for k in components]
        real, fake_views = RowView(blocks, None), [RowView(own, None) for own in pieces]
        steps = settings.steps(len(real))
        num_fakes = max(1, settings.batch_size // len(self.heads))
        real_rngs = [numpy_rng(phase_seed(seed, round, key, Phase.TRAIN_DISCRIMINATOR)) for key in keys]
        fake_rngs = [numpy_rng(phase_seed(seed, round, k, Phase.TRAIN_DISCRIMINATOR, 1)) for k in components]
        reals = Draws([real] * len(keys), real_rngs, self.setting.scaler(), settings.batch_size, steps)
        zero, one = torch.tensor([0.0, 1.0], device=self.setting.device)
        as_they_are = Scaler(zero, one, torch.float32)  # samples come in scaled units
        own_fakes = Draws(fake_views, fake_rngs, as_they_are, num_fakes, steps)

        def batch() -> Batch:
            return reals.batch(), own_fakes.batch().flatten(0, 1).unflatten(0, (len(reals.views), -1))

        def step_of(stack: Stack[Discriminator], batch: Batch) -> torch.Tensor:
            def step(_: Noise | None, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
                return descend(stack.network, real, fake, heads, team)

            with self.setting.training():
                return stack.replays(f"a step of heads {heads}", stack.network, step, None, *batch)

        fits: dict[int, Fit] = {}
        heads = [h for h, k in enumerate(self.heads) if k in (None, *components)]
        smooth_MH = np.full((len(keys), len(heads)), np.nan)
        ahead = StepsAhead(running, step_of, batch, steps)
        for step in range(1, steps + 1):
            loss_MH = ahead.loss()
            self._require_finite(loss_MH, running, components, round, step - 1)
            smooth_MH = loss_MH if step == 1 else SMOOTHING * smooth_MH + (1 - SMOOTHING) * loss_MH
            if step % REPORT_EVERY == 0:
                progress(REPORT_EVERY * len(running.keys))
            guarded = step >= settings.guard_steps and smooth_MH.mean(1) < settings.guard_loss
            done_M = np.broadcast_to(guarded, len(running.keys)) if step < steps else np.ones(len(running.keys), bool)
            if not done_M.any():
                continue
            ahead.stop()
            self.stack.put(running)
            for m in np.flatnonzero(done_M):
                ended = components if self.shared else [running.keys[m]]
                fits |= {k: Fit(k, step, float(loss)) for k, loss in zip(ended, smooth_MH[m], strict=True)}
            left = np.flatnonzero(~done_M).tolist()
            if not left:
                break
            smooth_MH = smooth_MH[left]
            running = self.stack.left([running.keys[m] for m in left])
            ahead.keep(left, running)
            reals.keep(left)
            own_fakes.keep(left)
        for key in set(self.stack.not_finite()) & set(keys):
            raise DivergedError(TRUNK if self.shared else key, round, step - 1, "a gradient or weight")
        return [fits[k] for k in components]

    def _require_finite(
        self, loss_MH: NDArray[np.floating], running: Stack[Discriminator], components: list[int], round: int, step: int
    ) -> None:
        if np.isfinite(loss_MH).all():
            return
        losses, ids = loss_MH.flatten(), components if self.shared else running.keys
        bad = [k for k, loss in zip(ids, losses, strict=True) if not np.isfinite(loss)]
        blamed = TRUNK if self.shared and len(bad) == len(losses) else bad[0]
        raise DivergedError(blamed, round, step, "the discriminator's loss")

    def log_ratios(self, block: NDArray[np.generic]) -> NDArray[np.float32]:
        """(components, n) log p_k - log p_data of a block's rows, in nats."""
        network, members = self.stack.network, len(self.keys)
        network.eval()

        def seen_by_all(_: Noise | None, rows: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = network(rows.expand(members, *rows.shape))
            return logits

        with torch.inference_mode(), self.setting.scoring():
            batches = all_batches(RowView([block], None), self.setting.scaler(), max(64, SCORE_BATCH // members))
            logits = [self.stack.replays("scoring", network, seen_by_all, None, rows) for rows in batches]
            logits_MHn = torch.cat(logits, dim=1).float().transpose(1, 2)
        ratios: NDArray[np.float32] = log_ratio(logits_MHn.flatten(0, 1).cpu().numpy()).astype(np.float32, copy=False)
        return ratios

    def states(self) -> dict[str, Tensors]:
        """Tensors of each network by file name."""
        return {self._name(key): self.stack.state(key) for key in self.keys}

    def load(self, states: Mapping[str, Mapping[str, NDArray[np.generic]]]) -> None:
        self.slowed = {}
        for key in self.keys:
            self.stack.load(key, states[self._name(key)])

    @property
    def names(self) -> list[str]:
        """File names of the networks' states in a checkpoint."""
        return [self._name(key) for key in self.keys]

    def _name(self, key: int) -> str:
        return discriminator_name(key, self.shared)


def descend(
    network: Discriminator, real: torch.Tensor, fake: torch.Tensor, heads: Sequence[int], team: Team
) -> torch.Tensor:
    """One step on real rows (M, B, *row_shape) and fakes (M, H * m, *row_shape), head after head; (M, H) losses."""
    if team.parts == 1:
        loss_MH = discriminator_loss(*own_logits(network, real, fake, heads))
        network.descend(loss_MH.mean(1))
        return loss_MH.detach()
    parameters = list(network.parameters())
    num_real, num_fakes = real.shape[1], fake.shape[1] // len(heads)

    def gradient(part: int) -> torch.Tensor:
        """The gradient of one part of the batch, flat, with its share of the losses at the end."""
        some = fake.unflatten(1, (len(heads), -1))[:, :, part :: team.parts].flatten(1, 2)
        logits = own_logits(network, real[:, part :: team.parts], some, heads)
        loss_MH = partial_loss(*logits, num_real, num_fakes)
        gradients = torch.autograd.grad(loss_MH.mean(1).sum(), parameters)
        return torch.cat([*(each.flatten() for each in gradients), loss_MH.detach().flatten()])

    total = team.summed(gradient)
    flat, losses = total[: -len(heads)], total[-len(heads) :]
    pieces = flat.split([each.numel() for each in parameters])
    network.step([piece.view_as(each) for piece, each in zip(pieces, parameters, strict=True)])
    return losses.unflatten(0, (1, len(heads)))


def own_logits(
    network: Discriminator, real: torch.Tensor, fake: torch.Tensor, heads: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of real rows, (M, B, H), and of each head on its own fakes, (M, m, H)."""
    logits = network(torch.cat([real, fake], dim=1))
    logits = logits if len(heads) == logits.shape[2] else logits[..., heads]
    real_MBH, fake_all = logits.split([real.shape[1], fake.shape[1]], dim=1)
    return real_MBH, fake_all.unflatten(1, (len(heads), -1)).diagonal(dim1=1, dim2=3)


class DiscriminatorPack:
    """The discriminators of some components: separate ones, or a shared one."""

    def __init__(self, setting: Setting, components: Sequence[int]) -> None:
        self.components = tuple(components)
        shared = setting.config.discriminator.trunk == "shared"
        groups = [self.components] if shared else setting.stacks_of(self.components)
        self.stacks = [DiscriminatorStack(setting, group, shared) for group in groups]

    def initialise(self) -> None:
        """Fresh networks."""
        for stack in self.stacks:
            stack.initialise()

    def slow(self, component: int, round: int) -> None:
        """Halve the learning rate of the component's network, or of the shared `TRUNK`."""
        for stack in self.stacks:
            if component in stack.components or component == TRUNK:
                stack.slow(component, round)

    def train(
        self,
        round: int,
        blocks: Blocks,
        fakes: Mapping[int, Samples],
        progress: Progress = ignore_progress,
        team: Team | None = None,
    ) -> list[Fit]:
        """Train the networks of the components in `fakes` on the whole data set against those."""
        asked = [stack for stack in self.stacks if fakes.keys() & stack.components]
        return [fit for stack in asked for fit in stack.train(round, blocks, fakes, progress, team)]

    def score(self, round: int, block: NDArray[np.generic], components: Sequence[int]) -> LogRatios:
        """For each component (log ratios of a block's rows, their log-sum-exp). Raises `DivergedError`."""
        asked = [stack for stack in self.stacks if set(components) & set(stack.components)]
        scored = {
            k: values for stack in asked for k, values in zip(stack.components, stack.log_ratios(block), strict=True)
        }
        return checked_log_ratios({k: scored[k] for k in components}, round)

    @property
    def names(self) -> list[str]:
        """File names of the networks' states in a checkpoint."""
        return [name for stack in self.stacks for name in stack.names]

    def states(self) -> dict[str, Tensors]:
        """Tensors of each network by file name."""
        return {name: state for stack in self.stacks for name, state in stack.states().items()}

    def copies(self, sources: Mapping[int, int]) -> dict[str, Tensors]:
        """As `states`, of other components, each with the tensors of one of these: {component: of whom}. A shared trunk
        gets their heads."""
        states = self.states()
        if not self.stacks[0].shared:
            return {discriminator_name(k, False): states[discriminator_name(j, False)] for k, j in sources.items()}
        places = [self.components.index(j) for j in sources.values()]
        ((name, state),) = states.items()
        return {name: {key: value[..., places] if "heads." in key else value for key, value in state.items()}}

    def load(self, states: Mapping[str, Mapping[str, NDArray[np.generic]]]) -> None:
        for stack in self.stacks:
            stack.load(states)
