"""A linear emulator has a Gaussian posterior that is known: it is found."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from sk_payne import Observation
from sk_payne.neural_posterior import NeuralPosterior

N_PIXELS, SNR = 40, 50.0
LOW, HIGH = np.full(3, -1.0), np.full(3, 1.0)


@pytest.fixture(scope="module")
def linear():
    """Flux that is linear in three labels, and the matrix of it."""
    rng = np.random.default_rng(0)
    matrix = 0.05 * rng.standard_normal((3, N_PIXELS))
    labels = rng.uniform(-1, 1, (30, 3))
    return LinearRegression().fit(labels, 1 + labels @ matrix), matrix


@pytest.fixture(scope="module")
def posterior(linear):
    return NeuralPosterior(
        linear[0],
        Observation(velocity_range=None),
        snr=(20.0, 100.0),
        bounds=np.stack([LOW, HIGH], axis=1),
        n_directions=3,
        n_hidden=64,
        n_layers=2,
        n_components=2,
        max_steps=1200,
        batch_size=128,
        device="cpu",
        random_state=0,
    ).fit()


@pytest.fixture(scope="module")
def stars(linear):
    """Spectra, true labels, and exact means and covariance far from the bounds."""
    rng = np.random.default_rng(1)
    emulator, matrix = linear
    labels = rng.uniform(-0.5, 0.5, (200, 3))
    noise = rng.standard_normal((200, N_PIXELS)) / SNR
    flux = emulator.predict(labels) + noise
    covariance = np.linalg.inv(matrix @ matrix.T * SNR**2)
    mean = (flux - 1) @ matrix.T * SNR**2 @ covariance
    return flux, labels, mean, covariance


def test_means_and_errors_are_the_exact_ones(posterior, stars):
    flux, _, mean, covariance = stars
    samples = posterior.sample(flux, 2000, uncertainty=1 / SNR, random_state=0)
    error = np.sqrt(np.diag(covariance))
    assert np.abs((samples.mean(axis=1) - mean) / error).mean() < 0.25
    ratio = samples.std(axis=1) / error
    assert ((ratio.mean(axis=0) > 0.85) & (ratio.mean(axis=0) < 1.15)).all()


def test_density_is_nearly_the_exact_one(posterior, stars):
    flux, labels, mean, covariance = stars
    exact = stats_density(labels, mean, covariance)
    found = posterior.log_prob(flux, labels, uncertainty=1 / SNR)
    # the expectation of the difference is the Kullback-Leibler divergence
    assert -0.1 < (exact - found).mean() < 0.3


def stats_density(labels, mean, covariance):
    return stats.multivariate_normal.logpdf(labels - mean, np.zeros(3), covariance)


def test_ranks_of_true_labels_are_uniform(posterior, stars):
    flux, labels, _, _ = stars
    samples = posterior.sample(flux, 500, uncertainty=1 / SNR, random_state=0)
    rank = (samples < labels[:, None]).mean(axis=1)
    for column in rank.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3


def test_errors_follow_the_noise_of_each_star(linear, posterior):
    flux = linear[0].predict(np.zeros((2, 3)))
    uncertainty = np.array([[1 / 30], [1 / 60]])
    samples = posterior.sample(flux, 4000, uncertainty=uncertainty, random_state=0)
    ratio = samples[0].std(axis=0) / samples[1].std(axis=0)
    np.testing.assert_allclose(ratio, 2.0, rtol=0.2)
