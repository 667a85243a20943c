"""Samples of the posterior of each star, by a Markov chain or importance sampling."""

import warnings

import numpy as np
import torch
from sklearn.utils import Bunch

from sk_payne.abundances._emulator_errors import displacements_by_emulator
from sk_payne.abundances._importance import Samples
from sk_payne.abundances._means import sample_stars, seeds_of
from sk_payne.abundances._measure import each_block
from sk_payne.abundances._normal_matrix import invert_normal_matrix, prior_penalty
from sk_payne.abundances._observed import observe_again
from sk_payne.abundances._search import fit_again
from sk_payne.networks import fast_products

__all__ = ["sample_posterior", "weigh_posterior"]

# Smallest length of the second half of a chain, in autocorrelation times.
_LONG_ENOUGH = 25

# Number of walkers per parameter, and smallest number of walkers.
_WALKERS, _FEWEST = 2, 32


@fast_products()
def sample_posterior(plan, best, *, n_steps, n_draws, random_state, verbose):
    """Sample labels and nuisances of stars one after the other.

    Parameters
    ----------
    plan : FitPlan
        The plan of the fit.
    best : Measurements
        Best fits of the stars; walkers start around them.
    n_steps : int
        Number of steps of all walkers; the first half is discarded.
    n_draws : int
        Number of samples to keep per star.
    random_state : numpy RandomState
        Generator of all random numbers.
    verbose : int
        0 shows no progress bar.

    Returns
    -------
    posterior : Bunch
        As :meth:`AbundanceRegressor.posterior` describes it.

    Warns
    -----
    UserWarning
        If chains are shorter than 25 autocorrelation times.
    """
    n = len(plan.spectra)
    n_lengths, acceptance = np.full(n, np.inf), np.full(n, np.nan)
    seed = random_state.randint(2**31)

    def of_block(block):
        results = best.of_block(block)
        stars = [
            observe_again(block, results, np.array([i])) for i in range(len(block))
        ]
        return [
            _sample(star, n_steps, n_draws, seed) if len(star) else None
            for star in stars
        ]

    samples, n_effective = _blank(plan, n_draws)
    for block, chains in each_block(plan, of_block, verbose=verbose):
        for row, chain in zip(block.rows, chains, strict=True):
            if chain is not None:
                samples[row][:, block.columns], *summary = chain
                n_effective[row], n_lengths[row], acceptance[row] = summary
    short = np.flatnonzero(n_lengths < _LONG_ENOUGH)
    if len(short):
        warnings.warn(
            f"The chains of {len(short)} of {n} stars are shorter than {_LONG_ENOUGH} "
            f"autocorrelation times, that of row {short[0]} has "
            f"{n_lengths[short[0]]:.0f}: samples may not show the whole posterior. "
            "Pass more `n_steps`.",
            stacklevel=3,
        )
    return _bunch(plan, samples, n_effective, acceptance)


@fast_products()
def weigh_posterior(plan, best, *, n_draws, random_state, verbose):
    """Sample labels and nuisances of many stars by importance sampling.

    Parameters
    ----------
    plan, best, n_draws, random_state, verbose
        As in `sample_posterior`.

    Returns
    -------
    posterior : Bunch
        As :meth:`AbundanceRegressor.posterior` describes it.
    """
    seed = random_state.randint(2**31)

    def of_block(block):
        observed = observe_again(block, best.of_block(block))
        if not len(observed):
            return observed.rows, None, None
        seeds = seeds_of(observed.flux, seed)
        weighted = sample_stars(observed, n=n_draws, seeds=seeds)
        # systematic resampling, each star with the same random number
        drawn = weighted.draw(n_draws, 0.5).cpu().numpy()
        n_samples = weighted.n_effective.cpu().numpy()
        return observed.rows, block.parameters.from_fit(drawn), n_samples

    samples, n_effective = _blank(plan, n_draws)
    for block, result in each_block(plan, of_block, verbose=verbose):
        stars, drawn, n_samples = result
        if len(stars):
            rows = block.rows[stars]
            samples[rows[:, None], :, block.columns] = drawn.swapaxes(1, 2)
            n_effective[rows] = n_samples
    return _bunch(plan, samples, n_effective, np.full(len(samples), np.nan))


def _blank(plan, n_draws):
    """Make samples and effective numbers, NaN for stars without data."""
    n = len(plan.spectra)
    samples = np.full((n, n_draws, len(plan.parameters)), np.nan)
    return samples, np.full(n, np.nan)


def _bunch(plan, samples, n_effective, acceptance):
    return Bunch(
        samples=samples,
        label_names=plan.parameters.names,
        label_units=plan.parameters.units,
        n_effective=n_effective,
        acceptance=acceptance,
    )


def _sample(observed, n_steps, n_draws, seed):
    """Sample one star: draws, effective number, chain length and acceptance."""
    [seed] = seeds_of(observed.flux, seed)
    chain, tau, acceptance = _chain(observed, n_steps, np.random.RandomState(seed))
    flat = chain.reshape(-1, chain.shape[2])
    # at random: a fixed stride may meet the same few walkers again and again
    rng = np.random.RandomState(seed)
    drawn = flat[rng.choice(len(flat), n_draws, len(flat) < n_draws)]
    drawn = _displaced(drawn, observed, seed)
    return drawn, len(flat) / tau, len(chain) / tau, acceptance


def _displaced(drawn, observed, seed):
    """Add errors of the emulator to samples (n, K) of one star, in their units."""
    problem, fit = fit_again(observed)
    displacements = displacements_by_emulator(problem, fit, len(drawn), [seed])
    if displacements is None:
        return drawn
    parameters = observed.block.parameters
    samples = torch.from_numpy(parameters.to_fit(drawn)).to(problem.low)[None]
    weight = samples.new_full(samples.shape[:2], 1 / len(drawn))
    moved = Samples(samples, weight).displaced(displacements, problem.low, problem.high)
    return parameters.from_fit(moved.samples[0].cpu().numpy())


def _chain(observed, n_steps, rng):
    """Second half of a chain in units of the parameters, with tau and acceptance."""
    try:
        import emcee
    except ImportError as error:
        raise ImportError(
            "Sampling needs emcee. Install it with: pip install 'sk_payne[posterior]'."
        ) from error
    problem, fit = fit_again(observed)
    low, high = (end[0].cpu().numpy() for end in (problem.low, problem.high))
    is_free = low < high
    best = fit.parameters[0].cpu().numpy()
    n_free = int(is_free.sum())
    n_walkers = max(_WALKERS * n_free, _FEWEST)

    def complete(free):
        variables = np.tile(best, (len(free), 1))
        variables[:, is_free] = free
        return variables

    def log_probability(free):
        variables = complete(np.atleast_2d(free))
        inside = ((variables >= low) & (variables <= high)).all(axis=1)
        result = np.full(len(variables), -np.inf)
        if inside.any():
            result[inside] = _log_likelihood(problem, variables[inside])
        return result

    normal = fit.normal_matrix[:, is_free][:, :, is_free]
    start = _around(best[is_free], normal, low[is_free], high[is_free], n_walkers, rng)
    sampler = emcee.EnsembleSampler(
        n_walkers,
        n_free,
        log_probability,
        vectorize=True,
        moves=emcee.moves.DEMove(),
    )
    sampler.random_state = rng.get_state()
    sampler.run_mcmc(start, n_steps)
    chain = sampler.get_chain(discard=n_steps // 2)
    with np.errstate(all="ignore"):
        tau = emcee.autocorr.integrated_time(chain, quiet=True, tol=0)
    # walkers that never moved have no autocorrelation time
    tau = float(np.where(np.isfinite(tau), tau, len(chain)).max())
    n_kept = len(chain)
    chain = complete(chain.reshape(-1, n_free))
    chain = observed.block.parameters.from_fit(chain)
    chain = chain.reshape(n_kept, n_walkers, -1)
    return chain, tau, float(sampler.acceptance_fraction.mean())


def _log_likelihood(problem, variables):
    """Minus half of chi2, priors included, of one star."""
    variables = torch.from_numpy(variables).to(problem.low.device)
    rows = torch.zeros(len(variables), dtype=torch.int64, device=variables.device)
    with torch.no_grad():
        flux = problem.model.flux(rows, variables)
        chi2 = (problem.ivar * (problem.flux - flux).double() ** 2).sum(1)
        chi2 = chi2 + prior_penalty(variables, problem.prior)
    return -chi2.cpu().numpy() / 2


def _around(best, normal, low, high, n_walkers, rng):
    """Walkers around the best fit, no wider than the bounds and all inside."""
    covariance = invert_normal_matrix(normal)[0].cpu().numpy()
    error = np.sqrt(np.diag(covariance))
    error = np.where(np.isfinite(error), error, high - low).clip(max=(high - low) / 4)
    start = best + error * rng.standard_normal((n_walkers, len(best)))
    # reflect walkers at the bounds
    start = np.where(start < low, 2 * low - start, start)
    start = np.where(start > high, 2 * high - start, start)
    return start.clip(low, high)
