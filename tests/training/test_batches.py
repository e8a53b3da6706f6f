"""Views and batches against plain indexing on the concatenation of all blocks."""

import warnings

import numpy as np
import pytest
import torch

from raymix.config import DataConfig
from raymix.data.source import DataSpec
from raymix.training import batches
from raymix.training.batches import Draws, RowView, Scaler, all_batches

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


def drawn(view, steps, size, seed=0):
    """The batches of one member, (steps, size, ...)."""
    draws = Draws([view], [np.random.default_rng(seed)], PLAIN, size, steps)
    return torch.cat([draws.batch() for _ in range(steps)])


def test_batches_are_drawn_with_replacement_and_evenly():
    num_rows, steps, size = 20, 500, 16
    batches = drawn(numbered_view(num_rows), steps, size)
    assert batches.shape == (steps, size, 1)
    assert any(len(set(batch.flatten().tolist())) < size for batch in batches)  # a row twice in one batch
    counts = np.bincount(batches.flatten().long().numpy(), minlength=num_rows)
    mean = steps * size / num_rows
    assert np.abs(counts - mean).max() <= 5 * np.sqrt(mean)  # binomial, 5 standard deviations


def test_batches_may_exceed_the_shard():
    assert drawn(numbered_view(1), 1, 8).shape == (1, 8, 1)


def test_batches_follow_the_seed_and_not_the_chunks(monkeypatch):
    view = numbered_view(50)
    whole = drawn(view, 7, 4)
    assert not torch.equal(whole, drawn(view, 7, 4, seed=1))
    for batches_in_chunk in (2, 1, 0):  # one at least
        monkeypatch.setattr(batches, "CHUNK_BYTES", batches_in_chunk * 4 * 4)  # of four rows of four bytes
        assert torch.equal(whole, drawn(view, 7, 4))


@pytest.mark.parametrize("batches_in_chunk", [1, 3, 100])
def test_no_more_rows_are_drawn_than_are_asked_for(batches_in_chunk, monkeypatch):
    monkeypatch.setattr(batches, "CHUNK_BYTES", batches_in_chunk * 4 * 4)
    drawn_rng, rng = np.random.default_rng(0), np.random.default_rng(0)
    draws = Draws([numbered_view(50)], [drawn_rng], PLAIN, 4, 7)
    for _ in range(7):
        draws.batch()
    rng.integers(0, 50, size=7 * 4)
    assert drawn_rng.bit_generator.state == rng.bit_generator.state


def test_batches_do_not_depend_on_the_cut_into_blocks():
    rows = np.random.default_rng(0).random((12, 2)).astype(np.float32)
    cuts = ([rows], [rows[:5], rows[5:]], list(np.split(rows, 12)))
    one, *others = [drawn(RowView(cut, None), 5, 4, seed=3) for cut in cuts]
    assert all(torch.equal(one, other) for other in others)


def test_batches_are_scaled_rows_of_each_members_own_view():
    low, high = RowView([np.arange(5.0)[:, None]], None), RowView([np.arange(100.0, 103)[:, None]], None)
    draws = Draws([low, high], [np.random.default_rng(k) for k in (0, 1)], scaler((10.0,), (2.0,)), 50, 3)
    for _ in range(3):
        batch = draws.batch()
        assert batch.shape == (2, 50, 1) and batch.dtype == torch.float32
        assert set(batch[0].flatten().tolist()) == {-20, -18, -16, -14, -12}
        assert set(batch[1].flatten().tolist()) == {180, 182, 184}


@pytest.mark.parametrize("batches_in_chunk", [1, 3, 100])
@pytest.mark.parametrize("when", [1, 2, 3, 5])
def test_batches_of_a_member_do_not_depend_on_who_else_is_there(when, batches_in_chunk, monkeypatch):
    monkeypatch.setattr(batches, "CHUNK_BYTES", batches_in_chunk * 4 * 4)
    views = [numbered_view(num_rows) for num_rows in (50, 7, 30)]
    alone = [drawn(view, 7, 4, seed=m) for m, view in enumerate(views)]
    draws = Draws(views, [np.random.default_rng(m) for m in range(3)], PLAIN, 4, 7)
    for step in range(when):
        assert torch.equal(draws.batch(), torch.stack([each[step] for each in alone]))
    draws.keep([0, 2])
    assert torch.equal(draws.batch(), torch.stack([alone[0][when], alone[2][when]]))
    draws.keep([1])
    for step in range(when + 1, 7):
        assert torch.equal(draws.batch(), alone[2][step, None])


@pytest.mark.parametrize("shards", [True, False])
def test_batches_gathered_on_the_device_are_the_same(shards, monkeypatch):
    monkeypatch.setattr(batches, "CHUNK_BYTES", 3 * 4 * 8)  # three batches of four rows of two columns
    blocks, chosen = blocks_of([9, 6]), [np.arange(1, 9, 2), np.arange(4)]
    views = [RowView(blocks, chosen), RowView(blocks, None)] if shards else [RowView(blocks, None)] * 2
    here, there = (
        Draws(views, [np.random.default_rng(m) for m in range(2)], scaler((1.0, 2.0), (0.5, 4.0)), 4, 7, resident)
        for resident in (False, True)
    )
    for _ in range(4):
        assert torch.equal(here.batch(), there.batch())
    for draws in (here, there):
        draws.keep([1])
    for _ in range(3):
        assert torch.equal(here.batch(), there.batch())


def test_members_that_see_everything_share_it_on_the_device():
    blocks, others, rows = blocks_of([9, 6]), blocks_of([5], seed=1), [np.arange(3), np.arange(2)]
    views = [RowView(blocks, None), RowView(blocks, None), RowView(blocks, rows), RowView(others, None)]
    found = batches.Residents.of(views, CPU)
    assert len(found.rows) == 15 + 5 + 5 and batches.num_bytes(views) == found.rows.nbytes
    alike = found.only([0, 1]).gathered([np.arange(15)] * 2)
    np.testing.assert_array_equal(alike, [np.concatenate(blocks)] * 2)
    own = found.only([2, 3]).gathered([np.arange(5)] * 2)
    np.testing.assert_array_equal(own, [np.concatenate([blocks[0][:3], blocks[1][:2]]), others[0]])


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
