"""Posterior means of stars, and seeds of random numbers from their spectra."""

import zlib

import numpy as np

from sk_payne.abundances._emulator_errors import displacements_by_emulator
from sk_payne.abundances._importance import sample_by_importance
from sk_payne.abundances._observed import observe_again
from sk_payne.abundances._search import fit_again
from sk_payne.abundances._weighted_proposals import with_proposals

__all__ = ["replace_by_means", "sample_stars", "seeds_of"]

# Number of posterior samples per star, and quantiles at the ends of the middle 68 %.
_N_SAMPLES, _MIDDLE = 192, (0.1587, 0.8413)


def replace_by_means(block, results):
    """Replace best fits by means of the posterior around them.

    Parameters
    ----------
    block : StarBlock
        The stars.
    results : Measurements
        Best fits.

    Returns
    -------
    means : Measurements
        Copy with means, covariances and intervals of the posterior.
    """
    means = results.with_intervals(of_samples=True)
    observed = observe_again(block, results)
    if not len(observed):
        return means
    seeds = seeds_of(observed.flux)
    sampled = sample_stars(observed, n=_N_SAMPLES, seeds=seeds)
    parameters, rows = block.parameters, observed.rows
    means.parameters[rows] = parameters.from_fit(sampled.mean.cpu().numpy())
    covariance = sampled.covariance.cpu().numpy()
    scale = parameters.scale
    means.covariance[rows] = covariance * scale[:, None] * scale
    means.n_effective[rows] = sampled.n_effective.cpu().numpy()
    for i, part in enumerate(_MIDDLE):
        quantile = sampled.quantile(part).cpu().numpy()
        means.interval[rows, :, i] = parameters.from_fit(quantile)
    return means


def sample_stars(observed, *, n, seeds):
    """Sample the posterior of stars that were fitted.

    Parameters
    ----------
    observed : ObservedStars
        Stars with the parameters of an earlier fit.
    n : int
        Number of samples per star.
    seeds : list of int
        Seeds of the random numbers of each star.

    Returns
    -------
    sampled : Samples
        Samples in the variables of the fit.
    """
    problem, fit = fit_again(observed)
    arguments = problem.arguments()
    arguments.pop("max_iterations")
    samples = sample_by_importance(start=fit.parameters, n=n, seeds=seeds, **arguments)
    samples = with_proposals(problem, samples, seeds)
    displacements = displacements_by_emulator(problem, fit, n, seeds)
    if displacements is None:
        return samples
    return samples.displaced(displacements, problem.low, problem.high)


def seeds_of(flux, seed=0):
    """Derive seeds of random numbers from spectra alone.

    Parameters
    ----------
    flux : ndarray of shape (n, P)
        Spectra without padding.
    seed : int, default=0
        Number that changes all seeds.

    Returns
    -------
    seeds : list of int
        Seed of each spectrum.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._means import seeds_of
    >>> one, other = seeds_of(np.array([[1.0, 0.5], [0.9, 1.0]]))
    >>> [one] == seeds_of(np.array([[1.0, 0.5]])), one == other
    (True, False)
    """
    return [zlib.crc32(np.ascontiguousarray(row).tobytes(), seed) for row in flux]
