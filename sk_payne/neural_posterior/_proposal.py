"""Proposal: neural posterior of one star, for its least-squares fit."""

import numpy as np

__all__ = ["Proposal"]

# Smallest weight of a component whose mean is a start.
_SMALLEST_WEIGHT = 0.05

# Largest coordinate that is not near a bound: the outer 7 % of the prior on each side
# are.
_EDGE = 1.5


class Proposal:
    """Posterior of one star: starts, samples, densities and tests of a fit.

    Parameters
    ----------
    trained : TrainedPosterior
        The trained posterior.
    answer : Answer
        Output of the network for one star.
    names : list of str
        Names of the parameters of the fit, in their order.
    base : ndarray of shape (n_names,)
        Values of parameters that the posterior does not have.
    """

    def __init__(self, trained, answer, names, base):
        self._trained, self._answer = trained, answer
        place = {name: i for i, name in enumerate(trained.names)}
        self._columns = np.array(
            [i for i, name in enumerate(names) if name in place], dtype=np.intp
        )
        own = [place[name] for name in names if name in place]
        self._own, self._base = np.array(own, dtype=np.intp), base

    def starts(self):
        """Return values from which a fit starts.

        Returns
        -------
        starts : ndarray of shape (n, n_names)
            The medians; and the means of components with a weight above 0.05, if there
            are several.
        """
        mixtures = self._answer.mixtures
        points = [mixtures.quantile(0.5)[0]]
        heavy = np.flatnonzero(np.exp(mixtures.log_weight[0]) > _SMALLEST_WEIGHT)
        if len(heavy) > 1:
            points += list(mixtures.mean[0, heavy])
        return self._complete(np.array(points))

    def sample(self, n, rng):
        """Draw samples.

        Parameters
        ----------
        n : int
            Number of samples.
        rng : numpy Generator
            Source of random numbers.

        Returns
        -------
        samples : ndarray of shape (n, n_names)
            Samples in the units of the parameters.
        """
        return self._complete(self._answer.mixtures.sample(0, n, rng))

    def is_of(self, is_fixed):
        """Check whether all parameters of the posterior are free in the fit.

        Parameters
        ----------
        is_fixed : ndarray of shape (n_names,), bool
            True for parameters that are fixed.

        Returns
        -------
        is_of : bool
            False if a parameter of the posterior is fixed or missing in the fit.
        """
        return len(self._own) == len(self._trained.names) and not (
            is_fixed[self._columns].any()
        )

    def log_density(self, values):
        """Compute the logarithm of the posterior density.

        Parameters
        ----------
        values : ndarray of shape (n, n_names)
            Parameters in their units, all of the posterior among them.

        Returns
        -------
        log_density : ndarray of shape (n,)
            Natural logarithm of the density per unit of the parameters.
        """
        coordinates = self._trained.coordinates
        own = np.empty((len(values), len(coordinates)))
        own[:, self._own] = values[:, self._columns]
        start = np.broadcast_to(self._answer.start, len(own))
        points = coordinates.to_unbounded(own, start)
        slope = coordinates.log_slope(own, start).sum(axis=1)
        return self._answer.mixtures.log_density(0, points) + slope

    def disagrees(self, values):
        """Check whether the posterior contradicts a fit.

        Parameters
        ----------
        values : ndarray of shape (n_names,)
            Parameters of the fit.

        Returns
        -------
        disagrees : bool
            True if their Mahalanobis distance from the nearest component is above the
            0.999 quantile of held-out mock stars.
        """
        coordinates = self._trained.coordinates
        own = np.zeros(len(coordinates))
        own[self._own] = values[self._columns]
        missing = np.setdiff1d(np.arange(len(own)), self._own)
        mixtures = self._answer.mixtures
        if len(missing):  # parameters that are not fitted get their median
            own[missing] = self._values(mixtures.quantile(0.5))[0, missing]
        point = coordinates.to_unbounded(own[None], self._answer.start)[0]
        distance = min(
            np.sqrt(mixtures.distances(0, _towards(point, mean)[None])[0, i])
            for i, mean in enumerate(mixtures.mean[0])
        )
        return bool(distance > self._trained.calibration.distance)

    @property
    def is_novel(self):
        """True if the spectrum is unlike all training spectra."""
        score = self._trained.judge(self._answer)[0]
        return bool(score > self._trained.novelty.threshold)

    def _values(self, points):
        start = np.broadcast_to(self._answer.start, len(points))
        return self._trained.coordinates.to_values(points, start)

    def _complete(self, points):
        every = np.tile(self._base, (len(points), 1))
        every[:, self._columns] = self._values(points)[:, self._own]
        return every


def _towards(point, mean):
    """Move coordinates near a bound towards a mean, but not below `_EDGE`.

    A best fit often ends at a bound inside the tail of the posterior: distances near
    a bound do not count.
    """
    side = np.sign(point)
    inward = np.clip(side * mean, _EDGE, np.maximum(side * point, _EDGE))
    return np.where(side * point > _EDGE, side * inward, point)
