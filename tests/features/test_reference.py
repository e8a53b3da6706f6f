from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from raymix.config import DataConfig
from raymix.data.open import open_source
from raymix.errors import DataError
from raymix.features import reference as module
from raymix.features.pixels import pixels
from raymix.features.reference import drawn_numbers, drawn_rows, reference

DATA = DataConfig(name="digits")


@pytest.fixture
def source():
    return open_source(DATA)


def test_mean_and_covariance_are_those_of_the_features(source, tmp_path):
    features = pixels(DATA)
    found = reference(source, features, cache=tmp_path)
    rows = source.read(0, 1797).rows.reshape(1797, 64) / 16
    np.testing.assert_allclose(found.features_ND, rows, rtol=1e-6)
    np.testing.assert_allclose(found.mean_D, rows.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.cov_DD, np.cov(rows.T), atol=1e-6)


def test_a_second_call_reads_the_cache_to_the_same_bits(source, tmp_path):
    data = pixels(DATA)
    calls = []
    network = nn.Sequential(data.network)
    network.register_forward_hook(lambda *_: calls.append(1))
    features = replace(data, network=network)
    first = reference(source, features, 200, seed=3, cache=tmp_path)
    assert len(calls) == 1
    again = reference(source, features, 200, seed=3, cache=tmp_path)
    assert len(calls) == 1
    assert again.data_hash == first.data_hash
    for mine, theirs in zip(first[:3], again[:3], strict=True):
        np.testing.assert_array_equal(mine, theirs, strict=True)


def test_rows_are_drawn_without_replacement_by_the_seed_alone(source, monkeypatch):
    whole = source.read(0, 1797).rows
    some = drawn_rows(source, 300, seed=1)
    monkeypatch.setattr(module, "BLOCK_BYTES", 64 * 100)  # 18 blocks
    np.testing.assert_array_equal(drawn_rows(source, 300, seed=1), some)
    assert not np.array_equal(drawn_rows(source, 300, seed=2), some)
    numbers = drawn_numbers(source.spec, 300, seed=1)
    assert (np.diff(numbers) > 0).all()
    np.testing.assert_array_equal(whole[numbers], some)
    np.testing.assert_array_equal(drawn_rows(source, None, seed=2), whole)
    np.testing.assert_array_equal(drawn_rows(source, 1797, seed=2), whole)


def test_other_rows_and_other_features_are_kept_apart(source, tmp_path):
    features = pixels(DATA)
    hashes = {
        reference(source, features, count, seed, tmp_path).data_hash for count, seed in ((99, 0), (99, 1), (98, 0))
    }
    assert len(hashes) == 3 == len(list((tmp_path / "reference").iterdir()))


def test_numbers_of_rows_that_cannot_be_are_refused(source, tmp_path):
    features = pixels(DATA)
    with pytest.raises(DataError, match="digits: 2000 rows are asked of 1797"):
        reference(source, features, 2000, cache=tmp_path)
    with pytest.raises(DataError, match="63 rows are fewer than 64 dimensions"):
        reference(source, features, 63, cache=tmp_path)
    assert not (tmp_path / "reference").exists()
