"""The real data sets, where a folder of them is at hand."""

import numpy as np
import pytest

from raymix.config import DataConfig
from raymix.data.open import open_source, open_test_source
from raymix.data.scan import scaling, scan


def _config(folder, name, **settings):
    if not (folder / name).is_dir():
        pytest.skip(f"no {name} there")
    return DataConfig(name=name, dir=str(folder / name), **settings)


def test_mnist_is_whole(real_data):
    config = _config(real_data, "mnist")
    summary = scan(open_source(config), 2**24)
    assert summary.spec.num_rows == 60_000
    assert summary.spec.row_shape == (1, 28, 28)
    assert summary.spec.dtype == "uint8"
    assert summary.class_counts == (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    assert round(summary.mean[0] / 255, 4) == 0.1307
    assert round(summary.sd[0] / 255, 4) == 0.3081
    assert scaling(summary) == ((0.0,), (1 / 255,))
    assert open_test_source(config).spec.num_rows == 10_000


def test_mnist_folder_equals_the_known_set(real_data):
    config = _config(real_data, "mnist")
    by_path = open_source(DataConfig(name="file", path=config.dir)).read(59_990, 60_000)
    for mine, theirs in zip(by_path, open_source(config).read(59_990, 60_000), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_cifar10_is_in_colour(real_data):
    config = _config(real_data, "cifar10")
    spec = open_source(config).spec
    assert (spec.num_rows, spec.row_shape, spec.dtype) == (50_000, (3, 32, 32), "uint8")
    assert spec.classes[9] == "truck"
    summary = scan(open_source(_config(real_data, "cifar10", num_rows=1000)), 2**20)
    assert sum(summary.class_counts) == 1000
    assert 110 < summary.mean[0] < 130
    assert open_test_source(config).spec.num_rows == 10_000


def test_omniglot_is_black_and_white(real_data):
    config = _config(real_data, "omniglot", num_rows=500)
    block = open_source(config).read(0, 500)
    assert block.rows.shape == (500, 1, 105, 105)
    assert set(np.unique(block.rows)) == {0, 255}
    np.testing.assert_array_equal(np.bincount(block.labels), np.full(25, 20))
    for part, num_rows in ((1, 2720), (2, 3120)):
        path = f"{config.dir}/images_background_small{part}.zip"
        assert open_source(DataConfig(name="file", path=path)).spec.num_rows == num_rows
