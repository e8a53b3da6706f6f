"""With weights drawn at random: where the real ones come from, no test can rely on."""

import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import inception_v3

from raymix.config import DataConfig
from raymix.data.open import open_source
from raymix.errors import ConfigError, DataError
from raymix.features import inception as module
from raymix.features.inception import inception
from raymix.metrics.frechet import frechet_distance, statistics

FILE = "pt_inception-2015-12-05-6726825d.pth"
DIGITS = DataConfig(name="digits")


@pytest.fixture(scope="module")
def torch_home(tmp_path_factory):
    """A folder for torch's cache that holds weights where pytorch-fid looks for them."""
    home = tmp_path_factory.mktemp("torch")
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        with pytest.MonkeyPatch.context() as patch:  # the network's own first weights, by its own code
            patch.setattr(module, "_read", lambda path: {})
            patch.setattr(torch.nn.Module, "load_state_dict", lambda self, state: None)
            network = module.fid_inception(folder / FILE)
    torch.save(network.state_dict(), folder / FILE)
    return home


@pytest.fixture
def weights(torch_home):
    return torch_home / "hub" / "checkpoints" / FILE


def blobs(num, seed):
    """Images whose colours and contrasts vary, (num, 3, 32, 32)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (num, 3, 4, 4)) * rng.random((num, 1, 1, 1))
    return np.kron(coarse, np.ones((8, 8))).astype(np.uint8)


@pytest.mark.slow
def test_distance_is_that_of_pytorch_fids_command(torch_home, weights, save_images, tmp_path):
    both = blobs(70, 0), np.clip(blobs(70, 1) * 1.3 + 10, 0, 255).astype(np.uint8)
    for folder, rows in zip("ab", both, strict=True):
        (tmp_path / folder).mkdir()
        for i, row in enumerate(rows):
            Image.fromarray(row.transpose(1, 2, 0)).save(tmp_path / folder / f"{i:03}.png")
    command = [sys.executable, "-m", "pytorch_fid", "a", "b", "--dims", "64", "--device", "cpu", "--num-workers", "0"]
    env = {**os.environ, "TORCH_HOME": str(torch_home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    theirs = float(re.search(r"FID:\s+(\S+)", done.stdout)[1])
    features = inception(save_images(both[0]), weights=weights, dims=64)
    ours = frechet_distance(*statistics(features(both[0])), *statistics(features(both[1])))
    assert ours.ridge == 0
    assert ours.distance == pytest.approx(theirs, rel=1e-3)
    assert theirs > 1e-3


def test_reading_leaves_the_global_generator_alone(weights, save_images):
    before = torch.get_rng_state()
    inception(save_images(blobs(4, 0)), weights=weights, dims=64)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize("dims", [64, 192, 768, 2048])
def test_every_layer_is_that_of_pytorch_fid(torch_home, weights, save_images, monkeypatch, dims):
    from pytorch_fid.inception import InceptionV3

    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    theirs = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[dims]]).eval()
    rows = blobs(2, 3)
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(rows).float() / 255)[0].mean((2, 3)).numpy()
    features = inception(save_images(rows), weights=weights, dims=dims)
    assert features.num_features == dims
    np.testing.assert_allclose(features(rows), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_grey_images_and_floats_become_what_an_image_file_holds(weights, save_images):
    features = inception(DIGITS, weights=weights, dims=64)
    rows = open_source(DIGITS).read(0, 2).rows
    colour = np.repeat((rows.astype(np.float64) * 255 / 16).round().astype(np.uint8), 3, axis=1)
    as_file = inception(save_images(colour), weights=weights, dims=64)(colour)
    np.testing.assert_allclose(features(rows), as_file, rtol=1e-5, atol=1e-6)
    beyond = rows.astype(np.float32) + np.where(rows == 16, 3.0, 0.002) - np.where(rows == 0, 5.0, 0.0)
    np.testing.assert_allclose(features(beyond), as_file, rtol=1e-5, atol=1e-6)


def test_weights_are_found_where_pytorch_fid_keeps_them(torch_home, weights, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    usual = inception(DIGITS, dims=64)
    save_file(torch.load(weights, weights_only=True), tmp_path / "w.safetensors")
    assert inception(DIGITS, weights=tmp_path / "w.safetensors", dims=64).hash == usual.hash
    assert inception(DIGITS, weights=weights, dims=192).hash != usual.hash
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    expected = rf"{FILE}: Inception's weights are not there; put the file of https://github\.com/.*{FILE} there"
    with pytest.raises(DataError, match=expected):
        inception(DIGITS)


class Trap:
    def __reduce__(self):
        return (os.mkdir, ("sprung",))


def test_files_that_are_no_weights_are_refused_and_run_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap(), protocol=2))
    torch.save({"a": torch.zeros(2), "trap": Trap()}, tmp_path / "zip.pth")
    torch.save(inception_v3(init_weights=False).state_dict(), tmp_path / "torchvision.pth")
    (tmp_path / "text.safetensors").write_text("weights")
    for name in ("trap.pth", "zip.pth", "torchvision.pth", "text.safetensors"):
        with pytest.raises(DataError, match=f"{name}: cannot be read as weights of pytorch-fid's Inception") as caught:
            inception(DIGITS, weights=name)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"none\.pth: does not exist"):
        inception(DIGITS, weights="none.pth")
    assert not (tmp_path / "sprung").exists()


def test_other_layers_are_refused(weights):
    with pytest.raises(ConfigError, match="dims: is 100; choose one of 64, 192, 768, 2048"):
        inception(DIGITS, weights=weights, dims=100)
