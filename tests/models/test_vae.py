"""The VAE's loss against numpy in float64, of one member."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from raymix.data.source import DataSpec
from raymix.families.vae import VAEConfig
from raymix.models.vae import VAE
from raymix.training.noise import MemberNoise

NUM, LATENT, FLOOR = 6, 3, 0.02


def vae(likelihood, row_shape=(2, 2, 2), **settings):
    config = VAEConfig(body="mlp", encoder=(7, 5), decoder=(4,), latent=LATENT, likelihood=likelihood, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VAE(config, row_shape)


def noise(seed):
    return MemberNoise([seed], torch.device("cpu"))


def weights(layer):
    return layer.weight[0].detach().double().numpy(), layer.bias[0].detach().double().numpy()


def dense(rows, layer):
    w, b = weights(layer)
    return rows @ w + b


def forward(model, rows, eps):
    """mean, log variance, and the decoder's output, (B, *), in float64."""
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    hidden = np.maximum(dense(np.maximum(dense(flat, model.encoder[1]), 0), model.encoder[3]), 0)
    mean, log_var = np.split(dense(hidden, model.posterior), 2, axis=1)
    latent = mean + np.exp(log_var / 2) * eps
    return mean, log_var, dense(np.maximum(dense(latent, model.decoder[1]), 0), model.decoder[3])


def elbo_terms(model, rows, seed):
    """KL per row from the density's definition, and the decoder's output."""
    eps = noise(seed).normal(len(rows), LATENT)[0].double().numpy()
    mean, log_var, output = forward(model, rows, eps)
    var = np.exp(log_var)
    return 0.5 * (mean**2 + var - 1 - np.log(var)).sum(1), output


def told(model, rows):
    terms = model.terms(torch.from_numpy(rows[None]), noise(4))
    assert list(terms) == list(model.units) == ["bound", "reconstruction", "kl"]
    return [term_M.item() for term_M in terms.values()]


@pytest.mark.parametrize("raw_sigma", [0.0, 1.5, -5.0])
def test_gaussian_loss_is_the_negative_elbo(raw_sigma):
    model = vae("gaussian")
    torch.nn.init.constant_(model.raw_sigma, raw_sigma)
    rows = np.random.default_rng(0).normal(size=(NUM, 2, 2, 2)).astype(np.float32)
    kl, output = elbo_terms(model, rows, seed=4)
    sigma = math.log1p(math.exp(raw_sigma)) + FLOOR
    distance = (rows.reshape(NUM, -1) - output) / sigma
    log_likelihood = (-0.5 * distance**2 - math.log(sigma) - 0.5 * math.log(2 * math.pi)).sum(1)
    expected = (kl - log_likelihood).mean()
    assert told(model, rows) == pytest.approx([expected, -log_likelihood.mean(), kl.mean()], rel=1e-5)


def test_bernoulli_loss_is_the_negative_elbo():
    model = vae("bernoulli")
    rows = np.random.default_rng(1).random((NUM, 2, 2, 2)).astype(np.float32)
    kl, output = elbo_terms(model, rows, seed=4)
    mean = 1 / (1 + np.exp(-output))
    flat = rows.reshape(NUM, -1)
    log_likelihood = (flat * np.log(mean) + (1 - flat) * np.log(1 - mean)).sum(1)
    expected = (kl - log_likelihood).mean()
    assert told(model, rows) == pytest.approx([expected, -log_likelihood.mean(), kl.mean()], rel=1e-5)
    assert model.raw_sigma is None


def test_sigma_never_falls_below_its_floor():
    model = vae("gaussian", sigma_floor=0.3)
    assert model.sigma().item() == pytest.approx(math.log(2) + 0.3)
    torch.nn.init.constant_(model.raw_sigma, -1e4)
    assert model.sigma().item() == pytest.approx(0.3)
    assert torch.isfinite(model.terms(torch.full((1, 4, 2, 2, 2), 10.0), noise(0))["bound"])


def test_gaussian_samples_carry_the_observation_noise():
    model = vae("gaussian", row_shape=(2,))
    last = model.decoder[3]
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor([3.0, -1.0]))
    num, sigma = 20_000, model.sigma().item()
    with torch.inference_mode():
        rows = model.sample(num, noise(1))[0].double().numpy()
    error = sigma / np.sqrt(num)
    np.testing.assert_allclose(rows.mean(0), [3, -1], atol=5 * error)
    np.testing.assert_allclose(rows.std(0), sigma, atol=5 * error / np.sqrt(2))


def test_bernoulli_samples_are_means():
    model = vae("bernoulli")
    torch.nn.init.zeros_(model.decoder[3].weight)
    torch.nn.init.constant_(model.decoder[3].bias, 1.0)
    with torch.inference_mode():
        assert torch.allclose(model.sample(5, noise(1)), torch.full((1, 5, 2, 2, 2), 1 / (1 + math.exp(-1))))


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_loss_falls_with_training(likelihood):
    rows = torch.from_numpy(np.random.default_rng(2).random((1, 64, 2, 2, 2)).round().astype(np.float32) * 0.5)
    model, draws = vae(likelihood), noise(0)
    losses = [model.update(rows, draws)["bound"].item() for _ in range(300)]
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 0.5


@pytest.mark.parametrize(
    ("row_shape", "body", "likelihood", "encoder"),
    [
        ((2,), "mlp", "gaussian", (50, 50)),
        ((1, 8, 8), "mlp", "bernoulli", (50, 50)),
        ((1, 16, 16), "conv", "bernoulli", (8, 16, 32, 64)),
        ((3, 64, 15), "mlp", "bernoulli", (50, 50)),
    ],
)
def test_auto_follows_the_rows(row_shape, body, likelihood, encoder):
    config = VAEConfig().resolved(DataSpec("file", 10, row_shape, "uint8"))
    assert (config.body, config.likelihood, config.encoder) == (body, likelihood, encoder)
    assert config.resolved(DataSpec("file", 10, row_shape, "uint8")) == config


def test_settings_that_were_given_are_kept():
    config = VAEConfig(body="mlp", encoder=(3,), decoder=(4,), likelihood="gaussian", latent=2)
    assert config.resolved(DataSpec("file", 10, (1, 32, 32), "uint8")) == config


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_decoding_gives_the_mean_of_the_likelihood(likelihood):
    model = vae(likelihood)
    latents = noise(3).normal(5, LATENT)
    hidden = np.maximum(dense(latents[0].double().numpy(), model.decoder[1]), 0)
    output = dense(hidden, model.decoder[3]).reshape(5, 2, 2, 2)
    expected = 1 / (1 + np.exp(-output)) if likelihood == "bernoulli" else output
    assert model.latent == LATENT
    with torch.inference_mode():
        np.testing.assert_allclose(model.decode(latents)[0].numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_bound_by_row_has_the_loss_as_its_mean(likelihood):
    model = vae(likelihood)
    rows = torch.from_numpy(np.random.default_rng(1).random((1, NUM, 2, 2, 2)).astype(np.float32))
    with torch.inference_mode():
        bound_MB = model.bound(rows, noise(4))
        assert bound_MB.shape == (1, NUM)
        assert -bound_MB.mean().item() == pytest.approx(model.terms(rows, noise(4))["bound"].item(), rel=1e-5)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_log_weights_are_those_of_the_densities(likelihood):
    """log p(x|z) + log N(z; 0, I) - log N(z; mean, var) at the z that was drawn."""
    model = vae(likelihood)
    torch.nn.init.normal_(model.posterior.weight)
    rows = np.random.default_rng(1).random((NUM, 2, 2, 2)).astype(np.float32)
    eps = noise(4).normal(NUM, LATENT)[0].double().numpy()
    mean, log_var, output = forward(model, rows, eps)
    z = mean + np.exp(log_var / 2) * eps
    if likelihood == "bernoulli":
        flat, p = rows.reshape(NUM, -1), 1 / (1 + np.exp(-output))
        log_likelihood = (flat * np.log(p) + (1 - flat) * np.log(1 - p)).sum(1)
    else:
        log_likelihood = norm.logpdf(rows.reshape(NUM, -1), output, model.sigma().item()).sum(1)
    expected = log_likelihood + norm.logpdf(z).sum(1) - norm.logpdf(z, mean, np.exp(log_var / 2)).sum(1)
    with torch.inference_mode():
        np.testing.assert_allclose(model.log_weights(torch.from_numpy(rows[None]), noise(4))[0], expected, rtol=1e-4)


def test_encoding_gives_the_mean_of_the_posterior():
    model = vae("gaussian")
    rows = np.random.default_rng(1).random((NUM, 2, 2, 2)).astype(np.float32)
    with torch.inference_mode():
        found = model.encode(torch.from_numpy(rows[None]))[0]
    np.testing.assert_allclose(found, forward(model, rows, 0)[0], rtol=1e-5, atol=1e-6)
