"""Mixtures of Gaussian distributions agree with scipy."""

import numpy as np
import pytest
from scipy import stats

from sk_payne.neural_posterior._mixture import Mixtures


@pytest.fixture
def mixtures():
    rng = np.random.default_rng(0)
    root = 0.3 * np.tril(rng.normal(size=(3, 2, 4, 4))) + 2 * np.eye(4)
    weight = rng.uniform(0.2, 1, (3, 2))
    weight /= weight.sum(axis=1, keepdims=True)
    return Mixtures(np.log(weight), rng.normal(size=(3, 2, 4)), root)


def parts_of(mixtures, row):
    weight = np.exp(mixtures.log_weight[row])
    covariance = mixtures.root[row] @ mixtures.root[row].swapaxes(1, 2)
    return zip(weight, mixtures.mean[row], covariance, strict=True)


def test_log_density_is_that_of_scipy(mixtures):
    points = np.random.default_rng(1).normal(size=(5, 4))
    density = sum(
        w * stats.multivariate_normal.pdf(points, mean, covariance)
        for w, mean, covariance in parts_of(mixtures, 1)
    )
    np.testing.assert_allclose(mixtures.log_density(1, points), np.log(density))


def test_first_dimensions_are_the_marginal_distribution(mixtures):
    points = np.random.default_rng(1).normal(size=(5, 2))
    density = sum(
        w * stats.multivariate_normal.pdf(points, mean[:2], covariance[:2, :2])
        for w, mean, covariance in parts_of(mixtures, 2)
    )
    found = mixtures.first(2).log_density(2, points)
    np.testing.assert_allclose(found, np.log(density))


@pytest.mark.parametrize("part", [0.01, 0.5, 0.84])
def test_probability_of_a_quantile_is_its_part(mixtures, part):
    quantile = mixtures.quantile(part)
    np.testing.assert_allclose(mixtures.probability(quantile), part, atol=1e-9)


def test_samples_have_the_marginal_distributions(mixtures):
    samples = mixtures.sample(0, 4000, np.random.default_rng(3))
    for i in range(4):
        parts = list(parts_of(mixtures, 0))

        def cdf(x, i=i, parts=parts):
            return sum(w * stats.norm.cdf(x, m[i], c[i, i] ** 0.5) for w, m, c in parts)

        assert stats.kstest(samples[:, i], cdf).pvalue > 1e-3
