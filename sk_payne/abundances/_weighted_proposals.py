"""Samples of neural posteriors, weighted by the exact likelihood of a star."""

import numpy as np
import torch

from sk_payne.abundances._importance import Samples
from sk_payne.abundances._normal_matrix import prior_penalty
from sk_payne.abundances._problem import as_tensor
from sk_payne.abundances._second_order import spectra_at

__all__ = ["with_proposals"]

# Number of effectively independent samples below which a neural posterior is sampled.
_FEW = 40.0


@torch.no_grad()
def with_proposals(problem, found, seeds):
    """Replace samples by those of neural posteriors if more are independent.

    Samples are drawn from the posterior of the network. Their weights are likelihood
    times priors over the density of the network: importance sampling.

    Parameters
    ----------
    problem : Problem
        Least-squares problem of B stars.
    found : Samples
        Samples around the best fits of these stars.
    seeds : list of int
        Seeds of the random numbers of each star.

    Returns
    -------
    samples : Samples
        The same number of samples for each star. Samples are not changed for stars with
        40 effectively independent samples, and for stars without a neural posterior of
        the same free parameters.
    """
    observed = problem.observed
    proposals = observed.block.proposals
    few = torch.nonzero(found.n_effective < _FEW)[:, 0].tolist()
    if proposals is None or not few:
        return found
    samples, weight = found.samples.clone(), found.weight.clone()
    for row in few:
        proposal = proposals[observed.stars[row]]
        if not proposal.is_of(observed.constraints.is_fixed[row]):
            continue
        own = _weighted(problem, row, proposal, samples.shape[1], seeds[row])
        if own.n_effective[0] > found.n_effective[row]:
            samples[row], weight[row] = own.samples[0], own.weight[0]
    return Samples(samples, weight)


def _weighted(problem, row, proposal, n, seed):
    """Draw and weight samples of one star, of shape (1, n, K)."""
    values = proposal.sample(n, np.random.default_rng(seed))
    points = problem.observed.block.parameters.to_fit(values)
    points = as_tensor(points, problem.low.device)
    rows = problem.every[row : row + 1]
    flux = spectra_at(problem.model, rows, points[None])
    residual = problem.flux[rows][:, None] - flux
    chi2 = (residual.double() ** 2 * problem.ivar[rows][:, None]).sum(2)[0]
    chi2 = chi2 + prior_penalty(points, [part[rows] for part in problem.prior])
    inside = (points >= problem.low[row]) & (points <= problem.high[row])
    log_density = as_tensor(proposal.log_density(values), chi2.device)
    log_weight = torch.where(inside.all(1), -chi2 / 2 - log_density, -torch.inf)
    if not torch.isfinite(log_weight).any():
        log_weight = torch.zeros_like(log_weight)
        log_weight[1:] = -torch.inf
    return Samples(points[None], torch.softmax(log_weight, dim=0)[None])
