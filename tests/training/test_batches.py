"""Views and batches against plain indexing on the concatenation of all blocks."""

import warnings

import numpy as np
import pytest
import torch

from raymix.config import DataConfig
from raymix.data.source import DataSpec
from raymix.training import batches
from raymix.training.batches import RowView, Scaler, all_batches, drawn_batches

CPU = torch.device("cpu")
PLAIN = Scaler(torch.tensor(0.0), torch.tensor(1.0), torch.float32)


def blocks_of(sizes, row_shape=(2,), dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.random((size, *row_shape)) * 200).astype(dtype) for size in sizes]


def scaler(offset, scale, dtype=torch.float32):
    spec = DataSpec("file", 10, (len(scale),), "float64")
    return Scaler.of(DataConfig(offset=offset, scale=scale), spec, CPU, dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("sizes", [[9], [1], [3, 4, 2], [1, 1, 1], [5, 0, 3]])
@pytest.mark.parametrize("row_shape", [(2,), (1, 3, 2)])
def test_view_equals_indexing_the_concatenation(sizes, row_shape, dtype):
    rng = np.random.default_rng(1)
    blocks = blocks_of(sizes, row_shape, dtype)
    chosen = [np.flatnonzero(rng.random(size) < 0.7) for size in sizes]
    chosen[0] = np.arange(sizes[0])
    everything = np.concatenate(blocks)
    starts = np.cumsum([0, *sizes])
    subset = np.concatenate([rows + start for rows, start in zip(chosen, starts, strict=False)])
    for view, rows in ((RowView(blocks, None), everything), (RowView(blocks, chosen), everything[subset])):
        assert len(view) == len(rows)
        numbers = rng.integers(0, len(rows), 25)  # in no order, with repeats
        taken = view.take(numbers).numpy()
        assert taken.dtype == dtype
        np.testing.assert_array_equal(taken, rows[numbers])


def test_view_of_no_rows_is_empty():
    view = RowView(blocks_of([3, 2]), [np.empty(0, np.int64)] * 2)
    assert len(view) == 0
    assert view.take(np.empty(0, np.int64)).shape == (0, 2)


@pytest.mark.parametrize("sizes", [[6], [2, 4]])
def test_taken_rows_lie_in_torchs_own_memory(sizes):
    blocks = blocks_of(sizes)
    for block in blocks:
        block.flags.writeable = False  # as the object store gives them
    before = [block.copy() for block in blocks]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = RowView(blocks, None).take(np.arange(6))
        batch = next(all_batches(RowView(blocks, None), PLAIN, 6))
    rows.fill_(-1)
    batch.fill_(-1)
    for block, old in zip(blocks, before, strict=True):
        np.testing.assert_array_equal(block, old)


def test_all_batches_give_every_row_once_in_order():
    blocks = blocks_of([3, 4, 2])
    parts = list(all_batches(RowView(blocks, None), PLAIN, 4))
    assert [len(part) for part in parts] == [4, 4, 1]
    np.testing.assert_array_equal(torch.cat(parts).numpy(), np.concatenate(blocks))


def numbered_view(num_rows):
    return RowView([np.arange(num_rows, dtype=np.float32)[:, None]], None)


def test_drawn_batches_are_drawn_with_replacement_and_evenly():
    num_rows, steps, size = 20, 500, 16
    drawn = list(drawn_batches(numbered_view(num_rows), PLAIN, steps, size, np.random.default_rng(0)))
    assert [tuple(batch.shape) for batch in drawn] == [(size, 1)] * steps
    assert any(len(set(batch.flatten().tolist())) < size for batch in drawn)  # a row twice in one batch
    counts = np.bincount(torch.cat(drawn).flatten().long().numpy(), minlength=num_rows)
    mean = steps * size / num_rows
    assert np.abs(counts - mean).max() <= 5 * np.sqrt(mean)  # binomial, 5 standard deviations


def test_drawn_batches_may_exceed_the_shard():
    drawn = next(drawn_batches(numbered_view(1), PLAIN, 1, 8, np.random.default_rng(0)))
    assert drawn.shape == (8, 1)


def test_drawn_batches_follow_the_seed_and_not_the_chunks(monkeypatch):
    def drawn(seed):
        return torch.cat(list(drawn_batches(numbered_view(50), PLAIN, 7, 4, np.random.default_rng(seed))))

    whole = drawn(0)
    assert not torch.equal(whole, drawn(1))
    monkeypatch.setattr(batches, "CHUNK_BYTES", 2 * 4 * 4)  # two batches of four rows of four bytes
    assert torch.equal(whole, drawn(0))


def test_drawn_batches_do_not_depend_on_the_cut_into_blocks():
    rows = np.random.default_rng(0).random((12, 2)).astype(np.float32)
    cuts = ([rows], [rows[:5], rows[5:]], list(np.split(rows, 12)))
    drawn = [torch.cat(list(drawn_batches(RowView(c, None), PLAIN, 5, 4, np.random.default_rng(3)))) for c in cuts]
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])


def test_scaled_rows_are_offset_and_scaled_per_column():
    scale = scaler((1.0, -2.0, 100.0), (0.5, 4.0, 0.25))
    rows = torch.tensor([[3, 0, 104], [1, -2, 96]], dtype=torch.int64)
    assert scale.scaled(rows).tolist() == [[1.0, 8.0, 1.0], [0.0, 0.0, -1.0]]
    assert scale.scaled(rows).dtype == torch.float32


def test_one_constant_scales_images():
    config, spec = DataConfig(offset=(0.0,), scale=(1 / 255,)), DataSpec("file", 1, (1, 2, 2), "uint8")
    scale = Scaler.of(config, spec, CPU, torch.float32)
    rows = torch.tensor([[[[0, 51], [102, 255]]]], dtype=torch.uint8)
    torch.testing.assert_close(scale.scaled(rows), torch.tensor([[[[0, 0.2], [0.4, 1]]]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unscaling_undoes_scaling_per_column(dtype):
    offset, scale = (10.0, -3.0, 0.0), (0.01, 5.0, 2.0)
    rows = np.random.default_rng(0).normal(size=(50, 3)) / scale + offset
    both = scaler(offset, scale, dtype)
    back = both.unscaled(both.scaled(torch.from_numpy(rows)).numpy())
    assert back.dtype == np.float64
    rounding = 1e-12 if dtype == torch.float64 else 1e-5
    assert (np.abs(back - rows) * scale).max() < rounding  # in standard deviations of each column


def test_float64_rows_far_from_zero_keep_their_differences() -> None:
    rows = 1.7e9 + np.arange(1000, dtype=np.float64)[:, None]
    config = DataConfig(offset=(1.7e9 + 500,), scale=(0.01,))
    scaler = Scaler.of(config, DataSpec("far", 1000, (1,), "float64"), torch.device("cpu"), torch.float32)
    scaled = scaler.scaled(torch.from_numpy(rows))
    assert scaled.dtype == torch.float32
    assert len(np.unique(scaled.numpy())) == 1000
