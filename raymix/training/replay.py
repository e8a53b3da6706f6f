"""What is done again and again is launched as one: captured as a CUDA graph, and replayed from then on.

A step of small networks is a hundred kernels of a few microseconds each, and Python takes longer to launch one than the
GPU to run it. A graph launches them all at once. It repeats kernels with the addresses and numbers that they had when
it was captured, so

- what is replayed reads tensors that stay where they are: a network's own, and copies of its inputs and of its noise;
- nothing in it may hang on a number that only Python knows and that changes from one time to the next.

The work itself knows nothing of this. It shows at first use whether it keeps these rules: the first replays are
compared with the same work done eagerly from the same state. Where they differ, or capturing fails, the work is
launched kernel by kernel as before, and one warning says so.

Shapes: M members of a stack.
"""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from raymix.models.base import Noise, StackedModule

Work = Callable[..., Tensor]
"""(noise, *inputs) -> what it made; it may change tensors of its network in place."""

WARM_UPS = 2  # eager calls before a capture, in which libraries make what they keep
PROOFS = 2  # replays that are compared with eager calls: two, so that what changes from one to the next is seen
TOLERANCE = 0.02  # of what a call changes, by which a replay may differ; bits are the same under `deterministic`
MOST = 64  # graphs of one stack

log = logging.getLogger(__name__)


def first_calls() -> int:
    """Calls of some work until it takes the time that it will take from then on."""
    return WARM_UPS + PROOFS + 1 if torch.cuda.is_available() else 1


class Graph(Protocol):
    """Work as it was captured."""

    output: Tensor
    """What the last replay made; the next one overwrites it."""

    def __init__(self, work: Callable[[], Tensor]) -> None:
        """Capture the work, without doing it. Raises `RuntimeError` where that cannot be."""
        ...

    @staticmethod
    def warm_up(work: Callable[[], Tensor]) -> Tensor:
        """Do the work as it is, before it is captured."""
        ...

    def replay(self) -> None:
        """Do it."""
        ...


class CudaGraph:
    """A CUDA graph. All share one pool of memory, which is sound because one replay's output is copied before the
    next replay."""

    pool: Any = None
    stream: torch.cuda.Stream | None = None

    def __init__(self, work: Callable[[], Tensor]) -> None:
        CudaGraph.pool = CudaGraph.pool or torch.cuda.graph_pool_handle()
        self.graph = torch.cuda.CUDAGraph()
        here = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(self.graph, CudaGraph.pool, CudaGraph.beside(), capture_error_mode="thread_local"):
                self.output = work()
        except RuntimeError:
            torch.cuda.set_stream(here)
            CudaGraph.pool = CudaGraph.stream = None  # torch may take them to be recording still
            raise

    def replay(self) -> None:
        self.graph.replay()

    @staticmethod
    def warm_up(work: Callable[[], Tensor]) -> Tensor:
        here, side = torch.cuda.current_stream(), CudaGraph.beside()
        side.wait_stream(here)
        with torch.cuda.stream(side):
            output = work()
        here.wait_stream(side)
        return output

    @staticmethod
    def beside() -> torch.cuda.Stream:
        """The stream on which work is warmed up and captured."""
        CudaGraph.stream = CudaGraph.stream or torch.cuda.Stream()
        return CudaGraph.stream


class Replays:
    """The graphs of one stack: of its network, and of those in which some of its members go on."""

    def __init__(self, graph: type[Graph] | None = None, exact: bool = False) -> None:
        """Without a `graph` nothing is captured. `exact`: a replay must have the bits of the eager call."""
        self.graph, self.exact = graph, exact
        self._kept: dict[tuple[object, ...], _Replay] = {}
        self._told = False

    def __bool__(self) -> bool:
        return self.graph is not None

    def __call__(self, name: str, network: StackedModule, work: Work, noise: Noise | None, *inputs: Tensor) -> Tensor:
        """`work(noise, *inputs)`, under a name that tells it from other work with the network."""
        if self.graph is None:
            return work(noise, *inputs)
        forms = [(each.shape, each.dtype) for each in inputs]
        key = (name, id(network), network.training, *forms)
        if key not in self._kept:
            if len(self._kept) == MOST:
                if not self._told:
                    log.warning("more than %d shapes of work with one network: the others are not replayed", MOST)
                self._told = True
                return work(noise, *inputs)
            self._kept[key] = _Replay(name, network, self.graph, self.exact)
        return self._kept[key](work, noise, inputs)


class _Replay:
    """One piece of work with inputs of some shapes."""

    def __init__(self, name: str, network: StackedModule, graph: type[Graph], exact: bool) -> None:
        self.name, self.network, self.make, self.exact = name, network, graph, exact
        self.courses: list[object] = []
        self.warmed = self.proved = 0
        self.inputs: list[Tensor] = []
        self.noise = _Laid([])
        self.graph: Graph | None = None
        self.given_up = False

    def __call__(self, work: Work, noise: Noise | None, inputs: Sequence[Tensor]) -> Tensor:
        if self.given_up:
            return work(noise, *inputs)
        self._follow_courses()
        if self.warmed < WARM_UPS:
            return self._warm_up(work, noise, inputs)
        if self.graph is None:
            self.graph = self._captured(work)
        if self.graph is None:
            return work(noise, *inputs)
        for laid, given in zip(self.inputs, inputs, strict=True):
            laid.copy_(given)
        self.noise.lay(noise)
        if self.proved < PROOFS:
            return self._prove(work, self.graph)
        self.graph.replay()
        return self.graph.output.clone()

    def _follow_courses(self) -> None:
        """Begin anew where an optimiser makes its steps otherwise than when they were captured."""
        courses = [each.course() for each in self.network.optimisers().values()]
        if len(courses) != len(self.courses) or any(a is not b for a, b in zip(courses, self.courses, strict=True)):
            self.courses, self.graph = courses, None
            self.warmed = self.proved = 0

    def _warm_up(self, work: Work, noise: Noise | None, inputs: Sequence[Tensor]) -> Tensor:
        heard = _Heard(noise)
        output = self.make.warm_up(lambda: work(heard, *inputs))
        self.warmed += 1
        if self.warmed == WARM_UPS:
            self.inputs = [torch.empty(each.shape, dtype=each.dtype, device=each.device) for each in inputs]
            self.noise = _Laid(heard.asked)
        return output

    def _captured(self, work: Work) -> Graph | None:
        try:
            return self.make(lambda: work(self.noise.again(), *self.inputs))
        except RuntimeError as error:
            self._give_up(str(error).strip().splitlines()[0])
            return None

    def _prove(self, work: Work, graph: Graph) -> Tensor:
        """Replay, then do the same eagerly from the same state, which is gone on with."""
        before = {name: value.clone() for name, value in self.network.tensors().items()}
        graph.replay()
        replayed = {"": graph.output.clone()} | {k: value.clone() for k, value in self.network.tensors().items()}
        for name, value in self.network.tensors().items():
            value.copy_(before[name])
        self.network.refresh()
        output = work(self.noise.again(), *self.inputs)
        if not torch.isfinite(output).all():  # which says nothing of the replay
            return output
        self.proved += 1
        difference = self._difference(before, {"": output} | self.network.tensors(), replayed)
        if difference > (0 if self.exact else TOLERANCE):
            self._give_up(f"a replay differs from the eager step by {difference:.2g} of what that changes")
        return output

    def _difference(self, before: dict[str, Tensor], eager: dict[str, Tensor], replayed: dict[str, Tensor]) -> float:
        """Of the output, of the network's tensors and of each kind of its optimisers': the largest difference, as a
        share of what the eager call changed; infinite where nothing should have changed and did. 0 for equal bits."""
        if all(torch.equal(value, replayed[name]) for name, value in eager.items()):
            return 0.0
        squares: dict[str, list[Tensor]] = {}
        for name, value in eager.items():
            kind = name.split("/")[0] if not name.startswith("optimiser") else name.split("/")[-1]
            changed = value.double() - before[name].double() if name else value.double()
            differs = value.double() - replayed[name].double()
            squares.setdefault(kind, []).append(torch.stack([differs.square().sum(), changed.square().sum()]))
        shares = [0.0]
        for each in squares.values():
            differs_sum, changed_sum = torch.stack(each).sum(0).tolist()
            if differs_sum:
                shares.append(math.sqrt(differs_sum / changed_sum) if changed_sum else math.inf)
        return math.inf if any(map(math.isnan, shares)) else max(shares)

    def _give_up(self, why: str) -> None:
        self.given_up, self.graph, self.inputs, self.noise = True, None, [], _Laid([])
        log.warning("%s of %s is launched kernel by kernel: %s", self.name, type(self.network).__name__, why)


class _Heard:
    """Noise that remembers what it was asked for."""

    def __init__(self, noise: Noise | None) -> None:
        self.noise = noise
        self.asked: list[tuple[str, tuple[int, ...], Tensor]] = []
        """The kind, the shape and what was given."""

    def normal(self, *shape: int) -> Tensor:
        return self._hear("normal", shape)

    def uniform(self, *shape: int) -> Tensor:
        return self._hear("uniform", shape)

    def _hear(self, kind: str, shape: tuple[int, ...]) -> Tensor:
        given: Tensor = getattr(self.noise, kind)(*shape)
        self.asked.append((kind, shape, given))
        return given


class _Laid:
    """Noise that lies where it always does, in the order in which it is asked for."""

    def __init__(self, asked: Sequence[tuple[str, tuple[int, ...], Tensor]]) -> None:
        self.asked = [(kind, shape) for kind, shape, _ in asked]
        self.places = [torch.empty(each.shape, dtype=each.dtype, device=each.device) for *_, each in asked]
        self.next = 0

    def lay(self, noise: Noise | None) -> None:
        """Draw it all."""
        for (kind, shape), place in zip(self.asked, self.places, strict=True):
            place.copy_(getattr(noise, kind)(*shape))

    def again(self) -> "_Laid":
        """From the first on."""
        self.next = 0
        return self

    def normal(self, *shape: int) -> Tensor:
        return self._take("normal", shape)

    def uniform(self, *shape: int) -> Tensor:
        return self._take("uniform", shape)

    def _take(self, kind: str, shape: tuple[int, ...]) -> Tensor:
        if self.next == len(self.asked) or self.asked[self.next] != (kind, shape):
            raise RuntimeError(f"noise is asked for in another order than before: {kind} {shape}")
        self.next += 1
        return self.places[self.next - 1]
