"""Search for a second star in spectra that one star was fitted to."""

import numpy as np
import torch

from sk_payne.abundances._flags import set_flags
from sk_payne.abundances._observed import observe, observe_again
from sk_payne.abundances._parameters import VELOCITY
from sk_payne.abundances._problem import as_tensor, pose
from sk_payne.abundances._results import Measurements
from sk_payne.abundances._reweighting import Reweighting
from sk_payne.abundances._search import fit_again

__all__ = ["find_second_stars"]

# Two stars are fitted if the lines of another star would lower chi2 by more than this
# at some velocity: noise does so for a few per cent of stars.
_SEEN = 16.0

# Number of velocities of the second star to try; steps of the velocity scan by which
# the fit may move them; steps below which the lines of both stars blend.
_N_VELOCITIES, _STEPS, _BLENDED = 3, 6, 16


def find_second_stars(block, results, *, keep_model=False):
    """Fit two stars where residuals show the lines of another one.

    Parameters
    ----------
    block : StarBlock
        The spectra.
    results : Measurements
        Fits of one star; differences of chi2 and BIC are written into it.
    keep_model : bool, default=False
        True to keep the flux of the fits.

    Returns
    -------
    doubles : list of tuple
        Rows in the block of spectra with two accepted stars, and the fits of two stars
        to them, with the parameters of ``block.doubled``.
    """
    accepted = []
    for row in np.flatnonzero(results.n_pixels > 0):
        double = _fit_two(block, results, row, keep_model)
        if double is None:
            continue
        for name in ("delta_chi2", "delta_bic"):
            getattr(results, name)[row] = getattr(double, name)[0]
        if _is_accepted(block, double):
            double.n_stars[:] = 2
            set_flags(double, block.doubled.parameters)
            accepted.append((row, double))
    return accepted


def _is_accepted(block, double):
    """Check that BIC falls enough, and that the ratio is above its lower limit."""
    least = block.plan.second_star.min_delta_bic
    names = block.doubled.parameters.names
    ratio = [i for i, n in enumerate(names) if n in ("flux_ratio", "radius_ratio")]
    limit = 1.01 * block.doubled.parameters.low[ratio]
    has_light = double.is_fixed[0, ratio] | (double.parameters[0, ratio] > limit)
    return double.converged[0] and double.delta_bic[0] < -least and has_light.all()


def _fit_two(block, results, row, keep_model):
    """Fit two stars to one spectrum; None if residuals show no other star."""
    single = observe_again(block, results, np.array([row]))
    if not len(single):
        return None
    problem, fit = fit_again(single)
    best = None
    for first, second, labels in _velocities(problem, fit):
        start = _start(block, results.parameters[row], first, second, labels)
        best = _better(best, _fit_from(block, row, start))
    if best is None:
        return None
    # near a ratio of one, either star may be the first
    swapped = _exchanged(block.doubled, best[1])
    if swapped is not None:
        best = _better(best, _fit_from(block, row, swapped))
    double, fit, weights = best
    n_pixels = len(block.pixels) if keep_model else None
    measured = Measurements.empty(1, block.doubled.parameters, n_pixels=n_pixels)
    measured.n_pixels[:] = double.observed.n_pixels
    measured.report(double, fit, weights)
    _compare(single, double, fit, measured)
    return measured


def _fit_from(block, row, start):
    """Fit two stars from parameters in their units; None without pixels."""
    parameters = block.doubled.parameters
    limits = _limits(block, start[parameters.index(f"{VELOCITY}_2")])
    previous, stars = np.tile(start, (len(block), 1)), np.array([row])
    observed = observe(block.doubled, stars, previous=previous, second_limits=limits)
    if not len(observed):
        return None
    problem = pose(observed)
    weights = Reweighting(problem)
    fit = problem.fit(as_tensor(parameters.to_fit(start)[None], problem.flux.device))
    weights.settle(fit, problem.every)
    return problem, fit, weights


def _better(one, other):
    """Return the fit of lower chi2 per pixel: their pixels near the ends may differ."""
    if one is None or other is None:
        return other if one is None else one
    size = [fit.chi2[0] / (problem.ivar > 0).sum() for problem, fit, _ in (one, other)]
    return one if size[0] <= size[1] else other


def _exchanged(block, fit):
    """Parameters with exchanged stars; None if the ratio is below its upper limit."""
    parameters = block.parameters
    start = parameters.from_fit(fit.parameters.cpu().numpy())[0]
    for name in ("flux_ratio", "radius_ratio"):
        if name in parameters:
            i = parameters.index(name)
            if start[i] < parameters.high[i]:
                return None
            start[i] = np.clip(0.9, parameters.low[i], parameters.high[i])
    for name in parameters.names:
        if f"{name}_2" in parameters:
            pair = [parameters.index(name), parameters.index(f"{name}_2")]
            start[pair] = start[pair[::-1]]
    return start


def _compare(single, double, fit, measured):
    """Store chi2 and BIC of two stars minus those of one, on the same pixels."""
    problem = pose(single)
    problem.ivar.copy_(double.ivar)
    start = single.block.parameters.to_fit(single.previous)
    alone = problem.fit(as_tensor(start, problem.flux.device))
    more = double.observed.n_fitted - single.n_fitted
    n_pixels = (double.ivar > 0).sum(1).cpu().numpy()
    measured.delta_chi2[:] = (fit.chi2 - alone.chi2).cpu().numpy()
    measured.delta_bic[:] = measured.delta_chi2 + more * np.log(n_pixels)


@torch.no_grad()
def _velocities(problem, fit):
    """Return first guesses of both velocities and of the labels of the second star."""
    observed, block = problem.observed, problem.observed.block
    continuum = observed.continuum
    residual = fit.residual.double().cpu().numpy() / continuum
    model = observed.flux / continuum - residual
    ivar = problem.ivar.double().cpu().numpy() * continuum**2
    scan = block.scan
    velocity, fall, template = scan.second(observed.wavelength, residual, model, ivar)
    first = float(block.parameters.from_fit(fit.parameters.cpu().numpy())[0, _v(block)])
    low, high = block.plan.second_star.velocity_limits(block.observation)
    allowed = (velocity >= low) & (velocity <= high)
    allowed &= np.abs(velocity - first) > 2 * scan.step
    fall = np.where(allowed, fall[0], -np.inf)
    starts = []
    for _ in range(_N_VELOCITIES):
        i = int(fall.argmax())
        if fall[i] < _SEEN:
            break
        labels = block.starts.template_labels(int(template[0, i]))
        starts.append((first, velocity[i], labels))
        if abs(velocity[i] - first) < _BLENDED * scan.step:
            starts.append((2 * first - velocity[i], velocity[i], labels))
        fall = np.where(np.abs(velocity - velocity[i]) <= 8 * scan.step, -np.inf, fall)
    return starts


def _v(block):
    return block.parameters.index(VELOCITY)


def _start(block, single, first, second, labels):
    """First guesses of the parameters of both stars, in their units."""
    parameters = block.doubled.parameters
    start = parameters.start.copy()
    start[parameters.columns(block.parameters.names)] = single
    for i, name in enumerate(block.parameters.names[: parameters.n_labels]):
        if f"{name}_2" in parameters:
            start[parameters.index(f"{name}_2")] = labels[i]
    if "vsini_2" in parameters and "vsini" in parameters:
        start[parameters.index("vsini_2")] = start[parameters.index("vsini")]
    start[_v(block.doubled)] = np.clip(first, *block.observation.velocity_range)
    start[parameters.index(f"{VELOCITY}_2")] = second
    return start


def _limits(block, velocity):
    """Limits of the velocity of the second star, of shape (n, 2)."""
    margin = max(_STEPS * block.scan.step, block.smear / 2)
    low, high = block.plan.second_star.velocity_limits(block.observation)
    limits = np.clip([velocity - margin, velocity + margin], low, high)
    return limits[None]
