"""Bytes and arithmetic of a run, from its config, its data and the footprints of its networks. Pure arithmetic.

Sizes of processes were measured (Linux x86-64, Python 3.11, torch 2.15 built for CUDA, Ray 2.60): what is a process's
own, and apart from it the pages of torch's libraries, which all processes of a node share. Those of processes that use
a GPU were not, but for the tensors of an eager step: what CUDA and its graphs take is a guess.

N rows, K components; pages of the object store are never counted with a process.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from raymix.budgets import num_fakes
from raymix.config import Config
from raymix.data.source import DataSpec, block_bounds
from raymix.maths.balance import BINS
from raymix.planning.footprint import Footprint
from raymix.recipes.packing import has_separate_discriminators
from raymix.search.match import round_rows
from raymix.training.batches import CHUNK_BYTES
from raymix.training.discriminators import SCORE_BATCH
from raymix.training.generators import SAMPLE_BATCH, SAMPLES_BYTES

MIB = 2**20
PROCESS_BYTES = 105 * MIB  # a worker of Ray's with raymix's modules, without torch
TORCH_BYTES = 365 * MIB  # the same with torch
EVALUATOR_BYTES = 580 * MIB  # the same with what measures and draws
LIBRARIES_BYTES = 410 * MIB  # of torch, once per node
DAEMONS_BYTES = 230 * MIB  # Ray's own processes of a node
GPU_CONTEXT_BYTES = 600 * MIB  # of a GPU, that each process takes for CUDA itself
REPLAYED = 2  # graphs keep their own tensors, and the first replays are made twice, from a copy of the state
KEPT = 1.25  # what kernels use beside tensors, and freed memory that the allocator keeps
CHUNK_COPIES = 4  # of a chunk of batches: as it was read, scaled in two steps, and in the model's type
SCORE_COPIES = 4  # of a block's log ratios until they have left for the object store
WINNER_BYTES, CLASS_BYTES, RATIO_BYTES, SAMPLE_BYTES, INDEX_BYTES = 4, 8, 4, 4, 8
FEWEST_HELPERS = 4  # block tasks at a time on a node of few processors, else one for each; as `lookout.LEAST_WIDTH`
PASSES = 2  # of the balance over a starved component's keys


@dataclass(frozen=True)
class DataPlane:
    """What lies in the object store, in bytes over all blocks."""

    num_blocks: int
    rows: int
    """The data set."""
    classes: int
    """Its known labels."""
    labels: int
    """The assignment."""
    log_ratios: int
    """Log ratios of all components, K x N float32."""
    fakes: int
    """Samples of all generators that discriminators see in a round."""
    largest_block: int
    """Rows of the largest block."""

    @property
    def while_judged(self) -> int:
        """While discriminators train."""
        return self.rows + self.classes + self.labels + self.fakes

    @property
    def while_assigned(self) -> int:
        """While rows are assigned: beside the log ratios the assignments before and after, and each row's winner."""
        return self.rows + self.classes + 3 * self.labels + self.log_ratios

    @property
    def peak(self) -> int:
        """At most at a time."""
        return max(self.while_judged, self.while_assigned)


def data_plane(config: Config, spec: DataSpec) -> DataPlane:
    """What a run of a resolved config keeps there."""
    num, K = spec.num_rows, config.most_components
    has_discriminators = config.competes and not config.own_density
    bounds = block_bounds(spec, config.data.block_bytes)
    fakes = K * num_fakes(config, num, K) * math.prod(spec.row_shape) * SAMPLE_BYTES if has_discriminators else 0
    return DataPlane(
        num_blocks=len(bounds),
        rows=num * spec.row_bytes,
        classes=num * CLASS_BYTES if spec.classes else 0,
        labels=num * WINNER_BYTES,
        log_ratios=K * num * RATIO_BYTES if config.competes else 0,
        fakes=fakes,
        largest_block=max(stop - start for start, stop in bounds) * spec.row_bytes,
    )


@dataclass(frozen=True)
class Memory:
    """What one actor takes."""

    host_bytes: int
    gpu_bytes: int = 0


def generator_memory(config: Config, spec: DataSpec, one: Footprint, members: int, rank: int, on_gpu: bool) -> Memory:
    """What the actor that holds a pack's generators takes at its fullest, as the worker of this number."""
    together = members if config.resources.fused is not False else 1
    num, row_bytes = num_fakes(config, spec.num_rows, config.most_components), _sample_bytes(spec)
    drawn = min(members, max(1, SAMPLES_BYTES // max(1, num * row_bytes)))  # as `GeneratorPack.groups` has it
    rows = min(num, SAMPLE_BATCH)
    train = together * (one.step.num_bytes + _chunk_bytes(spec, config.schedule.batch_size))
    samples = 2 * drawn * num * row_bytes  # in pieces, and as one array
    sample = min(drawn, together) * one.batch.num_bytes * rows // SAMPLE_BATCH + samples
    if config.own_density:
        batch = max(64, SCORE_BATCH // together) * together
        samples, sample = 0, one.batch.num_bytes * batch // SAMPLE_BATCH
    commit = members * one.state_bytes + 2 * one.file_bytes
    index = members * INDEX_BYTES * spec.num_rows // config.most_components
    state = members * one.state_bytes
    if on_gpu and config.resources.graphs:
        train = REPLAYED * (train + state)
    if rank > 0:
        return _memory(train, index, state, on_gpu)
    return _memory(max(train, sample) if config.competes else train, max(commit, samples) + index, state, on_gpu)


def discriminator_memory(config: Config, spec: DataSpec, one: Footprint, members: int, on_gpu: bool) -> Memory:
    """What an actor with discriminators takes at its fullest: those of `members` components, or the trunk of all."""
    shared = config.discriminator.trunk == "shared"
    networks = 1 if shared else members
    together = networks if config.resources.fused is not False else 1
    settings = config.discriminator
    heads = config.most_components if shared else 1
    fakes = heads * max(1, settings.batch_size // heads)
    chunks = _chunk_bytes(spec, settings.batch_size) + heads * _chunk_bytes(spec, fakes // heads)
    train = together * (one.step.num_bytes // settings.workers + chunks)
    block_rows = data_plane(config, spec).largest_block // spec.row_bytes
    batch = max(64, SCORE_BATCH // together) * together
    score = one.batch.num_bytes * batch // SCORE_BATCH + SCORE_COPIES * together * heads * block_rows * RATIO_BYTES
    state = networks * one.state_bytes
    if on_gpu and config.resources.graphs:
        train = REPLAYED * (train + state)
    return _memory(max(train, score), state + 2 * one.file_bytes, state, on_gpu)


def _memory(working: int, on_host: int, state: int, on_gpu: bool) -> Memory:
    """`working`: where the networks are; `on_host`: beside them, at another time."""
    if on_gpu:
        return Memory(TORCH_BYTES + int(KEPT * on_host), GPU_CONTEXT_BYTES + state + int(KEPT * working))
    return Memory(TORCH_BYTES + state + int(KEPT * max(working, on_host)))


def _sample_bytes(spec: DataSpec) -> int:
    return math.prod(spec.row_shape) * SAMPLE_BYTES


def _chunk_bytes(spec: DataSpec, batch_size: int) -> int:
    """A member's batches that are gathered at a time, while they are scaled."""
    batch = batch_size * _sample_bytes(spec)
    return CHUNK_COPIES * max(1, CHUNK_BYTES // batch) * batch


def helper_bytes(data: DataPlane) -> int:
    """Memory of one process that reads or assigns a block."""
    return PROCESS_BYTES + data.largest_block


def generation_bytes(config: Config, spec: DataSpec, generator: Footprint, discriminator: Footprint | None) -> int:
    """Size of the files of one round."""
    K = config.most_components
    files = K if has_separate_discriminators(config) else 1
    discriminators = 0 if discriminator is None else files * discriminator.file_bytes
    bits = max(1, math.ceil(math.log2(K))) if K > 1 else 0
    return K * generator.file_bytes + discriminators + spec.num_rows * bits // 8


@dataclass(frozen=True)
class Work:
    """Floating-point operations of one round."""

    generators: float
    """All generators' work, samples or what they judge included."""
    samples: float
    """What of it is for samples, which the first of a component's workers draws."""
    discriminators: float
    """All discriminators' work, scoring included."""


def round_work(config: Config, spec: DataSpec, generator: Footprint, discriminator: Footprint | None) -> Work:
    """The work of a round with equal loads and discriminators that no guard stops."""
    num, K = spec.num_rows, config.most_components
    trained = round_rows(config, spec) * generator.step.flops / config.schedule.batch_size
    if discriminator is None:
        judged = K * num * generator.batch.flops / SAMPLE_BATCH if config.competes else 0.0
        return Work(trained + judged, 0.0, 0.0)
    sampled = K * num_fakes(config, num, K) * generator.batch.flops / SAMPLE_BATCH
    networks = K if has_separate_discriminators(config) else 1
    each = config.discriminator.steps(num) * discriminator.step.flops + num * discriminator.batch.flops / SCORE_BATCH
    return Work(trained + sampled, sampled, networks * each)


@dataclass(frozen=True)
class Resident:
    """What the actors of one node see in a round, and what they make of it, in bytes."""

    node: str
    trains: bool
    """Whether generators train here, which see rows and the assignment."""
    trunk: bool
    """Whether the shared trunk trains here, which sees rows and the samples of all generators."""
    fakes: int
    """Samples."""
    log_ratios: int
    files: int
    """Tensors of a checkpoint."""

    @property
    def reads(self) -> bool:
        """Whether blocks are needed here."""
        return self.trains or self.trunk


def store_on(node: Resident, data: DataPlane, is_home: bool) -> int:
    """Bytes of the object store on one node, at its fullest. `is_home`: the node where the coordinator is, and blocks
    are read and the assignment kept."""
    reads = is_home or node.reads
    rows, assignment = (data.rows, data.labels) if reads else (0, 0)
    fakes, classes = data.fakes if node.trunk else node.fakes, data.classes if is_home else 0
    assigns = 2 * data.labels if is_home or node.log_ratios else 0
    return rows + classes + assignment + max(fakes, node.log_ratios + assigns)


@dataclass(frozen=True)
class Traffic:
    """Bytes that pass between nodes in a round."""

    first_rows: int
    """Blocks, in the first round: every node that has actors needs each of them once."""
    rows: int
    """Blocks in a later round: again where a node's object store cannot keep them."""
    fakes: int
    """Samples, to a trunk on another node."""
    log_ratios: int
    """To the node where a block's rows are assigned."""
    labels: int
    """Assignments, to the generators' nodes."""
    summaries: int
    """To the coordinator, at most: sums, counts, and the histograms of starved components."""
    checkpoint: int
    """Tensors, to the storage or the node that reaches it."""

    @property
    def later(self) -> int:
        """In a round after the first."""
        parts = (self.rows, self.fakes, self.log_ratios, self.labels, self.summaries, self.checkpoint)
        return sum(parts)


def traffic(
    config: Config,
    data: DataPlane,
    residents: Sequence[Resident],
    home: str,
    short: Collection[str],
    local_storage: bool,
) -> Traffic:
    """`home`: the node of the coordinator. `short`: nodes whose object store cannot hold what they need."""
    away = [node for node in residents if node.node != home]
    reading = [node for node in away if node.reads]
    trunks = [node for node in residents if node.trunk]
    pieces = config.most_components * data.num_blocks
    starved = PASSES * BINS * 8 if config.competes and config.balance.min_share else 0
    return Traffic(
        first_rows=len(reading) * data.rows,
        rows=sum(node.node in short for node in reading) * data.rows,
        fakes=sum(data.fakes - node.fakes for node in trunks),
        log_ratios=0 if trunks else data.log_ratios - max(node.log_ratios for node in residents),
        labels=sum(node.trains for node in away) * data.labels,
        summaries=pieces * (3 * 8 + starved) if len(residents) > 1 else 0,
        checkpoint=sum(node.files for node in (away if local_storage else residents)),
    )
