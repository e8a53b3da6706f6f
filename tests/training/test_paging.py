"""Paged blocks give the bits of blocks that are held, and look at few of them at a time."""

import weakref

import numpy as np
import pytest
import torch

from raymix.training.batches import Draws, RowView, Scaler, all_batches
from raymix.training.paging import PagedBlocks

PLAIN = Scaler(torch.tensor(0.0), torch.tensor(1.0), torch.float32)
SIZES, STEPS, BATCH = (30, 1, 0, 25, 44), 40, 8
ROW_BYTES = 3 * 8


class Shelf:
    """Blocks of rows that are copied anew at each look, as if they came from elsewhere."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.blocks = [rng.random((size, 3)) for size in SIZES]
        self.looks: list[int] = []
        self.lent: list[weakref.ref] = []
        self.most_lent = 0

    def fetch(self, block: int) -> np.ndarray:
        rows = self.blocks[block].copy()
        self.looks.append(block)
        self.lent = [ref for ref in self.lent if ref() is not None] + [weakref.ref(rows)]
        self.most_lent = max(self.most_lent, len(self.lent))
        return rows

    def paged(self, ahead_bytes: int) -> PagedBlocks:
        return PagedBlocks(SIZES, (3,), np.dtype(np.float64), self.fetch, ahead_bytes)


def drawn(views: list[RowView], leave: int) -> list[torch.Tensor]:
    """All batches of two members, of which one goes after some steps."""
    draws = Draws(views, [np.random.default_rng(m) for m in range(2)], PLAIN, BATCH, STEPS)
    found = [draws.batch() for _ in range(leave)]
    draws.keep([1])
    return found + [draws.batch() for _ in range(STEPS - leave)]


@pytest.mark.parametrize("ahead_bytes", [0, 1, 7 * 2 * BATCH * ROW_BYTES, 10**9])
@pytest.mark.parametrize("leave", [1, 7, 39])
def test_batches_are_those_of_blocks_that_are_held(ahead_bytes, leave, monkeypatch):
    monkeypatch.setattr("raymix.training.batches.CHUNK_BYTES", 3 * BATCH * 3 * 4)
    shelf = Shelf()
    chosen = [np.arange(0, size, 2) for size in SIZES]
    paged = shelf.paged(ahead_bytes)
    for rows in (None, chosen):
        expected = drawn([RowView(shelf.blocks, None), RowView(shelf.blocks, rows)], leave)
        found = drawn([RowView(paged, None), RowView(paged, rows)], leave)
        assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    assert shelf.most_lent <= 2  # the last one, and one that is just let go


def test_a_pass_looks_at_each_block_once_for_all_members(monkeypatch):
    monkeypatch.setattr("raymix.training.batches.CHUNK_BYTES", 1)
    shelf = Shelf()
    paged = shelf.paged(20 * 2 * BATCH * ROW_BYTES)  # half of the steps
    draws = Draws([RowView(paged, None)] * 2, [np.random.default_rng(m) for m in range(2)], PLAIN, BATCH, STEPS)
    for _ in range(2):
        shelf.looks.clear()
        for _ in range(20):
            draws.batch()
        assert shelf.looks == sorted(set(shelf.looks)) and {0, 3, 4} <= set(shelf.looks)


def test_rows_in_order_look_at_each_block_once():
    shelf = Shelf()
    rows = torch.cat(list(all_batches(RowView(shelf.paged(0), None), PLAIN, 7)))
    np.testing.assert_array_equal(rows.numpy(), np.concatenate(shelf.blocks).astype(np.float32))
    assert shelf.looks == [0, 1, 3, 4]
