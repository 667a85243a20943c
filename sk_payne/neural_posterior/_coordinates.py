r"""Coordinates of a posterior: unbounded, with a standard normal prior.

A label x with the prior distribution function F has the coordinate
:math:`\Phi^{-1}(F(x))`. Thus samples are within the bounds, and the posterior of a
label without information in the spectrum is the standard normal distribution. The
coordinate of the radial velocity is zero at the velocity at which a template matches
best.
"""

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

__all__ = ["Coordinates"]

# Smallest distance of values from their bounds, as a fraction of the range.
_EDGE = 1e-9


class Coordinates:
    """Conversion between parameters in their units and unbounded coordinates.

    Parameters
    ----------
    low, high : ndarray of shape (K,)
        Bounds of the K parameters.
    mean, error : ndarray of shape (K,)
        Means and standard deviations of Gaussian priors, truncated at the bounds; an
        infinite standard deviation is a uniform prior.
    velocity : int or None
        Column of the radial velocity; None if there is none.
    scale : float, default=1.0
        Velocity difference in km/s per unit of the coordinate, near its zero point.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.neural_posterior._coordinates import Coordinates
    >>> no_prior = np.zeros(1), np.array([np.inf])
    >>> coordinates = Coordinates(np.zeros(1), np.full(1, 10.0), *no_prior, None)
    >>> coordinates.to_unbounded(np.array([[5.0], [8.41]])).round(1)
    array([[0.],
           [1.]])
    """

    def __init__(self, low, high, mean, error, velocity, scale=1.0):
        self.low, self.high = low, high
        self.mean, self.error = mean, error
        self.velocity, self.scale = velocity, float(scale)

    def __len__(self):
        return len(self.low)

    def draw(self, rng, n):
        """Draw parameters from the prior.

        Parameters
        ----------
        rng : numpy Generator
            Source of random numbers.
        n : int
            Number of draws.

        Returns
        -------
        values : ndarray of shape (n, K)
            Parameters in their units.
        """
        return self._quantile(rng.uniform(size=(n, len(self))))

    def to_unbounded(self, values, start=None):
        """Convert parameters to coordinates.

        Parameters
        ----------
        values : ndarray of shape (..., K)
            Parameters in their units.
        start : ndarray of shape (...), default=None
            Zero points of the radial velocity in km/s.

        Returns
        -------
        coordinates : ndarray of shape (..., K)
            Coordinates, finite also for values at their bounds.
        """
        found = ndtri(self._probability(values))
        if self.velocity is not None:
            argument = self._stretch() * self._from_start(values, start)
            found[..., self.velocity] = np.arcsinh(argument)
        return found

    def to_values(self, coordinates, start=None):
        """Convert coordinates to parameters: the inverse of :meth:`to_unbounded`."""
        values = self._quantile(ndtr(coordinates))
        if self.velocity is not None:
            i = self.velocity
            logit = _logit(self._unit(start, i))
            logit = logit + np.sinh(coordinates[..., i]) / self._stretch()
            unit = 1 / (1 + np.exp(-logit.clip(-700, 700)))
            values[..., i] = self.low[i] + unit * (self.high[i] - self.low[i])
        return values

    def log_slope(self, values, start=None):
        """Compute logarithms of the derivatives of coordinates by their parameters.

        Parameters
        ----------
        values, start : ndarray
            As in :meth:`to_unbounded`.

        Returns
        -------
        log_slope : ndarray of shape (..., K)
            Natural logarithms. Their sum plus the log density of the coordinates is the
            log density of the parameters.
        """
        z = ndtri(self._probability(values))
        found = self._log_prior(values) + z**2 / 2 + np.log(2 * np.pi) / 2
        if self.velocity is not None:
            i = self.velocity
            unit, stretch = self._unit(values[..., i], i), self._stretch()
            argument = stretch * self._from_start(values, start)
            slope = stretch / (unit * (1 - unit)) / (self.high[i] - self.low[i])
            found[..., i] = np.log(slope) - np.log1p(argument**2) / 2
        return found

    def contains(self, values):
        """Check whether all parameters are within their bounds, of shape (...)."""
        return ((values >= self.low) & (values <= self.high)).all(axis=-1)

    def _unit(self, value, i):
        unit = (value - self.low[i]) / (self.high[i] - self.low[i])
        return np.clip(unit, _EDGE, 1 - _EDGE)

    def _stretch(self):
        """Factor of the logit, whose slope is 4 in the middle of the range."""
        i = self.velocity
        return (self.high[i] - self.low[i]) / (4 * self.scale)

    def _from_start(self, values, start):
        i = self.velocity
        return _logit(self._unit(values[..., i], i)) - _logit(self._unit(start, i))

    def _probability(self, values):
        """Prior distribution function, of shape (..., K)."""
        unit = (values - self.low) / (self.high - self.low)
        has_prior = np.isfinite(self.error)
        if has_prior.any():
            below, share = self._truncation()
            gaussian = ndtr((values - self.mean) / self.error)
            unit = np.where(has_prior, (gaussian - below) / share, unit)
        return np.clip(unit, _EDGE, 1 - _EDGE)

    def _quantile(self, probability):
        values = self.low + probability * (self.high - self.low)
        has_prior = np.isfinite(self.error)
        if has_prior.any():
            below, share = self._truncation()
            inner = np.clip(below + share * probability, 1e-300, 1 - 1e-16)
            error = np.where(has_prior, self.error, 1.0)
            values = np.where(has_prior, self.mean + error * ndtri(inner), values)
        return np.clip(values, self.low, self.high)

    def _log_prior(self, values):
        found = np.broadcast_to(-np.log(self.high - self.low), values.shape).copy()
        has_prior = np.isfinite(self.error)
        if has_prior.any():
            error = np.where(has_prior, self.error, 1.0)
            _, share = self._truncation()
            pull = (values - self.mean) / error
            gaussian = -(pull**2) / 2 - np.log(error * share) - np.log(2 * np.pi) / 2
            found = np.where(has_prior, gaussian, found)
        return found

    def _truncation(self):
        """Probability of each prior below its lower bound, and between its bounds."""
        error = np.where(np.isfinite(self.error), self.error, 1.0)
        low, high = ((end - self.mean) / error for end in (self.low, self.high))
        share = np.exp(log_ndtr(high)) - np.exp(log_ndtr(low))
        return ndtr(low), np.maximum(share, 1e-300)


def _logit(unit):
    return np.log(unit) - np.log1p(-unit)
