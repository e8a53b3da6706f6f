import numpy as np
import pytest

from raymix.config import DataConfig
from raymix.data.open import open_source
from raymix.errors import DataError
from raymix.features.pixels import pixels


def test_pixels_are_the_values_between_0_and_1():
    data = DataConfig(name="digits")
    features = pixels(data)
    rows = open_source(data).read(0, 50).rows
    np.testing.assert_array_equal(features(rows), rows.reshape(50, 64).astype(np.float32) / 16)
    assert (features.name, features.num_features, features.row_shape) == ("pixels", 64, (1, 8, 8))


def test_more_values_than_rows_are_refused(save_images):
    data = save_images(np.zeros((64, 1, 8, 8), np.uint8))
    with pytest.raises(DataError, match="64 images of 64 values are too few for pixels as features; take a class"):
        pixels(data)
    assert pixels(save_images(np.zeros((65, 1, 8, 8), np.uint8))).num_features == 64
