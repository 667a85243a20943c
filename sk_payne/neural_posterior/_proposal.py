"""Proposal: what a neural posterior says of one star, for the fit of it."""

import numpy as np

__all__ = ["Proposal"]

# Components of the mixture with a smaller weight are no start of their own.
_LIGHT = 0.05

# Coordinates beyond this count as at a bound: the outer 7 % of the prior at each side.
_EDGE = 1.5


class Proposal:
    """Posterior of one star, as starts, samples and a judge of fits.

    Parameters
    ----------
    trained : TrainedPosterior
        The posterior.
    answer : Answer
        Of one star.
    names : list of str
        Of the parameters that are wanted, in their order.
    base : ndarray of shape (n_names,)
        Values of those that the posterior does not have.
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
        """Give values to start from, of shape (n, n_names).

        Returns
        -------
        starts : ndarray of shape (n, n_names)
            The medians, and the middles of components that are not light, if there are
            several.
        """
        mixtures = self._answer.mixtures
        points = [mixtures.quantile(0.5)[0]]
        heavy = np.flatnonzero(np.exp(mixtures.log_weight[0]) > _LIGHT)
        if len(heavy) > 1:
            points += list(mixtures.mean[0, heavy])
        return self._complete(np.array(points))

    def sample(self, n, rng):
        """Draw samples.

        Parameters
        ----------
        n : int
            How many.
        rng : numpy Generator
            Source of random numbers.

        Returns
        -------
        samples : ndarray of shape (n, n_names)
            In the units of the parameters.
        """
        return self._complete(self._answer.mixtures.sample(0, n, rng))

    def is_of(self, is_fixed):
        """Tell whether the posterior is one of the parameters that are free.

        Parameters
        ----------
        is_fixed : ndarray of shape (n_names,), bool
            True for parameters that are fixed.

        Returns
        -------
        is_of : bool
            False if one of its parameters is fixed, or missing.
        """
        return len(self._own) == len(self._trained.names) and not (
            is_fixed[self._columns].any()
        )

    def log_density(self, values):
        """Give the logarithm of the density of values.

        Parameters
        ----------
        values : ndarray of shape (n, n_names)
            In the units of the parameters; all parameters of the posterior are there.

        Returns
        -------
        log_density : ndarray of shape (n,)
            Per unit of the parameters.
        """
        coordinates = self._trained.coordinates
        own = np.empty((len(values), len(coordinates)))
        own[:, self._own] = values[:, self._columns]
        start = np.broadcast_to(self._answer.start, len(own))
        points = coordinates.to_unbounded(own, start)
        slope = coordinates.log_slope(own, start).sum(axis=1)
        return self._answer.mixtures.log_density(0, points) + slope

    def disagrees(self, values):
        """Tell whether the posterior does not believe values.

        Parameters
        ----------
        values : ndarray of shape (n_names,)
            Of a fit.

        Returns
        -------
        disagrees : bool
            Whether their Mahalanobis distance from the nearest component exceeds that
            of all but one in a thousand held-out mock stars.
        """
        coordinates = self._trained.coordinates
        own = np.zeros(len(coordinates))
        own[self._own] = values[self._columns]
        missing = np.setdiff1d(np.arange(len(own)), self._own)
        mixtures = self._answer.mixtures
        if len(missing):  # fixed here: where the posterior has them
            own[missing] = self._values(mixtures.quantile(0.5))[0, missing]
        point = coordinates.to_unbounded(own[None], self._answer.start)[0]
        distance = min(
            np.sqrt(mixtures.distances(0, _towards(point, mean)[None])[0, i])
            for i, mean in enumerate(mixtures.mean[0])
        )
        return bool(distance > self._trained.calibration.distance)

    @property
    def is_novel(self):
        """Whether the spectrum looks like none of the training."""
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
    """Move what is near a bound towards a mean, but not farther than its edge.

    A best fit ends at a bound where a posterior has its tail: the last parts of the
    range are all the same.
    """
    side = np.sign(point)
    inward = np.clip(side * mean, _EDGE, np.maximum(side * point, _EDGE))
    return np.where(side * point > _EDGE, side * inward, point)
