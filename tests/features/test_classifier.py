import logging

import numpy as np
import pytest
import torch

from raymix.config import DataConfig
from raymix.data.open import open_source, open_test_source
from raymix.errors import DataError
from raymix.features import classifier as module
from raymix.features.classifier import classifier

DIGITS = DataConfig(name="digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def digits(folder):
    return classifier(DIGITS, cache=folder)


@pytest.fixture
def untrained(monkeypatch):
    """Networks as the seed makes them."""
    monkeypatch.setattr(module, "train", lambda network, *_: network.eval())


def bands(num, side, shift=0, channels=1):
    """Images with one bright row of pixels, which is their class."""
    labels = np.arange(num) % 4
    rows = np.random.default_rng(shift).integers(0, 40, (num, channels, side, side)).astype(np.uint8)
    rows[np.arange(num), :, labels * (side // 4)] = 255
    return rows, labels


def test_digits_are_learned_and_told(digits):
    source = open_source(DIGITS).read(0, 1797)
    held_out = np.arange(1797) % 10 == 0
    accuracy = (digits.predict(source.rows[held_out]) == source.labels[held_out]).mean()
    assert digits.test_accuracy == accuracy > 0.95
    assert digits.features.definition == (
        "classifier: the 64 ReLU outputs before the last layer of a perceptron with another layer of 128 units, "
        f"trained on the labels of 1,617 rows of digits; accuracy {accuracy:.4f} on every 10th row, held out"
    )
    features = digits.features(source.rows)
    assert features.shape == (1797, 64) and (features >= 0).all()
    assert np.linalg.matrix_rank(features) > 16


def test_a_second_call_reads_the_cache_and_a_first_one_tells_its_steps(digits, folder, tmp_path):
    def refuse(done, total):
        raise AssertionError("trained again")

    again = classifier(DataConfig(name="digits", num_rows=100), cache=folder, progress=refuse)
    assert again.features.hash == digits.features.hash
    assert again.test_accuracy == digits.test_accuracy
    told = []
    anew = classifier(DIGITS, cache=tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (25, 1875) and told[-1] == (1875, 1875)
    assert anew.features.hash == digits.features.hash  # the same bits, whatever ran before


def test_a_damaged_file_is_made_anew_with_a_warning(untrained, tmp_path, caplog):
    first = classifier(DIGITS, cache=tmp_path)
    (path,) = (tmp_path / "features").iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    with caplog.at_level(logging.WARNING):
        second = classifier(DIGITS, cache=tmp_path)
    assert f"{path.name}: is damaged" in caplog.text
    assert path.read_bytes() == content
    assert first.features.hash == second.features.hash


@pytest.mark.parametrize(("side", "channels", "told"), [(16, 1, "64 filters, "), (70, 3, "averages over 3 x 3 pixels")])
def test_large_images_are_learned_by_convolutions(side, channels, told, save_images, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROWS_SHOWN", 64 * 40)
    data = save_images(*bands(400, side, channels=channels))
    found = classifier(data, cache=tmp_path)
    assert told in found.features.definition
    assert found.test_accuracy > 0.9
    rows, labels = bands(40, side, shift=1, channels=channels)
    assert (found.predict(rows) == labels).mean() > 0.9


def test_labels_or_rows_that_differ_make_another_classifier(save_images, untrained, tmp_path):
    rows, labels = bands(60, 8)
    for case in ((rows, labels), (rows, labels[::-1].copy()), (255 - rows, labels)):
        classifier(save_images(*case), cache=tmp_path)
    assert len(list((tmp_path / "features").iterdir())) == 3


def test_training_leaves_the_global_generator_and_the_threads_alone(untrained, save_images, tmp_path):
    before = torch.get_rng_state(), torch.get_num_threads()
    classifier(save_images(*bands(60, 8)), cache=tmp_path)
    with module.one_thread():
        assert torch.get_num_threads() == 1
    assert torch.equal(torch.get_rng_state(), before[0]) and torch.get_num_threads() == before[1]


def test_sets_that_cannot_be_learned_are_refused(save_images, tmp_path):
    rows, labels = bands(60, 8)
    with pytest.raises(
        DataError, match=r"has no labels to train a classifier on; give data\.labels, or take inception"
    ):
        classifier(save_images(rows), cache=tmp_path)
    with pytest.raises(DataError, match="has a single class"):
        classifier(save_images(rows, labels * 0), cache=tmp_path)


@pytest.mark.slow
def test_mnist_is_learned_to_985_in_1000(real_data, tmp_path):
    if not (real_data / "mnist").is_dir():
        pytest.skip("no mnist there")
    data = DataConfig(name="mnist", dir=str(real_data / "mnist"), num_rows=10)
    found = classifier(data, cache=tmp_path)
    test = open_test_source(data).read(0, 10_000)
    assert (found.predict(test.rows) == test.labels).mean() == found.test_accuracy >= 0.985
    assert "60,000 rows of mnist" in found.features.definition
    assert "its 10,000 test rows" in found.features.definition
