"""Small real runs, and values in them that stop being finite: at component 1 in round 2 unless said otherwise.

The components train as one batched model unless a config says otherwise: a value is planted in its member's part of it.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raymix import session
from raymix.config import Config, DataConfig, DiscriminatorConfig, ResourcesConfig, ScheduleConfig
from raymix.config_values import replaced
from raymix.errors import DivergedError
from raymix.evaluation.report_files import report_files
from raymix.families.vae import VAEConfig
from raymix.models.discriminators import Discriminator
from raymix.models.vae import VAE
from raymix.recipes.resolve import resolve
from raymix.runs import checkpoint
from raymix.runs.checkpoint import Generation, RunDirectory, generator_name, read_assigned, read_tensors
from raymix.runs.record import read_record
from raymix.runs.rounds import RoundRecord
from raymix.storage import Storage
from raymix.training import discriminators
from raymix.training.discriminators import DiscriminatorPack, DiscriminatorStack
from raymix.training.generators import GeneratorPack
from raymix.training.noise import MemberNoise
from raymix.training.stacks import GeneratorStack

STEP = 3  # of a phase, at which a value is planted


# ---- runs and what they leave


class Run:
    """The directory of a run that ended or was ended."""

    def __init__(self, out: Path) -> None:
        self.out, self.directory = out, RunDirectory(Storage.at(out))

    @property
    def last(self) -> Generation:
        return self.directory.require_last()

    @property
    def digest(self) -> str:
        return checkpoint.digest(self.directory)

    @property
    def lines(self) -> list[RoundRecord]:
        return read_record(self.directory.storage)

    @property
    def winners(self) -> np.ndarray:
        """The winner of each row at the last commit."""
        names = sorted(name for name in self.last.files if name.startswith("labels-"))
        paths = [f"{self.last.folder}/{name}" for name in names]
        return np.concatenate([read_assigned(self.directory.storage, path).winners for path in paths])

    def files(self, round: int) -> dict[str, Any]:
        """Hashes of all files of a round, of pruned ones too."""
        return self._generation(round).files

    def generators(self, round: int, *components: int) -> list[Any]:
        """Hashes of some components' tensors."""
        return [self.files(round)[generator_name(k)] for k in components]

    def tensors(self, round: int, component: int, kind: str = "generator") -> dict[str, Any]:
        path = f"{self._generation(round).folder}/{kind}-{component:05d}.safetensors"
        return read_tensors(self.directory.storage, path)

    def learning_rates(self, round: int, kind: str = "generator") -> list[float]:
        return [float(self.tensors(round, k, kind)["optimiser/adam/learning_rate"]) for k in range(3)]

    def _generation(self, round: int) -> Generation:
        return next(g for g in self.directory.generations() if g.state.round == round)

    def assert_ended_at(self, round: int, reference: "Run") -> None:
        """The last commit is that of the round; it holds, and is what an undisturbed run had committed."""
        assert self.last.state.round == round
        assert self.last.files == reference.files(round)
        assert [line.round for line in self.lines] == list(range(round + 1))

    def resumed(self) -> "Run":
        assert session.resume(str(self.out), workers="local")
        return Run(self.out)


@pytest.fixture(scope="session")
def config() -> Callable[..., Config]:
    """Three components on three blocks of 100 rows: 12 steps of each generator and 10 of each discriminator a round.

    `fail`, `restart` or `drop`, and other fields by name with `__` for each dot.
    """
    small = Config(
        num_components=3,
        data=DataConfig(name="synthetic-3", num_rows=300, block_bytes=100 * 8),
        model=VAEConfig(encoder=(8,), decoder=(8,), latent=2),
        discriminator=DiscriminatorConfig(widths=(8,), batch_size=32),
        schedule=ScheduleConfig(rounds=3, pretrain_epochs=2, epochs_per_round=2, batch_size=16),
        resources=ResourcesConfig(pack=3, fused=True),
    )

    def make(policy: str = "fail", **overrides: Any) -> Config:
        dotted = {name.replace("__", "."): value for name, value in overrides.items()}
        return replaced(small, {"schedule.on_divergence": policy} | dotted)

    return make


def run_here(settings: Config, out: Path, **more: Any) -> Run:
    session.start(*resolve(settings), str(out), workers="local", **more)
    return Run(out)


@pytest.fixture(scope="session")
def run_at() -> type[Run]:
    """The run in a folder."""
    return Run


@pytest.fixture(scope="session")
def trained() -> Callable[..., Run]:
    """Train a config into a folder, in this process."""
    return run_here


@pytest.fixture(scope="session")
def interrupted() -> Callable[..., Run]:
    """Train a config into a folder until a round has been committed."""

    def run(settings: Config, out: Path, round: int) -> Run:
        def watch(status: Any) -> None:
            if any(line.round == round for line in status.lines):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_here(settings, out, watch=watch)
        assert Run(out).last.state.round == round
        return Run(out)

    return run


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Config], Run]:
    """The run of a config in which nothing is planted. Ask before planting."""
    runs: dict[str, Run] = {}

    def run(settings: Config) -> Run:
        key = settings.model_dump_json()
        if key not in runs:
            runs[key] = run_here(settings, tmp_path_factory.mktemp("undisturbed"))
        return runs[key]

    return run


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take as long as the rest of so small a run."""
    monkeypatch.setattr("raymix.evaluation.report_files.report_files", lambda *_: {"samples.png": b""})


@pytest.fixture
def pictured(_without_pictures: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raymix.evaluation.report_files.report_files", report_files)


@pytest.fixture(scope="session")
def diverges() -> Callable[..., AbstractContextManager[None]]:
    """Expects a `DivergedError` of this quantity and step."""

    @contextmanager
    def expect(quantity: str, step: int, component: int = 1, round: int = 2) -> Iterator[None]:
        with pytest.raises(DivergedError) as caught:
            yield
        error = caught.value
        assert (error.component, error.round, error.step, error.quantity) == (component, round, step, quantity)

    return expect


# ---- planting


@dataclass
class Fault:
    """A value, where it is planted, and how often (None: always)."""

    times: int | None = 1
    value: float = float("nan")
    component: int = 1
    round: int = 2

    def strikes(self, components: Iterable[int], round: int) -> bool:
        if self.component not in components or round != self.round or self.times == 0:
            return False
        self.times = None if self.times is None else self.times - 1
        return True


def at_step(function: Callable[..., Any], poisoned: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, but `poisoned` in its call number STEP."""
    calls = iter(range(10**6))
    return lambda *args: (poisoned if next(calls) == STEP else function)(*args)


def with_one(values: Any, place: Any, value: float) -> Any:
    """A copy in which one place is another value."""
    values = values.clone() if isinstance(values, torch.Tensor) else values.copy()
    values[place] = value
    return values


def times_one(values: Any, place: int, value: float) -> Any:
    """A copy of which one part along the first axis is multiplied."""
    factors = torch.ones(len(values))
    factors[place] = value
    return values * factors.view(-1, *[1] * (values.dim() - 1))


# What is done to a pack or a stack that works on components, and for as long as `patch` lasts.

Components = Sequence[int]
Update = Callable[[GeneratorStack, int, Any, MemberNoise], Any]
"""What a stack does at a step, the place of the poisoned member in it given."""


def poison_update(patch: pytest.MonkeyPatch, fault: Fault, poisoned: Update) -> None:
    """In call number STEP of the stack that holds the component; of the class, because stacks are copied."""
    update, calls = GeneratorStack.update, iter(range(10**6))

    def watched(stack: GeneratorStack, rows: Any, noise: MemberNoise) -> Any:
        if fault.component in stack.keys and next(calls) == STEP:
            return poisoned(stack, stack.keys.index(fault.component), rows, noise)
        return update(stack, rows, noise)

    patch.setattr(GeneratorStack, "update", watched)


def poison_batch(patch: pytest.MonkeyPatch, pack: GeneratorPack, fault: Fault, components: Components) -> None:
    update = GeneratorStack.update
    poison_update(
        patch,
        fault,
        lambda stack, m, rows, noise: update(stack, with_one(rows, (m, ..., 0), fault.value), noise),
    )


def poison_loss(patch: pytest.MonkeyPatch, pack: GeneratorPack, fault: Fault, components: Components) -> None:
    update, terms = GeneratorStack.update, VAE.terms

    def poisoned(stack: GeneratorStack, m: int, *args: Any) -> Any:
        with pytest.MonkeyPatch.context() as once:
            poisoned = lambda *args: {name: times_one(term_M, m, fault.value) for name, term_M in terms(*args).items()}  # noqa: E731
            once.setattr(VAE, "terms", poisoned)
            return update(stack, *args)

    poison_update(patch, fault, poisoned)


def poison_gradient(patch: pytest.MonkeyPatch, pack: GeneratorPack, fault: Fault, components: Components) -> None:
    update = GeneratorStack.update

    def poisoned(stack: GeneratorStack, m: int, *args: Any) -> Any:
        network: Any = stack.network
        hook = network.posterior.weight.register_hook(lambda gradient: times_one(gradient, m, fault.value))
        terms = update(stack, *args)
        hook.remove()
        return terms

    poison_update(patch, fault, poisoned)


def poison_fit(patch: pytest.MonkeyPatch, pack: GeneratorPack, fault: Fault, components: Components) -> None:
    member: Any = pack.stack_of(fault.component).network
    fit = member.fit
    place = pack.stack_of(fault.component).keys.index(fault.component)

    def poisoned(m: int, batches: Iterable[Any]) -> Any:
        return fit(m, (rows * fault.value for rows in batches) if m == place else batches)

    patch.setattr(member, "fit", poisoned, raising=False)


def poison_sample(patch: pytest.MonkeyPatch, pack: GeneratorPack, fault: Fault, components: Components) -> None:
    sample = GeneratorStack.sample

    def poisoned(stack: GeneratorStack, *args: Any) -> Any:
        rows = sample(stack, *args)
        return (
            times_one(rows, stack.keys.index(fault.component), fault.value) if fault.component in stack.keys else rows
        )

    patch.setattr(GeneratorStack, "sample", poisoned)


def poison_log_density(patch: pytest.MonkeyPatch, pack: GeneratorPack, fault: Fault, components: Components) -> None:
    log_densities = pack.log_densities

    def poisoned(*args: Any) -> Any:
        found = log_densities(*args)
        return {k: with_one(values, 5, fault.value) if k == fault.component else values for k, values in found.items()}

    patch.setattr(pack, "log_densities", poisoned)


def poison_logit(patch: pytest.MonkeyPatch, stack: DiscriminatorStack, fault: Fault, components: Components) -> None:
    """In all rows, for one head of a shared trunk or of the component's own network."""
    forward = Discriminator.forward
    place = (..., stack.components.index(fault.component)) if stack.shared else components.index(fault.component)
    poisoned = at_step(forward, lambda *args: with_one(forward(*args), place, fault.value))
    patch.setattr(Discriminator, "forward", poisoned)


def poison_discriminator_loss(
    patch: pytest.MonkeyPatch, stack: DiscriminatorStack, fault: Fault, components: Components
) -> None:
    loss, place = discriminators.discriminator_loss, components.index(fault.component)
    poisoned = at_step(loss, lambda *args: with_one(loss(*args), (0, place) if stack.shared else place, fault.value))
    patch.setattr(discriminators, "discriminator_loss", poisoned)


def poison_log_ratio(patch: pytest.MonkeyPatch, pack: DiscriminatorPack, fault: Fault, components: Components) -> None:
    """In one row of the block."""
    stack = next(stack for stack in pack.stacks if fault.component in stack.components)
    log_ratios, place = stack.log_ratios, stack.components.index(fault.component)
    patch.setattr(stack, "log_ratios", lambda block: with_one(log_ratios(block), (place, 5), fault.value))


PLANTS: dict[str, tuple[type, str, Callable[..., None]]] = {
    # where: the method during which the poison works
    "batch": (GeneratorPack, "train", poison_batch),
    "generator loss": (GeneratorPack, "train", poison_loss),
    "generator gradient": (GeneratorPack, "train", poison_gradient),
    "fit": (GeneratorPack, "train", poison_fit),
    "sample": (GeneratorPack, "samples", poison_sample),
    "log density": (GeneratorPack, "score", poison_log_density),
    "discriminator logit": (DiscriminatorStack, "train", poison_logit),
    "discriminator loss": (DiscriminatorStack, "train", poison_discriminator_loss),
    "log ratio": (DiscriminatorPack, "score", poison_log_ratio),
}


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fault]:
    """Plant a `Fault` with these settings in a place that `PLANTS` names."""

    def at(place: str, **settings: Any) -> Fault:
        home, method, poison = PLANTS[place]
        fault, whole = Fault(**settings), getattr(home, method)
        signature = inspect.signature(whole)

        @functools.wraps(whole)
        def wrapped(*args: Any) -> Any:
            bound = signature.bind(*args)
            bound.apply_defaults()
            with pytest.MonkeyPatch.context() as patch:
                components = asked(bound.arguments)
                if fault.strikes(components, bound.arguments["round"]):
                    poison(patch, args[0], fault, components)
                return whole(*args)

        monkeypatch.setattr(home, method, wrapped)
        return fault

    return at


def asked(arguments: Mapping[str, Any]) -> list[int]:
    """The components that a method was asked to work on, in the order in which it holds them."""
    named = next(arguments[name] for name in ("steps", "fakes", "components") if name in arguments)
    return [k for k in arguments["self"].components if k in named]
