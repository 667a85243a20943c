"""Gaussian mixtures of many stars: samples, densities and quantiles."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp, ndtr

__all__ = ["Mixtures"]

# Steps of the bisection for quantiles; half width of its first interval in standard
# deviations.
_N_STEPS, _WIDE = 50, 8.0


@dataclass(frozen=True)
class Mixtures:
    """Gaussian mixtures of n stars, with C components in K dimensions.

    Attributes
    ----------
    log_weight : ndarray of shape (n, C)
        Natural logarithms of the weights.
    mean : ndarray of shape (n, C, K)
        Means.
    root : ndarray of shape (n, C, K, K)
        Lower Cholesky factors of the covariances.
    """

    log_weight: np.ndarray
    mean: np.ndarray
    root: np.ndarray

    def __len__(self):
        return len(self.mean)

    def __getitem__(self, rows):
        """Return the mixtures of some stars."""
        return Mixtures(self.log_weight[rows], self.mean[rows], self.root[rows])

    def first(self, k):
        """Return the marginal distributions of the first k dimensions."""
        return Mixtures(self.log_weight, self.mean[..., :k], self.root[..., :k, :k])

    def sample(self, row, n, rng):
        """Draw n samples of one star, of shape (n, K)."""
        weight = np.exp(self.log_weight[row])
        chosen = rng.choice(len(weight), n, p=weight / weight.sum())
        noise = rng.standard_normal((n, self.mean.shape[2]))
        return self.mean[row, chosen] + np.einsum(
            "nij,nj->ni", self.root[row, chosen], noise
        )

    def distances(self, row, points):
        """Compute squared Mahalanobis distances of points from each component.

        Parameters
        ----------
        row : int
            Row of the star.
        points : ndarray of shape (m, K)
            Coordinates of m points.

        Returns
        -------
        distance2 : ndarray of shape (m, C)
            Squared distances.
        """
        parts = [
            (solve_triangular(root, (points - mean).T, lower=True) ** 2).sum(0)
            for mean, root in zip(self.mean[row], self.root[row], strict=True)
        ]
        return np.stack(parts, axis=1)

    def log_density(self, row, points):
        """Compute log densities of one star at points (m, K), of shape (m,)."""
        k = points.shape[1]
        diagonal = np.diagonal(self.root[row], axis1=1, axis2=2)
        norm = np.log(diagonal).sum(1) + k * np.log(2 * np.pi) / 2
        return logsumexp(
            self.log_weight[row] - norm - self.distances(row, points) / 2, axis=1
        )

    def probability(self, values):
        """Compute marginal distribution functions at values (n, K), of shape (n, K)."""
        error = np.sqrt((self.root**2).sum(-1))
        part = ndtr((values[:, None] - self.mean) / error)
        return (np.exp(self.log_weight)[..., None] * part).sum(1)

    def quantile(self, part):
        """Compute a quantile of the marginal distributions, of shape (n, K)."""
        error = np.sqrt((self.root**2).sum(-1))
        low = (self.mean - _WIDE * error).min(1)
        high = (self.mean + _WIDE * error).max(1)
        for _ in range(_N_STEPS):
            middle = (low + high) / 2
            below = self.probability(middle) < part
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2
