"""The configuration of a run: frozen, validated when it is built, saved with the run.

`auto` values are replaced by `raymix.recipes` (what depends on the data, and on how fast the machine is) and by the
runtime (what depends on the cluster); the result is a new `Config`, and that one is written to the run directory. A
family's own settings are a subclass of `FamilyConfig` in `raymix.families`.
"""

import itertools
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from raymix.errors import ConfigError
from raymix.metrics.catalogue import MEASURES

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Body = Literal["auto", "mlp", "conv"]
Widths = Annotated[tuple[Positive, ...], Field(min_length=1)]
if TYPE_CHECKING:
    Measure = str
else:
    Measure = Literal[("auto", *MEASURES)]

FIRST_ADAPTING = 2  # the first round in which K may change
LAST_FALLING = 4  # rounds at the end in which it only falls


class Frozen(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class DataConfig(Frozen):
    """The data set and how it is cut and scaled."""

    name: str = "digits"
    """A known data set (`raymix recipes` lists them), or `file` for whatever `path` holds."""
    path: str | None = None
    """A file or folder of rows, when `name` is `file`: a path, or s3://, gs:// and what else pyarrow reaches."""
    dir: str | None = None
    """Where the files of a known data set lie (or are downloaded to)."""
    labels: str | None = None
    """A file with one label per row; used for evaluation and by the `oracle` control only."""
    features: str | None = None
    """A file with the features of each row, such as an embedding, by which `schedule.begin: features` parts them."""
    columns: tuple[str, ...] | None = None
    """Names of the columns that make up a row, in order: which to read of a Parquet file (unset: all numbers), or what
    those of an array are called. A run keeps them, and matches by name what it is given later."""
    num_rows: Positive | None = None
    """Take the first rows only; of an embedded random data set, how many to draw."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of data sets that are drawn at random, and of the rows held out."""
    holdout: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of the rows that are never trained on, and take the test set's place in measures: one of every
    round(1 / share) rows."""
    block_bytes: Positive = 64 * 2**20
    """Largest size of a block."""
    offset: tuple[float, ...] | None = None
    """Subtracted from every value before training: one number, or one per column. Computed from the data when unset."""
    scale: tuple[float, ...] | None = None
    """Multiplies what is left: one number, or one per column, where 0 holds a column that never changes at its offset.
    Computed from the data when unset."""
    ground: str | None = None
    """What transparent images are shown on: white, black or #rrggbb, one for the data set. Unset (or auto) it is white
    under dark pictures and black under bright ones."""
    links_within: str | None = None
    """Follow links in the folder of `path`, to files and to folders, that end in this folder, such as a hub's cache.
    Unset: links to files in the folder itself."""

    @field_validator("columns")
    @classmethod
    def _columns_differ(cls, columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if columns is not None and (len(set(columns)) != len(columns) or not columns):
            raise ValueError("must be different names, one at least")
        return columns

    @field_validator("ground")
    @classmethod
    def _ground_is_a_colour(cls, ground: str | None) -> str | None:
        if ground is not None and not re.fullmatch("auto|white|black|#[0-9a-fA-F]{6}", ground):
            raise ValueError("must be auto, white, black or #rrggbb")
        return None if ground == "auto" else ground


class FamilyConfig(Frozen):
    """The generator's family and its settings.

    Kept open here; the registry in `raymix.models` holds the closed form of each family.
    """

    model_config = ConfigDict(extra="allow")

    family: str = "vae"
    """A family of generators; another one brings its own options."""

    def resolved(self, spec: Any) -> Self:
        """The settings with every `auto` fitted to a `DataSpec`; families that have any override it. Raises
        `ConfigError` for rows that the family cannot make."""
        return self

    def unfitted(self) -> Self:
        """The settings with what `resolved` fits to a row's shape back at `auto`."""
        return self

    @property
    def unbounded(self) -> tuple[str, str] | None:
        """Where resolved settings want scaled values in [0, 1]: the field that says so, and its choice for others."""
        return None

    @property
    def width(self) -> int:
        """Units of the widest layer of a generator with resolved settings; 0 for families that have no layers."""
        return 0

    def with_width(self, width: int) -> Self:
        """Resolved settings with layers scaled so that the widest has so many units; families that have layers override
        it. Raises `ConfigError`."""
        raise ConfigError(f"family {self.family} has no layers", "width", "vary another field")


class DiscriminatorConfig(Frozen):
    """The observers that estimate log ratios. They never send gradients to a generator."""

    trunk: Literal["separate", "shared"] = "separate"
    """A network per component, or one trunk with a head per component."""
    workers: Positive = 1
    """Actors that train and score a shared trunk together, each on its part of every batch and of the blocks."""
    body: Literal["auto", "mlp", "conv", "none", "if-needed"] = "auto"
    """Kind of network; `none` lets the generators judge: the family's own log-density, or its bound of it, takes the
    discriminator's place. `if-needed` is none where that can be, else auto."""
    widths: Widths | None = None
    """Units or filters per layer; unset: (50, 50) for mlp, (16, 32, 64) for conv."""
    kernel: Positive = 4
    """Side of the convolutions' filters."""
    batch_norm: bool = False
    """BatchNorm between the layers."""
    lowpass: Literal["auto"] | Annotated[int, Field(ge=0)] = "auto"
    """Side of the average pooling put on images before the network: odd, 0 for none, auto for about a sixth of the
    image."""
    restart: bool = True
    """Start each round from a new network and optimiser, or go on with the last (false)."""
    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Rows of the data set shown to each discriminator in a round, in epochs."""
    batch_size: Positive = 64
    """Real rows per step. A separate discriminator sees as many fakes, a shared trunk max(1, batch_size // K) per
    component."""
    fakes: Literal["auto"] | Positive = "auto"
    """Fresh samples of each generator per round; auto is N / K."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """Optimiser of the discriminators."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Its step size."""
    beta1: Fraction = 0.5
    """Adam's first moment decay."""
    beta2: Fraction = 0.999
    """Adam's second moment decay."""
    guard_loss: Annotated[float, Field(ge=0)] = 0.3
    """Stop a round's training once the smoothed loss falls below (chance is 0.693); 0 never stops."""
    guard_steps: Annotated[int, Field(ge=0)] = 20
    """Steps before the guard may stop."""

    def steps(self, num_rows: int) -> int:
        """Steps of one discriminator in a round, unless the guard stops it before."""
        return max(1, math.ceil(self.epochs * num_rows / self.batch_size))

    @model_validator(mode="after")
    def _workers_share_a_trunk(self) -> Self:
        if self.workers > 1 and (self.trunk != "shared" or self.batch_norm):
            raise ValueError("discriminator.workers above 1 need trunk shared and batch_norm false")
        return self

    @field_validator("lowpass")
    @classmethod
    def _lowpass_is_odd(cls, lowpass: str | int) -> str | int:
        if isinstance(lowpass, int) and lowpass and lowpass % 2 == 0:
            raise ValueError("must be odd or 0")
        return lowpass


class ScheduleConfig(Frozen):
    """Rounds and budgets. An epoch is N rows, shared by all components unless said otherwise."""

    rounds: Annotated[int, Field(ge=0)] = 8
    """Rounds after round 0, which judges only."""
    pretrain_epochs: Annotated[float, Field(ge=0)] = 10.0
    """Epochs of pre-training."""
    pretrain_budget: Literal["shared", "each"] = "shared"
    """Whether pretrain_epochs are shared by all components or given to each."""
    begin: Literal["pretrain", "centroids", "features"] = "pretrain"
    """Where the first partition comes from. pretrain: generators that pre-train alike are judged. Else k-means parts
    the rows first, by principal components of images or scaled vectors, or by the rows of `data.features`, and each
    generator pre-trains on its cell."""
    pretrain_on: Literal["whole", "split", "one"] = "whole"
    """Without cells to begin with, pre-train on the whole data set or on a random split of it. `one`: a single
    generator pre-trains on the whole data set with the budget of all, and the others begin as its copies."""
    epochs_per_round: Annotated[float, Field(gt=0)] = 6.0
    """Epochs of generator training per round, shared by all components."""
    batch_size: Positive = 64
    """Rows per step of a generator."""
    overlap: bool = False
    """Train generators while discriminators judge what they were before, on an assignment that is a round old: faster
    where both have processors or GPUs of their own, but rows settle later."""
    synchronous_rounds: Annotated[int, Field(ge=0)] = 4
    """Last rounds that do not overlap, so that the final assignment belongs to settled generators."""
    settle: Annotated[int, Field(ge=0)] = 0
    """Last rounds, at most half of all, that train each generator on the same rows; after the last one, rows go to
    whoever explains them best."""
    steps: Literal["equal", "proportional"] = "equal"
    """Every component takes the same number of steps, or in proportion to its shard."""
    on_divergence: Literal["fail", "restart", "drop"] = "fail"
    """What to do when a value of a component stops being finite: end the run, take the component back one round and
    halve its learning rate, or let it compete no longer."""
    evaluate_every: Annotated[int, Field(ge=0)] = 0
    """Evaluate after every so many rounds; 0 never does."""
    adapt: bool = False
    """Let the data say how many components there are: `num_components` is where it begins."""
    min_components: Positive = 1
    """As few may be left, with `adapt`."""
    max_components: Positive = 32
    """As many may become, with `adapt`; resources are reserved for so many."""
    best_metric: Measure = "auto"
    """Measure of `evaluate` by which the best generation is kept; auto is kde_log_likelihood for vectors and a Fréchet
    distance for images."""
    report: bool = True
    """Make report.html and samples.png at the end; `raymix report` makes them at any time."""

    def evaluates(self, round: int) -> bool:
        """Whether a round is evaluated."""
        return self.evaluate_every > 0 and (round % self.evaluate_every == 0 or round == self.rounds)

    def adapts(self, round: int) -> bool:
        """Whether components may come and go at the end of a round; the last rounds settle what there is."""
        return self.retires(round) and round <= self.rounds - LAST_FALLING

    def settles(self, round: int) -> bool:
        """Whether rows stay where they are at the end of a round."""
        return self.rounds - min(self.settle, self.rounds // 2) < round < self.rounds

    def retires(self, round: int) -> bool:
        """Whether components that are too small go at the end of a round."""
        return self.adapt and round >= FIRST_ADAPTING and not self.settles(round)


class EvaluationConfig(Frozen):
    """What `raymix evaluate` and `schedule.evaluate_every` measure."""

    num_samples: Positive = 10_000
    """Rows drawn from the mixture, and at most so many real rows that they are compared with."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of these rows."""
    features: Literal["auto", "classifier", "inception", "pixels", "none"] = "auto"
    """What images are compared by; auto is a classifier where the data has labels, else Inception where its weights
    are, else nothing."""
    inception_weights: str | None = None
    """File of pytorch-fid's Inception weights; unset: where pytorch-fid keeps them."""
    bandwidth: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """Standard deviation of the kernel density's Gaussians in data units; auto is 0.3 for the sets synthetic-*, else
    what suits the training rows best."""
    inversions: Annotated[int, Field(ge=0)] = 0
    """Held-out rows whose nearest sample is looked for by descent on the latent (IvOM); 0 leaves that out."""


class AssignConfig(Frozen):
    """How rows find their component."""

    normalise: Literal["auto"] | bool = "auto"
    """Subtract each component's log-sum-exp over the data set from its log ratios; auto does, but not from bounds."""
    margin: Annotated[float, Field(ge=0)] = 0.0
    """Nats by which another component must explain a row better before it moves: what is less may be the noise of
    discriminators that are new in each round."""


class BalanceConfig(Frozen):
    """Keeps components that win too little in training."""

    min_share: Fraction = 0.25
    """A component with fewer than min_share * N / K rows is lent its best other rows up to that many."""
    patience: Annotated[int, Field(ge=0)] = 0
    """A component starved for so many rounds in a row becomes a copy of the largest one and takes half of its rows, but
    for the last round; 0 never does that."""


class ResourcesConfig(Frozen):
    """What a run asks of the machine or cluster."""

    pack: Literal["auto"] | Positive = "auto"
    """Components per actor; auto is what is faster: all in one, or as few as fill the processors or GPUs there are."""
    fused: Literal["auto"] | bool = "auto"
    """Whether the components of an actor train as one batched model or one after another; auto is what is faster."""
    convolutions: Literal["auto", "grouped", "unfolded"] = "auto"
    """On GPUs: how a batched model convolves the images of all members, as groups of one convolution or as matrix
    products of their patches; auto is what is faster."""
    graphs: bool = True
    """On GPUs: launch each step as one CUDA graph instead of kernel by kernel."""
    compile: bool = False
    """Compile the networks of stacked components: slow to start, and its own rounding."""
    workers_per_component: Positive = 1
    """Actors that train one generator together, each on its part of every batch; each asks for as much as a component.
    For generators that outgrow one processor or GPU."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Arithmetic of products and convolutions: tf32 has 10 bits behind the point on GPUs and is float32 elsewhere,
    bfloat16 has 7 and is for training steps. Weights and optimisers stay float32."""
    score_precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of discriminators when they score; bfloat16 is faster on GPUs and rounds log ratios to about 1 %."""
    cpus_per_component: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """Processors a component asks for; auto is one per pack, or an equal fraction where there are fewer."""
    gpus_per_component: Literal["auto"] | Annotated[float, Field(ge=0)] = "auto"
    """GPUs a component asks for; auto shares out the cluster's GPUs so that none is idle, 0 stays on the CPU."""
    accelerator_type: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    """Use GPUs of this type alone, as Ray calls it (H200, L4, A100-40G); unset: of any."""
    threads: Positive = 1
    """Torch threads per process. Bits are promised for 1."""
    deterministic: bool = False
    """On GPUs: deterministic algorithms, so that bits repeat."""
    place_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds to wait for processors and GPUs that other work holds."""
    on_loss: Literal["move", "wait"] = "move"
    """What actors do whose node was lost: move to what is left, where they may have to share, or wait until there is
    room for them as before (a node comes back or joins), `stall_s` seconds at most, and move then."""
    stall_s: Annotated[float, Field(gt=0)] = 600.0
    """Seconds without progress after which a wait gives up."""

    @field_validator("workers_per_component")
    @classmethod
    def _workers_train_one_component(cls, workers: int, info: ValidationInfo) -> int:
        if workers > 1 and (info.data.get("pack") not in ("auto", 1) or info.data.get("compile")):
            raise ValueError("more than one need resources.pack 1 and resources.compile false")
        return workers


class Config(Frozen):
    """Everything that decides a run."""

    mode: Literal["compete", "bag", "single", "random", "oracle", "centroids"] = "compete"
    """compete is Algorithm 1; the others are controls with the same budget: fixed random subsets, one generator,
    a new random assignment each round, the true labels, the fixed cells of k-means."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Every random number of the run comes from it."""
    num_components: Positive = 8
    """K. Mode `single` trains one generator with the budget of K."""
    data: DataConfig = DataConfig()
    model: SerializeAsAny[FamilyConfig] = FamilyConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    assign: AssignConfig = AssignConfig()
    balance: BalanceConfig = BalanceConfig()
    resources: ResourcesConfig = ResourcesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _overlap_has_discriminators(self) -> Self:
        if self.schedule.overlap and self.own_density:
            raise ValueError("schedule.overlap needs discriminators, and discriminator.body is none")
        return self

    @model_validator(mode="after")
    def _adapts_by_log_ratios_alone(self) -> Self:
        schedule = self.schedule
        if not schedule.adapt:
            return self
        if not self.competes or self.own_density:
            raise ValueError("schedule.adapt needs discriminators: mode compete and discriminator.body not none")
        if not self.assign.normalise:
            raise ValueError("schedule.adapt needs assign.normalise true, to compare components that share rows")
        if self.assign.margin:
            raise ValueError("schedule.adapt needs assign.margin 0: who retires or splits leaves rows to the best")
        if schedule.overlap:
            raise ValueError(
                "schedule.adapt needs schedule.overlap false: copies come from generators that are trained"
            )
        if self.balance.patience:
            raise ValueError("schedule.adapt needs balance.patience 0: it takes small components away itself")
        if not schedule.min_components <= self.num_components <= schedule.max_components:
            raise ValueError(
                f"schedule.adapt needs num_components ({self.num_components}) between schedule.min_components "
                f"({schedule.min_components}) and schedule.max_components ({schedule.max_components})"
            )
        return self

    @property
    def components(self) -> tuple[int, ...]:
        """Ids of the components that the run begins with."""
        return (0,) if self.mode == "single" else tuple(range(self.num_components))

    @property
    def most_components(self) -> int:
        """As many may there be at a time."""
        return self.schedule.max_components if self.schedule.adapt else len(self.components)

    def packs(self, components: Sequence[int]) -> list[tuple[int, ...]]:
        """Which of the components share an actor, as equal in number as can be; all while `resources.pack` is auto."""
        pack, num = self.resources.pack, len(components)
        groups = 1 if pack == "auto" else math.ceil(num / pack)
        cuts = [num * i // max(1, groups) for i in range(groups + 1)]
        return [tuple(components[a:b]) for a, b in itertools.pairwise(cuts) if a < b]

    @model_validator(mode="after")
    def _begins_with_what_there_is(self) -> Self:
        if self.schedule.begin == "features" and self.data.features is None:
            raise ValueError("schedule.begin features needs data.features, a file with a row for each row")
        if self.competes and self.schedule.pretrain_on == "one" and not self.has_cells:
            raise ValueError("schedule.pretrain_on one needs schedule.begin centroids or features to part its copies")
        if self.competes and not self.assigns(self.schedule.rounds):
            raise ValueError(
                "schedule.rounds 0 leaves generators that are alike; train them apart for one round at least"
            )
        return self

    @property
    def competes(self) -> bool:
        """Whether rows are assigned by log ratios, and so whether discriminators exist."""
        return self.mode == "compete"

    @property
    def has_cells(self) -> bool:
        """Whether k-means parts the rows before anything is trained."""
        return self.mode == "centroids" or (self.competes and self.schedule.begin != "pretrain")

    @property
    def keeps(self) -> bool:
        """Whether rows stay where they are when nobody judges them."""
        return self.competes or self.mode == "centroids"

    def assigns(self, round: int) -> bool:
        """Whether rows are judged and go to whoever explains them best at the end of a round. They stay in their cells
        until generators differ, and in rounds that settle."""
        alike = self.schedule.pretrain_on == "one" or self.schedule.pretrain_epochs == 0
        first = 1 if self.has_cells and alike else 0
        return self.competes and round >= first and not self.schedule.settles(round)

    def overlaps(self, round: int) -> bool:
        """Whether the discriminators of a round judge while its generators train."""
        last = self.schedule.rounds - self.schedule.synchronous_rounds
        judged = self.assigns(round) and self.assigns(round - 1)  # before, too, or generators may still be alike
        return self.schedule.overlap and 1 <= round <= last and judged

    @property
    def own_density(self) -> bool:
        """Whether the family's own log-density, or its bound of it, takes the discriminators' place."""
        return self.discriminator.body == "none"
