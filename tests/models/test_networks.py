"""Shapes of networks of one member, and stacks of layers that are too deep."""

import numpy as np
import pytest
import torch
from torch import nn

from raymix.config import DiscriminatorConfig
from raymix.data.source import DataSpec
from raymix.errors import ConfigError
from raymix.families.shapes import conv_features, require_encodable
from raymix.families.vae import VAEConfig
from raymix.models import discriminators, networks
from raymix.models.stacked import ConvTranspose2d, Linear

SIDES = [(28, 28), (32, 32), (64, 64), (28, 20)]


def image_spec(height, width, channels=1):
    return DataSpec("file", 10, (channels, height, width), "uint8")


@pytest.mark.parametrize("kernel", [3, 4, 5])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_conv_encoder_gives_the_features_it_announces(side, kernel, batch_norm):
    shape, widths = (3, *side), (4, 6, 5)
    encoder = networks.conv_encoder(shape, widths, kernel, nn.ReLU, batch_norm)
    with torch.inference_mode():
        features = encoder(torch.zeros(1, 2, *shape))
    assert features.shape == (1, 2, conv_features(shape, widths, kernel))
    assert features.shape[2] == 5 * -(-side[0] // 8) * -(-side[1] // 8) or kernel == 4


@pytest.mark.parametrize("kernel", [3, 4, 5])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("widths", [(4,), (6, 4), (8, 6, 4)])
def test_conv_decoder_gives_the_image(side, kernel, widths):
    decoder = networks.ConvDecoder(5, widths, (3, *side), kernel)
    with torch.inference_mode():
        assert decoder(torch.zeros(1, 2, 5)).shape == (1, 2, 3, *side)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6, 7])
def test_doubling_doubles_exactly(kernel):
    with torch.inference_mode():
        assert ConvTranspose2d(2, 3, kernel)(torch.zeros(1, 2, 5, 7)).shape == (1, 3, 10, 14)


def test_conv_decoder_crops_the_middle():
    decoder = networks.ConvDecoder(2, (4,), (1, 5, 5), 4)
    seen = []
    decoder.layers.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.inference_mode():
        image = decoder(torch.randn(1, 1, 2))
    assert seen[0].shape == (1, 1, 1, 6, 6)
    assert torch.equal(image, seen[0][..., :5, :5])


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3)])
def test_mlp_flattens(shape):
    body = networks.mlp(6, (5, 4), nn.ReLU)
    assert body(torch.zeros(1, 3, *shape)).shape == (1, 3, 4)
    assert [type(layer) for layer in body] == [nn.Flatten, Linear, nn.ReLU, Linear, nn.ReLU]


@pytest.mark.parametrize("side", [8, 16, 28, 32, 64])
@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("layers", [1, 2, 3, 4, 5, 6, 7])
def test_encoder_stacks_run_unless_they_are_refused(side, kernel, layers):
    shape, widths = (1, side, side + 1), (2,) * layers
    encoder = networks.conv_encoder(shape, widths, kernel, nn.ReLU, batch_norm=True).eval()
    deepest = 7 if kernel % 2 else int(np.log2(side))  # odd filters keep a side of 1 for ever
    if layers <= deepest:
        require_encodable(shape, widths, kernel, "model.encoder")
        assert encoder(torch.zeros(1, 1, *shape)).shape[2] >= 2
    else:
        with pytest.raises(RuntimeError):
            encoder(torch.zeros(1, 1, *shape))
        with pytest.raises(ConfigError, match=f"give at most {deepest} widths"):
            require_encodable(shape, widths, kernel, "model.encoder")


def test_a_filter_too_large_for_any_layer_is_refused():
    with pytest.raises(ConfigError, match=r"model\.encoder: .*choose body mlp"):
        require_encodable((1, 2, 1), (8,), 4, "model.encoder")


def test_a_vae_too_deep_for_the_image_is_refused_with_the_most_it_can_have():
    with pytest.raises(ConfigError, match=r"model\.encoder: 5 convolutions .*\(1, 28, 28\); give at most 4 widths"):
        VAEConfig(encoder=(2,) * 5).resolved(image_spec(28, 28))
    with pytest.raises(ConfigError, match=r"model\.decoder: 6 doublings .*\(1, 28, 28\); give at most 5 widths"):
        VAEConfig(decoder=(2,) * 6).resolved(image_spec(28, 28))
    with pytest.raises(ConfigError, match=r"model\.encoder: .*\(1, 8, 8\)"):
        VAEConfig(body="conv").resolved(image_spec(8, 8))


def test_a_discriminator_too_deep_for_the_image_is_refused():
    config = DiscriminatorConfig(widths=(2,) * 5)
    with pytest.raises(ConfigError, match=r"discriminator\.widths: .*give at most 4 widths"):
        discriminators.resolved(config, image_spec(28, 28))


def test_deep_mlps_are_allowed_on_small_images():
    assert VAEConfig(encoder=(2,) * 9, decoder=(2,) * 9).resolved(image_spec(8, 8)).body == "mlp"
    assert discriminators.resolved(DiscriminatorConfig(widths=(2,) * 9), image_spec(8, 8)).body == "mlp"
