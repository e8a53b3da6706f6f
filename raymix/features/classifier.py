"""Features for the "FD-classifier": a small network that learns a data set's own labels.

It is trained once per data set from a fixed seed, on a GPU or on one thread of the CPU, and kept in the cache.

Shapes: n images, (C, H, W) of an image, D features, L classes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raymix.cache import Kept, cache_file, keep, kept, tensors_hash
from raymix.config import DataConfig
from raymix.data.open import open_test_source
from raymix.data.source import Block, Source
from raymix.errors import DataError
from raymix.families.shapes import is_large_image
from raymix.features.base import (
    Features,
    Progress,
    ToUnit,
    arrays_of,
    as_it_comes,
    ignore_progress,
    to_unit,
    whole_set,
)
from raymix.models.seeded import seeded_build
from raymix.seeds import numpy_rng

VERSION = 1  # of everything below that decides the weights
NUM_FEATURES = 64
SIDE = 32  # images are averaged down to about this side
HELD_OUT = 10  # every such row, where there is no test split
SEED = 0
BATCH = 64
ROWS_SHOWN = 120_000
LEARNING_RATE = 3e-3
REPORT_EVERY = 25  # steps


@dataclass(frozen=True)
class Classifier:
    """A classifier of a data set's images: its features, and the classes it names."""

    features: Features
    last: nn.Linear
    """(n, D) -> (n, L) logits, on the CPU."""
    classes: tuple[str, ...]
    """Names of the classes in the order of their numbers."""
    test_accuracy: float
    """Share of rows it was not trained on that it names rightly, 0 to 1."""

    def predict(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """(n,) class numbers of images (n, C, H, W) in data units. Raises `DataError` for another shape."""
        return named(self.features(rows), self.last)


def classifier(
    data: DataConfig,
    device: torch.device | str = "cpu",
    *,
    cache: Path | None = None,
    progress: Progress = ignore_progress,
) -> Classifier:
    """The classifier of a labelled data set of images: from the cache, or trained now on all training rows of the set.

    `progress` is told of the steps when it is trained. Raises `DataError` for rows that are no images, and for sets
    without labels or with a single class.
    """
    source = whole_set(data)
    spec = source.spec
    if len(spec.classes) < 2:
        what = "has a single class" if spec.classes else "has no labels to train a classifier on"
        raise DataError(what, spec.name, "give data.labels, or take inception or pixel features")
    split = split_rows(data, source)
    data_hash = hash_of(split)
    path = cache_file(f"features/classifier-v{VERSION}-{data_hash}.safetensors", cache)
    found = kept(path)
    if found is None:
        unit = to_unit(data, spec)
        found = trained(split, spec.row_shape, len(spec.classes), unit, spec.name, torch.device(device), progress)
        keep(path, found.tensors, found.about | {"data_hash": data_hash, "version": VERSION})
    network = build(spec.row_shape, len(spec.classes))
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in found.tensors.items()})
    definition = found.about["definition"]
    features = Features("classifier", definition, NUM_FEATURES, spec.row_shape, network.body, torch.device(device))
    return Classifier(features, network.last, spec.classes, found.about["test_accuracy"])


# ---- rows


class Split(NamedTuple):
    """Rows to train on, and others to test on."""

    train: Block
    test: Block
    told: str
    """What the others are, for people."""


def split_rows(data: DataConfig, source: Source) -> Split:
    """Training rows and the test split's; where that is absent or labelled otherwise, every 10th row is held out."""
    whole = source.read(0, source.spec.num_rows)
    test = None if data.labels else open_test_source(as_it_comes(data))
    if test is not None and test.spec.classes == source.spec.classes:
        return Split(whole, test.read(0, test.spec.num_rows), f"its {test.spec.num_rows:,} test rows")
    assert whole.labels is not None
    held_out = np.arange(len(whole.rows)) % HELD_OUT == 0
    train, rest = (Block(whole.rows[chosen], whole.labels[chosen]) for chosen in (~held_out, held_out))
    return Split(train, rest, f"every {HELD_OUT}th row, held out")


def hash_of(split: Split) -> str:
    """Identity of the rows and labels."""
    blocks = {"train": split.train, "test": split.test}
    return tensors_hash({f"{name}/{part}": each for name, block in blocks.items() for part, each in named_parts(block)})


def named_parts(block: Block) -> list[tuple[str, NDArray[Any]]]:
    assert block.labels is not None
    return [("rows", block.rows), ("labels", block.labels)]


# ---- network


class Network(nn.Module):
    """Images in data units -> features -> logits."""

    def __init__(self, row_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        channels, height, width = row_shape
        if is_large_image(row_shape):
            factor = math.ceil(min(height, width) / SIDE)
            inner: list[nn.Module] = [nn.AvgPool2d(factor)] if factor > 1 else []
            for inputs, outputs in ((channels, 32), (32, 64)):
                inner += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()]
            num = 64 * (height // factor // 4) * (width // factor // 4)
            inner.append(nn.Flatten())
        else:
            inner, num = [nn.Flatten(), nn.Linear(math.prod(row_shape), 128), nn.ReLU()], 128
        self.body = nn.Sequential(ToUnit(), *inner, nn.Linear(num, NUM_FEATURES), nn.ReLU())
        self.body.to(memory_format=torch.channels_last)
        self.last = nn.Linear(NUM_FEATURES, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(self.body(images))
        return logits


def build(row_shape: tuple[int, ...], num_classes: int) -> Network:
    """A network with the seed's first parameters."""
    return seeded_build(lambda: Network(row_shape, num_classes), SEED)


def described(row_shape: tuple[int, ...]) -> str:
    """The network, for people."""
    if not is_large_image(row_shape):
        return "a perceptron with another layer of 128 units"
    factor = math.ceil(min(row_shape[1:]) / SIDE)
    averaged = f" after averages over {factor} x {factor} pixels" if factor > 1 else ""
    return f"a network of 3 x 3 convolutions of 32 and 64 filters{averaged}"


def named(features_nD: NDArray[np.float32], last: nn.Linear) -> NDArray[np.int64]:
    """(n,) the class of the largest logit."""
    with torch.inference_mode():
        numbers: NDArray[np.int64] = last(torch.from_numpy(features_nD)).argmax(1).numpy()
    return numbers


# ---- training


def trained(
    split: Split,
    row_shape: tuple[int, ...],
    num_classes: int,
    unit: ToUnit,
    name: str,
    device: torch.device,
    progress: Progress,
) -> Kept:
    """A trained network's tensors, and what there is to say of it."""
    network = build(row_shape, num_classes)
    network.body[0] = unit
    train(network.to(device), split.train, device, progress)
    network.cpu()
    features = Features("classifier", "", NUM_FEATURES, row_shape, network.body)
    accuracy = float((named(features(split.test.rows), network.last) == split.test.labels).mean())
    definition = (
        f"classifier: the {NUM_FEATURES} ReLU outputs before the last layer of {described(row_shape)}, trained on the "
        f"labels of {len(split.train.rows):,} rows of {name}; accuracy {accuracy:.4f} on {split.told}"
    )
    return Kept(arrays_of(network), {"definition": definition, "test_accuracy": accuracy})


def train(network: Network, block: Block, device: torch.device, progress: Progress) -> None:
    """Adam with one cycle of its step size (Smith and Topin, 2018), over batches of rows in random order."""
    rows, labels = block
    assert labels is not None
    rng, steps = numpy_rng(SEED), ROWS_SHOWN // BATCH
    order = np.concatenate([rng.permutation(len(rows)) for _ in range(math.ceil(ROWS_SHOWN / len(rows)))])
    adam = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, LEARNING_RATE, total_steps=steps)
    network.train()
    with one_thread():
        for step in range(steps):
            numbers = order[step * BATCH : (step + 1) * BATCH]
            logits = network(torch.from_numpy(rows[numbers]).to(device).float())
            loss = F.cross_entropy(logits, torch.from_numpy(labels[numbers]).to(device))
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
            if (step + 1) % REPORT_EVERY == 0:
                progress(step + 1, steps)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order: the bits do not depend on how many processors there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
