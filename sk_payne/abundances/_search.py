"""Strategy of a fit: starts, repetitions, and comparison of local minima."""

import itertools

import numpy as np
import torch

from sk_payne.abundances._label_scan import scan_labels
from sk_payne.abundances._normal_matrix import prior_penalty
from sk_payne.abundances._observed import observe
from sk_payne.abundances._parameters import VELOCITY
from sk_payne.abundances._problem import as_tensor, pose
from sk_payne.abundances._results import Measurements
from sk_payne.abundances._reweighting import Reweighting
from sk_payne.abundances._score_test import score_excess
from sk_payne.abundances._valleys import other_valleys
from sk_payne.spectra import doppler_factor

__all__ = ["fit_again", "search"]

# A fit is repeated from other starts if chi2 exceeds the degrees of freedom by this
# number of standard deviations.
_POOR = 5

# A fit replaces another if its chi2, or minus twice its logarithm of the likelihood, is
# lower by more than this.
_MARGIN = 0.1

# A fit is repeated if its residuals resemble model spectra by this number of standard
# deviations; one in a hundred good fits does.
_STRANGE = 2.5

# Number of steps after which a fit in another valley must be better.
_FIRST_STEPS = 4

# Largest number of repetitions because the error of the emulator changed; largest
# relative change of the error that needs none.
_N_ROUNDS, _SAME_ERROR = 3, 0.01

# Numbers per block of stars whose residuals are tested together: 32 MB in float64.
_CACHE = 2**22

# Number of velocities to try, best first, while the fit is poor.
_N_VELOCITIES = 3

# A thorough search holds each label at these positions in its range. Fits start from
# the lowest points of this number of labels. Largest number of scans.
_POSITIONS = np.linspace(-0.95, 0.95, 7)
_N_LABELS, _N_SCANS = 3, 4


def search(block, *, keep_model=False):
    """Find the best fits of the stars of a block.

    Each star is fitted from a guess of its labels at its best velocity. If the fit is
    poor, or its residuals resemble model spectra, it is fitted from other labels, and
    then from the next best velocities. With a neural posterior, the first fit starts
    from it, and these starts follow only if that fit is poor. A thorough search also
    holds each label at values over its range, and starts where chi2 is lower.

    Parameters
    ----------
    block : StarBlock
        The stars.
    keep_model : bool, default=False
        True to keep the flux of the best fits.

    Returns
    -------
    results : Measurements
        Results of all stars, without flags.
    """
    results, first = _fit_from_posterior(block, keep_model), 0
    if results is None:
        every, first = np.arange(len(block)), 1
        results = _fit_at_velocity(block, every, 0, keep_model)
    for rank in range(first, _N_VELOCITIES if block.with_velocity else 1):
        poor = np.flatnonzero(_is_poor(results.chi2, results.dof))
        if not len(poor):
            break
        again = _fit_at_velocity(block, poor, rank, keep_model)
        better = _is_better(again, results, poor)
        results.put(poor[better], again, better)
    return results


def fit_again(observed):
    """Fit stars from their earlier best fits.

    Parameters
    ----------
    observed : ObservedStars
        Stars with earlier best fits in `previous`.

    Returns
    -------
    problem : Problem
        Least-squares problem with the weights of the best fits.
    fit : LeastSquaresFit
        Best fits, in the variables of the fit.
    """
    problem = pose(observed)
    parameters = observed.block.parameters
    start = as_tensor(parameters.to_fit(observed.previous), problem.flux.device)
    weights = Reweighting(problem)
    if weights.is_needed:
        with torch.no_grad():
            residual = problem.flux - problem.model.flux(problem.every, start)
        weights.update(residual, problem.every)
    return problem, problem.fit(start)


def _fit_from_posterior(block, keep_model):
    """Fit stars from neural posteriors; return None unless all stars have one."""
    if block.proposals is None:
        return None
    starts = [proposal.starts() for proposal in block.proposals]
    n_starts = max(map(len, starts))
    # stars with fewer starts repeat their last one
    starts = [np.pad(s, ((0, n_starts - len(s)), (0, 0)), mode="edge") for s in starts]
    every = np.arange(len(block))
    return _fit_at_velocity(block, every, 0, keep_model, np.stack(starts, axis=1))


def _fit_at_velocity(block, stars, rank, keep_model, proposed=None):
    """Fit stars from one of the best velocities of the scan, or from given values."""
    results = Measurements.empty(
        len(stars),
        block.parameters,
        n_pixels=len(block.pixels) if keep_model else None,
    )
    previous = None if proposed is None else proposed[0]
    observed = observe(block, stars, rank=rank, previous=previous)
    results.n_pixels[:] = observed.n_pixels
    if not len(observed):
        return results
    problem, error = pose(observed), _OwnError(observed)
    if proposed is None:
        starts = list(_chosen(problem, _sorted(problem, observed.guesses)))
        problem, starts[0] = error.near(problem, starts[0])
    else:
        proposed = block.parameters.to_fit(proposed[:, observed.rows])
        starts = list(_sorted(problem, torch.from_numpy(proposed)))[:1]
        problem, starts[0] = error.near(problem, starts[0], n_steps=1)
    weights = Reweighting(problem)
    fit = _fit_from_starts(problem, weights, starts, observed.at_rest)
    fit.n_iterations += error.n_iterations
    found = error.settle(problem, fit, weights)
    if block.plan.search == "thorough":
        found = _fit_from_scans(*found, error)
    results.report(*found)
    return results


class _OwnError:
    """Error of the emulator at the labels of the fitted stars."""

    def __init__(self, observed):
        self.observed, self.block = observed, observed.block
        self.counts = self.block.emulator.error_model is not None
        self.counts &= self.block.observation.emulator_error
        self.growth, self.n_iterations = None, 0

    def near(self, problem, start, n_steps=_FIRST_STEPS):
        """Take some steps; return the problem with the error there, and a start."""
        if not self.counts:
            return problem, start
        Reweighting(problem).trust_no_rays()
        n_steps = min(n_steps, problem.max_iterations)
        fit = problem.fit(start, max_iterations=n_steps)
        self.n_iterations = fit.n_iterations
        self.growth = self._growth(labels := self._labels(fit))
        return pose(self.observed, labels), fit.parameters

    def settle(self, problem, fit, weights):
        """Fit again while the error at the best fits differs from the assumed one."""
        for _ in range(_N_ROUNDS if self.counts and fit.converged.all() else 0):
            now = self._growth(labels := self._labels(fit))
            if (np.abs(np.log(now / self.growth)) < _SAME_ERROR).all():
                break
            problem = pose(self.observed, labels)
            weights = Reweighting(problem)
            if weights.is_needed:
                weights.update(fit.residual, problem.every)
            again = problem.fit(fit.parameters)
            weights.settle(again, problem.every)
            again.n_iterations += fit.n_iterations
            fit, self.growth = again, now
        return problem, fit, weights

    def _labels(self, fit):
        parameters = self.block.parameters
        found = parameters.from_fit(fit.parameters.cpu().numpy())
        return found[:, : parameters.n_labels]

    def _growth(self, labels):
        return self.block.emulator.error_model.growth(labels)


def _fit_from_starts(problem, weights, starts, at_rest):
    """Fit all stars; repeat doubtful fits from other labels, and try other valleys."""
    guess = problem.observed.block.starts
    first, *starts = starts
    weights.trust_no_rays()
    fit = problem.fit(first)
    weights.settle(fit, problem.every)
    others = _other_starts(guess, at_rest, first, fit.parameters.clone())
    starts, rows = itertools.chain(starts, others), problem.every
    doubt = _doubt(problem, weights, fit, rows)
    while len(rows := rows[doubt[rows] > _STRANGE]):
        start = next(starts, None)
        if start is None:
            break
        _take_better(problem, weights, fit, start, rows)
        doubt[rows] = _doubt(problem, weights, fit, rows)
    for row in problem.every.tolist():
        for start in other_valleys(problem, weights, fit, row):
            _explore(problem, weights, fit, start.expand_as(fit.parameters), row)
    return fit


def _explore(problem, weights, fit, start, row):
    """Fit a star in another valley; stop if the first steps are not better."""
    rows = problem.every[row : row + 1]
    if not weights.is_needed:
        tried = problem.fit(start, rows=rows, max_iterations=_FIRST_STEPS)
        fit.n_iterations[row] += tried.n_iterations[row]
        if not tried.chi2[row] < fit.chi2[row] - _MARGIN:
            return
        start = tried.parameters
    _take_better(problem, weights, fit, start, rows)


def _fit_from_scans(problem, fit, weights, error):
    """Fit all stars from the lowest points of scans of their labels.

    Only stars whose fit was replaced are scanned again.
    """
    rows = problem.every
    for _ in range(_N_SCANS):
        before = fit.parameters.clone()
        for row in rows.tolist():
            parameters, rise = scan_labels(problem, fit, row, _POSITIONS)
            lowest, position = rise.min(1)
            for label in lowest.argsort()[:_N_LABELS].tolist():
                if lowest[label] < -_MARGIN:
                    start = parameters[label, position[label]]
                    start = start.expand_as(fit.parameters)
                    _take_better(problem, weights, fit, start, problem.every[[row]])
        rows = rows[(fit.parameters != before)[rows].any(1)]
        if not len(rows):
            break
        problem, fit, weights = error.settle(problem, fit, weights)
    return problem, fit, weights


def _take_better(problem, weights, fit, start, rows):
    """Fit some stars from another start; keep the better fits."""
    before = weights.copy()
    if weights.is_needed:
        with torch.no_grad():
            flux = problem.model.flux(rows, start[rows])
        residual = fit.residual.clone()
        residual[rows] = problem.flux[rows] - flux
        weights.update(residual, rows)
    again = problem.fit(start, rows=rows)
    weights.settle(again, rows)
    better = again.converged[rows] & (
        _objective(problem, weights, again, rows)
        < _objective(problem, weights, fit, rows) - _MARGIN
    )
    weights.restore(before, rows[~better])
    fit.take_some(again, rows, better)


def _objective(problem, weights, fit, rows):
    """Compute the objective by which fits are compared, with priors."""
    if not weights.is_needed:
        return fit.chi2[rows]
    prior = [part[rows] for part in problem.prior]
    compared = [weights.compare(fit.residual[[i]], i) for i in rows.tolist()]
    return torch.cat(compared) + prior_penalty(fit.parameters[rows], prior)


def _other_starts(guess, at_rest, first, found):
    """Yield starts at other labels."""
    n_labels = len(guess.middle)
    for labels in guess.others(*at_rest, found[:, :n_labels].cpu()):
        yield torch.hstack([labels.to(first.device), first[:, n_labels:]])


def _sorted(problem, starts):
    """Sort starts of each star by chi2, the smallest first."""
    starts = torch.stack([_complete(problem.observed, start) for start in starts])
    if len(starts) == 1:
        return starts
    return starts[_chi2_at(problem, starts).argsort(0), problem.every]


@torch.no_grad()
def _chi2_at(problem, starts):
    """Compute chi2 of all stars at each start, of shape (n_starts, B)."""
    residuals = (problem.flux - problem.model.flux(problem.every, s) for s in starts)
    return torch.stack([(problem.ivar * r**2).sum(1) for r in residuals])


def _chosen(problem, starts):
    """Set parameters with several first guesses to the guess of smallest chi2."""
    parameters = problem.observed.block.parameters
    for column, values in parameters.choices():
        scaled = (np.array(values) - parameters.zero[column]) / parameters.scale[column]
        scaled = torch.from_numpy(scaled).to(starts)
        trials = starts[0].repeat(len(scaled), 1, 1)
        trials[:, :, column] = scaled[:, None]
        starts[:, :, column] = scaled[_chi2_at(problem, trials).argmin(0)]
    return starts


def _complete(observed, start):
    """Append all other parameters to labels and widths of a start."""
    parameters = observed.block.parameters
    every = np.tile(parameters.to_fit(parameters.start), (len(observed), 1))
    if observed.block.with_velocity:
        every[:, parameters.index(VELOCITY)] = observed.velocity
    every = torch.from_numpy(every)
    every[:, : start.shape[1]] = start
    return every.to(observed.block.emulator.device)


def _doubt(problem, weights, fit, rows):
    """Compute the resemblance of residuals to model spectra; infinite for poor fits."""
    n_fitted = as_tensor(problem.observed.n_fitted, problem.flux.device)
    dof = (problem.ivar > 0).sum(1) - n_fitted
    poor = _is_poor(fit.chi2[rows], dof[rows])
    excess = _resemblance(problem, weights, fit, rows)
    return torch.where(poor, torch.inf, excess)


def _resemblance(problem, weights, fit, rows):
    """Compute the resemblance of residuals to model spectra, in standard deviations."""
    observed, block = problem.observed, problem.observed.block
    free = (fit.parameters > problem.low) & (fit.parameters < problem.high)
    numbers = problem.flux.shape[1] * len(block.directions.components)
    found = []
    for part in rows.split(max(1, _CACHE // numbers)):
        which, rest = part.cpu().numpy(), None
        if observed.wavelength is not None:
            rest = as_tensor(observed.wavelength[which], problem.flux.device)
            if block.with_velocity:
                column = block.parameters.index(VELOCITY)
                rest = rest / doppler_factor(fit.parameters[part, column, None])
        directions = block.directions(rest).to(problem.flux)
        with torch.no_grad():
            directions = problem.model.directions(
                part, fit.parameters[part], directions
            )
        systematic = np.sqrt(weights.systematic(which))
        found.append(
            score_excess(
                fit.residual[part],
                problem.ivar[part],
                as_tensor(systematic, problem.flux.device),
                fit.jacobian[part],
                fit.normal_matrix[part],
                free[part],
                directions,
            )
        )
    return torch.cat(found)


def _is_poor(chi2, dof):
    """Check whether chi2 is too large for noise."""
    # chi2 of a good fit has the mean dof and the variance 2 dof
    return chi2 > dof + _POOR * (2 * dof.clip(1)) ** 0.5


def _is_better(again, results, rows):
    """Check whether new fits, with other pixels, are significantly better."""
    before, dof = results.chi2[rows] / results.dof[rows].clip(1), again.dof.clip(1)
    margin = _POOR * np.sqrt(2 / dof) * np.maximum(before, 1)
    return again.converged & (again.chi2 / dof < before - margin)
