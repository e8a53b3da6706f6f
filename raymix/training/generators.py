"""Train, sample and score the generators of one pack.

Members share a process, and a batched model unless the config says otherwise. Each has its own tensors, optimiser
steps, batches and seeds, so how components are packed changes what they learn in rounding only.

Shapes: M members of a stack, S steps, B rows, L terms of a family's losses, Z latent.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from raymix.errors import DivergedError
from raymix.models.base import (
    Bounds,
    ClosedForm,
    DataInitialised,
    Decodes,
    HasCritic,
    LogDensity,
    Noise,
    StackedGenerator,
)
from raymix.models.parts import Colleague, Part
from raymix.models.registry import family_of
from raymix.models.seeded import seeded_build
from raymix.seeds import ALL, Phase, numpy_rng, phase_seed
from raymix.state import Fit, Term
from raymix.training.batches import Draws, RowView, all_batches
from raymix.training.divergence import LogRatios, checked_log_ratios
from raymix.training.noise import RowNoise
from raymix.training.paging import Blocks
from raymix.training.setting import Progress, Setting, ignore_progress
from raymix.training.stacks import Arrays, GeneratorStack, Tensors
from raymix.training.teams import abreast, joined

CHECK_EVERY = 50  # steps between looks at the losses and reports of progress
SAMPLE_BATCH = 1024
SCORE_BATCH = 1024
SAMPLES_BYTES = 64 * 2**20  # of the samples of several components that are drawn together


class GeneratorPack:
    """The generators of some components."""

    def __init__(self, setting: Setting, components: Sequence[int]) -> None:
        self.setting, self.components = setting, tuple(components)
        self.stacks = self._stacked({k: self._build(k) for k in components})

    def _stacked(self, members: Mapping[int, StackedGenerator]) -> list[GeneratorStack]:
        """Members as the config packs them."""
        groups = [{k: members[k] for k in keys} for keys in self.setting.stacks_of(tuple(members))]
        workers = self.setting.config.resources.workers_per_component
        stacks = [GeneratorStack.of(group, self.setting.replays(workers)) for group in groups]
        for stack in stacks:
            self.setting.compile(stack.network)
        return stacks

    def _build(self, component: int) -> StackedGenerator:
        config, row_shape = self.setting.config, self.setting.spec.row_shape
        seed = phase_seed(config.seed, 0, component, Phase.INITIALISE)
        return self.setting.placed(seeded_build(lambda: family_of(config.model).build(config.model, row_shape), seed))

    def stack_of(self, component: int) -> GeneratorStack:
        """The stack that holds a component."""
        return next(stack for stack in self.stacks if component in stack.keys)

    def initialise(self, blocks: Blocks) -> None:
        """Fresh members; those that start from data see one row each, drawn for the component."""
        everything = RowView(blocks, None)
        members = {k: self._build(k) for k in self.components}
        for k, member in members.items():
            if isinstance(member, DataInitialised):
                rng = numpy_rng(phase_seed(self.setting.config.seed, 0, k, Phase.INITIALISE, 1))
                rows = everything.take(rng.integers(0, len(everything), size=1))
                member.initialise(self.setting.scaler(member.dtype).scaled(rows), k)
        self.stacks = self._stacked(members)

    def train(
        self,
        phase: Phase,
        round: int,
        shards: Mapping[int, RowView],
        steps: Mapping[int, int],
        progress: Progress = ignore_progress,
        colleague: Colleague | None = None,
    ) -> list[Fit]:
        """Train the members in `steps`, each `steps[k]` steps on its shard. `colleague`: as whom this process trains a
        component together with others; alone it does the work of all. Raises `DivergedError`, and `WorkerLostError`
        when one of the others is gone."""
        todo = {k: num if len(shards[k]) else 0 for k, num in steps.items()}
        fits = {k: Fit(k, 0, float("nan")) for k, num in todo.items() if num == 0}
        for stack in self.stacks:
            own = {k: todo[k] for k in stack.keys if todo.get(k)}
            if own and isinstance(stack.network, ClosedForm):
                fits |= self._fit_exactly(stack, stack.network, own, round, shards, progress)
            elif own and self.setting.config.resources.workers_per_component == 1:
                fits |= self._take_steps(stack, phase, round, shards, own, progress)
            elif own:
                fits |= self._share_steps(stack, phase, round, shards, own, progress, colleague)
        return [fits[k] for k in steps]

    def _fit_exactly(
        self,
        stack: GeneratorStack,
        network: ClosedForm,
        components: Iterable[int],
        round: int,
        shards: Mapping[int, RowView],
        progress: Progress,
    ) -> dict[int, Fit]:
        scaler, fits = self.setting.scaler(stack.network.dtype), dict[int, Fit]()
        for k in components:
            terms = network.fit(stack.keys.index(k), all_batches(shards[k], scaler, SCORE_BATCH))
            values_L = np.array([terms[name] for name in stack.network.units])
            require_finite(stack, (k,), values_L[None, None], round, 0)
            fits[k] = _fit(stack.network, k, 1, values_L)
            progress(1)
        return fits

    def _share_steps(
        self,
        stack: GeneratorStack,
        phase: Phase,
        round: int,
        shards: Mapping[int, RowView],
        steps: Mapping[int, int],
        progress: Progress,
        colleague: Colleague | None,
    ) -> dict[int, Fit]:
        """`_take_steps` by all workers of a component; where this process is alone, in a thread for each, on copies."""
        workers = self.setting.config.resources.workers_per_component
        assert len(stack.keys) == 1

        def shared_out(each: Colleague, own: GeneratorStack, told: Progress) -> dict[int, Fit]:
            self.setting.prepare()  # each thread has a number of torch threads of its own
            part = Part(each, self.setting.config.schedule.batch_size)
            with joined(own.network, part):
                return self._take_steps(own, phase, round, shards, steps, told, part)

        if colleague:
            return shared_out(colleague, stack, progress)
        stacks = [stack, *(stack.copy() for _ in range(1, workers))]
        told = [progress, *[ignore_progress] * (workers - 1)]
        return abreast(workers, lambda each: shared_out(each, stacks[each.rank], told[each.rank]))[0]

    def _take_steps(
        self,
        stack: GeneratorStack,
        phase: Phase,
        round: int,
        shards: Mapping[int, RowView],
        steps: Mapping[int, int],
        progress: Progress,
        rows: Part | None = None,
    ) -> dict[int, Fit]:
        """Steps of all members at once; whoever has done its own leaves the stack. Losses and weights are looked at
        every few steps, so as not to wait for the device. `rows`: what this worker sees of each batch; losses are the
        whole batch's."""
        seeds = [phase_seed(self.setting.config.seed, round, k, phase) for k in steps]
        scaler, batch_size = self.setting.scaler(stack.network.dtype), self.setting.config.schedule.batch_size
        views, rngs = [shards[k] for k in steps], [numpy_rng(seed) for seed in seeds]
        batches, names = stack.network.batches, tuple(stack.network.units)
        places = rows.places(batches) if rows else None
        draws = Draws(views, rngs, scaler, batches * batch_size, max(steps.values()), places=places)
        running, noise, done = stack.left(tuple(steps)), self.setting.noise(*seeds, part=rows), 0
        total = {k: np.zeros(len(names)) for k in steps}
        running.network.train()
        while True:
            until = min(steps[k] for k in running.keys)
            while done < until:
                with self.setting.training():
                    some = [running.update(draws.batch(), noise) for _ in range(min(CHECK_EVERY, until - done))]
                terms = torch.stack([torch.stack([each[name] for each in some]) for name in names], 2).double()
                terms = rows.summed(terms * rows.share) if rows else terms
                terms_SML = terms.cpu().numpy()
                require_finite(running, running.keys, terms_SML, round, done)
                for m, k in enumerate(running.keys):
                    total[k] += terms_SML[:, m].sum(0)
                done += len(some)
                progress(len(some) * len(running.keys))
            stack.put(running)
            left = [m for m, k in enumerate(running.keys) if steps[k] > done]
            if not left:
                return {k: _fit(stack.network, k, num, total[k] / num) for k, num in steps.items()}
            running = stack.left([running.keys[m] for m in left])
            draws.keep(left)
            noise.keep(left)

    def slow(self, component: int) -> None:
        """Halve a member's learning rates for good."""
        self.stack_of(component).slow(component)

    def sample(self, component: int, num: int, seed: int, round: int = -1) -> NDArray[np.floating]:
        """`num` rows (num, *row_shape) in scaled units. Raises `DivergedError`."""
        return self.samples([component], num, [seed], round)[component]

    def samples(
        self, components: Sequence[int], num: int, seeds: Sequence[int], round: int = -1
    ) -> dict[int, NDArray[np.floating]]:
        """`num` rows of each of some components, (num, *row_shape), in scaled units. Raises `DivergedError`."""
        drawn: dict[int, NDArray[np.floating]] = {}
        seed_of = dict(zip(components, seeds, strict=True))
        for stack in self.stacks:
            own = [k for k in stack.keys if k in seed_of]
            if own:
                chosen, noise = stack.only(own), self.setting.noise(*(seed_of[k] for k in own))
                chosen.network.eval()
                with torch.inference_mode():
                    sizes = [min(SAMPLE_BATCH, num - i) for i in range(0, num, SAMPLE_BATCH)] or [0]
                    rows = torch.cat([chosen.sample(size, noise) for size in sizes], dim=1).cpu().numpy()
                drawn |= zip(own, self._held(rows), strict=True)
        for k in components:
            if not np.isfinite(drawn[k]).all():
                raise DivergedError(k, round, -1, "a sample")
        return {k: drawn[k] for k in components}

    def _held(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Scaled rows with 0 in columns that are held at their offset: a sample is there what every row is."""
        varies = np.array(self.setting.config.data.scale) != 0
        return rows if varies.all() else rows * varies

    def log_densities(
        self, stack: GeneratorStack, block: NDArray[np.generic], round: int
    ) -> dict[int, NDArray[np.floating]]:
        """Of each member (n,) log-density of a block's rows in nats, for families that know it, or a bound of it by one
        draw of the round for all rows and components, for those that know one."""
        network, members = stack.network, len(stack.keys)
        network.eval()
        seed = phase_seed(self.setting.config.seed, round, ALL, Phase.SCORE)

        def of(noise: Noise, rows: torch.Tensor) -> torch.Tensor:
            seen = rows.expand(members, *rows.shape)
            if isinstance(network, LogDensity):
                return network.log_density(seen)
            assert isinstance(network, Bounds)
            return network.bound(seen, noise)

        with torch.inference_mode():
            size = max(64, SCORE_BATCH // members)
            batches = all_batches(RowView([block], None), self.setting.scaler(network.dtype), size)
            noise = RowNoise(seed, members, self.setting.device)
            parts = [stack.replays("scoring", network, of, noise.again(), rows) for rows in batches]
            log_density_Mn = torch.cat(parts, 1).cpu().numpy()
        return dict(zip(stack.keys, log_density_Mn, strict=True))

    def fakes(self, components: Sequence[int], num: int, round: int) -> dict[int, NDArray[np.floating]]:
        """The samples that discriminators see in a round, in scaled units."""
        seeds = [phase_seed(self.setting.config.seed, round, k, Phase.SAMPLE_FAKES) for k in components]
        return self.samples(components, num, seeds, round)

    def groups(self, components: Sequence[int], num: int) -> list[tuple[int, ...]]:
        """The components in groups whose `num` samples together stay within bounds."""
        row_bytes = 4 * math.prod(self.setting.spec.row_shape)
        most = max(1, SAMPLES_BYTES // max(1, num * row_bytes))
        return [tuple(components[i : i + most]) for i in range(0, len(components), most)]

    def sample_in_data_units(self, component: int, num: int, seed: int) -> NDArray[np.floating]:
        """`num` rows (num, *row_shape) as the data has them, in float32 (float64 where the data or the model is)."""
        return self._in_data_units(self.sample(component, num, seed))

    def latent(self, component: int) -> int:
        """Dimensions of the component's latent space; 0 where its family cannot decode."""
        network = self.stack_of(component).network
        return network.latent if isinstance(network, Decodes) else 0

    def latents(self, component: int, num: int, seed: int) -> NDArray[np.floating]:
        """(num, Z) points of the component's latent space as its samples begin with them, if its family can decode."""
        network = self.stack_of(component).only([component]).network
        assert isinstance(network, Decodes)
        with torch.inference_mode():
            array: NDArray[np.floating] = network.prior(num, self.setting.noise(seed))[0].cpu().numpy()
        return array

    def decode_in_data_units(self, component: int, latents_BZ: NDArray[np.floating]) -> NDArray[np.floating]:
        """The rows (B, *row_shape) at points of the component's latent space, as the data has them."""
        network = self.stack_of(component).only([component]).network
        assert isinstance(network, Decodes)
        network.eval()
        with torch.inference_mode():
            latents = torch.from_numpy(latents_BZ).to(self.setting.device, torch.float32)
            rows: NDArray[np.floating] = network.decode(latents.unsqueeze(0))[0].cpu().numpy()
        return self._in_data_units(rows)

    def _in_data_units(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """float32 would merge values far from 0 that the data tells apart."""
        dtype = np.promote_types(rows.dtype, "float64" if self.setting.spec.dtype == "float64" else "float32")
        return self.setting.scaler(torch.float64).unscaled(rows).astype(dtype)

    def score(self, round: int, block: NDArray[np.generic], components: Sequence[int]) -> LogRatios:
        """In the discriminators' place: for each component (log-density of a block's rows or its bound, their
        log-sum-exp). Raises `DivergedError`."""
        found: dict[int, NDArray[np.floating]] = {}
        for stack in self.stacks:
            own = [k for k in stack.keys if k in components]
            if own:
                found |= self.log_densities(stack.only(own), block, round)
        return checked_log_ratios({k: found[k] for k in components}, round)

    def state(self, component: int) -> Tensors:
        """The component's tensors under canonical names."""
        return self.stack_of(component).state(component)

    def load(self, component: int, arrays: Arrays) -> None:
        self.stack_of(component).load(component, arrays)


def _fit(network: StackedGenerator, component: int, steps: int, mean_L: NDArray[np.floating]) -> Fit:
    """From the means of a member's terms."""
    told = zip(network.units.items(), mean_L.tolist(), strict=True)
    terms = {name: Term(value, unit) for (name, unit), value in told}
    saturated = isinstance(network, HasCritic) and network.saturated(terms["critic"].value)
    return Fit(component, steps, next(iter(terms.values())).value, terms, saturated)


def require_finite(
    stack: GeneratorStack,
    components: Sequence[int],
    terms_SML: NDArray[np.floating],
    round: int,
    steps_before: int,
) -> None:
    """Raises `DivergedError` for the first of some members with a term or weight that is not finite."""
    names = tuple(stack.network.units)
    for m, k in enumerate(components):
        bad_S, bad_L = np.nonzero(~np.isfinite(terms_SML[:, m]))
        if len(bad_S):
            quantity = f"the loss term {names[bad_L[0]]}" if bad_L[0] else "the loss"  # the first speaks for all
            raise DivergedError(k, round, steps_before + int(bad_S[0]), quantity)
    for k in stack.not_finite():
        raise DivergedError(k, round, steps_before + len(terms_SML) - 1, "a gradient or weight")
