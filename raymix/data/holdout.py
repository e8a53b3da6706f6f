"""Rows kept from training: one of every m, so that objectives can be measured on rows no component ever saw.

Within each m rows that follow each other one is drawn by the seed, so any range can be read without a list of the rest.

Shapes: n rows of a range.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raymix.data.source import Block, DataSpec, Source
from raymix.errors import DataError
from raymix.seeds import numpy_rng


@dataclass(frozen=True)
class HeldRows:
    """Rows of a source: those held out, or those held in."""

    whole: Source
    every: int
    """m: one row of so many is held out."""
    seed: int
    held_out: bool

    @property
    def spec(self) -> DataSpec:
        """Raises `DataError` when none would be held out."""
        whole = self.whole.spec
        held = whole.num_rows // self.every
        if held == 0:
            raise DataError(
                f"{whole.num_rows} rows are too few to hold one out of {self.every}", whole.name, "raise data.holdout"
            )
        return replace(whole, num_rows=held if self.held_out else whole.num_rows - held)

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.whole.settings

    @property
    def notes(self) -> tuple[str, ...]:
        return self.whole.notes

    def read(self, start: int, stop: int) -> Block:
        """Rows start <= i < stop of these. Raises `DataError` with file and row."""
        numbers = self.numbers(start, stop)
        if len(numbers) == 0:
            return self.whole.read(0, 0)
        first = int(numbers[0])
        block = self.whole.read(first, int(numbers[-1]) + 1)
        labels = None if block.labels is None else block.labels[numbers - first]
        return Block(block.rows[numbers - first], labels)

    def where(self, row: int) -> str:
        return self.whole.where(int(self.numbers(row, row + 1)[0]))

    def numbers(self, start: int, stop: int) -> NDArray[np.int64]:
        """(n,) numbers in the whole source of rows start <= i < stop of these; those after its last full m rows are
        not held out."""
        rows = np.arange(start, stop)
        if self.held_out:
            return rows * self.every + self._places(rows)
        strata = np.minimum(rows // (self.every - 1), self.whole.spec.num_rows // self.every)
        offsets = rows - strata * (self.every - 1)
        full = strata < self.whole.spec.num_rows // self.every
        return strata * self.every + offsets + (full & (offsets >= self._places(strata)))

    def _places(self, strata: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which row of a stratum is held out, from 0: SplitMix64 (Steele et al., 2014) of its number and the seed."""
        golden = 0x9E3779B97F4A7C15
        start = np.uint64(numpy_rng(self.seed).integers(2**64, dtype=np.uint64))
        mixed = start + strata.astype(np.uint64) * np.uint64(golden)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
        return (mixed % np.uint64(self.every)).astype(np.int64)


def held_rows(whole: Source, share: float, seed: int) -> tuple[HeldRows, HeldRows]:
    """(Rows to train on, rows held out), about `share` of all; one of every round(1 / share)."""
    every = max(2, round(1 / share))
    return HeldRows(whole, every, seed, held_out=False), HeldRows(whole, every, seed, held_out=True)
