from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from raymix.config import DataConfig
from raymix.errors import DataError
from raymix.features.base import Features, ToUnit, to_unit, whole_set


def features(batch_size=512):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(ToUnit(0.0, 1 / 255), nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Dropout())
    return Features("own", "a linear layer", 5, (3, 2, 2), network, batch_size=batch_size)


def test_batches_give_what_one_piece_gives_in_the_mode_of_inference():
    rows = np.random.default_rng(0).integers(0, 256, (23, 3, 2, 2)).astype(np.uint8)
    whole = features()(rows)
    assert whole.shape == (23, 5) and whole.dtype == np.float32
    network = features().network
    weight, bias = network[2].weight.detach().double().numpy(), network[2].bias.detach().double().numpy()
    expected = (rows.reshape(23, 12) / 255 @ weight.T + bias) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features(batch_size=4)(rows), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(features()(rows.astype(np.float64)), whole)
    assert features()(rows[:0]).shape == (0, 5)


def test_rows_of_another_shape_are_refused():
    with pytest.raises(
        DataError, match=r"rows for own features: have shape \(4, 1, 2, 2\), the network takes \(n, 3, 2, 2\)"
    ):
        features()(np.zeros((4, 1, 2, 2)))


def test_hash_follows_the_weights_and_the_definition_alone():
    one, other = features(), features(batch_size=2)
    assert one.hash == other.hash and len(one.hash) == 16
    assert replace(one, definition="another layer").hash != one.hash
    nn.init.zeros_(other.network[2].bias)
    assert other.hash != one.hash


@pytest.mark.parametrize(
    ("rows", "offset", "scale"),
    [
        (np.array([0, 200], np.uint8), 0, 1 / 255),
        (np.array([0, 1], np.uint8), 0, 1),
        (np.array([0.0, 1.0], np.float32), 0, 1),
        (np.array([-1.0, 3.0], np.float32), -1, 0.25),
    ],
)
def test_images_come_to_the_unit_interval_by_the_range_of_their_set(rows, offset, scale, save_images):
    data = save_images(np.tile(rows[:, None, None, None], (1, 1, 4, 4)), offset=(9.0,), scale=(7.0,))
    unit = to_unit(data, whole_set(data).spec)
    assert (unit.offset.item(), unit.scale.item()) == pytest.approx((offset, scale))


def test_bytes_whose_first_rows_tell_nothing_are_read_to_the_end(save_images):
    rows = np.zeros((1200, 1, 2, 2), np.uint8)
    rows[-1] = 255
    data = save_images(rows)
    assert to_unit(data, whole_set(data).spec).scale.item() == pytest.approx(1 / 255)


def test_known_sets_bring_their_range_and_all_their_rows():
    data = DataConfig(name="digits", num_rows=20)
    spec = whole_set(data).spec
    assert spec.num_rows == 1797
    assert to_unit(data, spec).scale.item() == 1 / 16
    with pytest.raises(DataError, match=r"synthetic-5: has rows of shape \(2,\), features are made of images"):
        whole_set(DataConfig(name="synthetic-5"))
