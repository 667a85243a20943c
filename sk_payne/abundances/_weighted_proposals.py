"""Samples of a neural posterior, weighted by the exact likelihood of a star."""

import numpy as np
import torch

from sk_payne.abundances._importance import Samples
from sk_payne.abundances._normal_matrix import prior_penalty
from sk_payne.abundances._problem import as_tensor
from sk_payne.abundances._second_order import spectra_at

__all__ = ["with_proposals"]

# Independent samples below which those of a neural posterior are tried.
_FEW = 40.0


@torch.no_grad()
def with_proposals(problem, found, seeds):
    """Take samples of neural posteriors where they are worth more.

    Samples are drawn from the posterior that the network gives, and weighted by how
    much more probable the likelihood and the priors make them: importance sampling.

    Parameters
    ----------
    problem : Problem
        B stars.
    found : Samples
        Samples around their best fits.
    seeds : list of int
        Of the random numbers of each star.

    Returns
    -------
    samples : Samples
        Of as many samples of each star. Those of stars that had 40 independent ones,
        and of stars without a neural posterior of the same free parameters, are as they
        were.
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
    """Draw and weigh samples of one star, of shape (1, n, K)."""
    values = proposal.sample(n, np.random.default_rng(seed))
    points = problem.observed.block.parameters.to_fit(values)
    points = as_tensor(points, problem.low.device)
    rows = problem.every[row : row + 1]
    left = problem.flux[rows][:, None] - spectra_at(problem.model, rows, points[None])
    chi2 = (left.double() ** 2 * problem.ivar[rows][:, None]).sum(2)[0]
    chi2 = chi2 + prior_penalty(points, [part[rows] for part in problem.prior])
    inside = (points >= problem.low[row]) & (points <= problem.high[row])
    log_density = as_tensor(proposal.log_density(values), chi2.device)
    log_weight = torch.where(inside.all(1), -chi2 / 2 - log_density, -torch.inf)
    if not torch.isfinite(log_weight).any():
        log_weight = torch.zeros_like(log_weight)
        log_weight[1:] = -torch.inf
    return Samples(points[None], torch.softmax(log_weight, dim=0)[None])
