"""One-sided limits of parameters by the profile of chi2."""

import numpy as np
from scipy.stats import norm

from sk_payne.abundances._measure import each_block
from sk_payne.abundances._observed import observe_again
from sk_payne.abundances._profile import find_limit, variances
from sk_payne.abundances._search import fit_again
from sk_payne.networks import fast_products

__all__ = ["profile_limits"]


@fast_products()
def profile_limits(plan, best, names, *, confidence, side):
    """Find one-sided limits, where the profile of chi2 has risen by a quantile.

    Parameters
    ----------
    plan : FitPlan
        The plan of the fit.
    best : Measurements
        Best fits of all stars.
    names : list of str
        Names of the parameters.
    confidence : float
        Confidence level, between 0.5 and 1.
    side : {"upper", "lower"}
        Side of the limits.

    Returns
    -------
    limits : ndarray of shape (n, n_names)
        Limits in the units of the parameters; infinite where chi2 does not rise enough
        within the bounds, NaN for stars without data, and the values of fixed
        parameters.
    """
    limits = np.full((len(plan.spectra), len(names)), np.nan)
    sign = 1.0 if side == "upper" else -1.0
    z = float(norm.ppf(confidence))

    def of_block(block):
        limits = np.full((len(block), len(names)), np.nan)
        observed = observe_again(block, best.of_block(block))
        if not len(observed):
            return limits
        problem, fit = fit_again(observed)
        stars, parameters = observed.rows, block.parameters
        noise, total = variances(problem, fit)
        for i, name in enumerate(names):
            # the spectrum does not constrain the offset of an absent arm
            limits[stars, i] = sign * np.inf
            if name in parameters:
                column = parameters.index(name)
                # chi2 does not include correlated errors of the emulator
                scaled = z * (total / noise)[:, column].sqrt().nan_to_num(1.0)
                place = find_limit(fit, problem, column, sign, scaled)
                place = parameters.scale[column] * place.cpu().numpy()
                limits[stars, i] = parameters.zero[column] + place
            fixed = plan.constraints.of(block.rows[stars])
            fixed = fixed.value[:, plan.parameters.index(name)]
            is_fixed = np.isfinite(fixed)
            limits[stars[is_fixed], i] = fixed[is_fixed]
        return limits

    for block, of_stars in each_block(plan, of_block):
        limits[block.rows] = of_stars
    return limits
