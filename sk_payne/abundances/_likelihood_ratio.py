r"""Likelihood ratios: how much worse given labels fit the spectra of stars.

A covariance describes the labels that agree with a spectrum by an ellipsoid. Where the
model is curved within the errors of weak labels, that region is bent, and the ellipsoid
is wrong along its short axes. The rise of chi2 is not.
"""

import numpy as np
import torch

from sk_payne.abundances._emulator_errors import covariance_by_emulator
from sk_payne.abundances._measure import each_block
from sk_payne.abundances._normal_matrix import prior_penalty
from sk_payne.abundances._observed import observe_again
from sk_payne.abundances._problem import as_tensor
from sk_payne.abundances._search import fit_again
from sk_payne.networks import fast_products

__all__ = ["rises_of_chi2"]

# Largest displacement by the error of the emulator, in standard deviations.
_REACH = 10.0


@fast_products()
def rises_of_chi2(plan, best, labels):
    """Compute how much chi2 rises from the best fits of stars to given labels.

    All other parameters are fitted again. Labels may be displaced by the error of the
    emulator, at the price in chi2 of its covariance.

    Parameters
    ----------
    plan : FitPlan
        The plan of the fit.
    best : Measurements
        Best fits of the stars.
    labels : ndarray of shape (n_stars, n_labels)
        Labels in their units.

    Returns
    -------
    rise : ndarray of shape (n_stars,)
        Rise of chi2; NaN for stars without data.
    n_free : ndarray of shape (n_stars,), int
        Number of labels that are not fixed; 0 for stars without data.
    """
    rise = np.full(len(labels), np.nan)
    n_free = np.zeros(len(labels), dtype=np.int64)

    def of_block(block):
        observed = observe_again(block, best.of_block(block))
        if not len(observed):
            return None
        there = labels[block.rows[observed.rows]]
        return observed.rows, *_of_observed(observed, there)

    for block, found in each_block(plan, of_block):
        if found is not None:
            rows = block.rows[found[0]]
            rise[rows], n_free[rows] = found[1:]
    return rise, n_free


def _of_observed(observed, labels):
    """Rises of chi2 of observed stars, and their numbers of free labels."""
    problem, fit = fit_again(observed)
    parameters, is_fixed = observed.block.parameters, observed.constraints.is_fixed
    n_labels = parameters.n_labels
    values = parameters.from_fit(fit.parameters.cpu().numpy())
    values[:, :n_labels] = labels
    center = as_tensor(parameters.to_fit(values), fit.parameters.device)
    root = torch.zeros_like(fit.normal_matrix[:, :n_labels, :n_labels])
    by_emulator = covariance_by_emulator(problem, center, fit.normal_matrix)
    if by_emulator is not None:
        value, vector = np.linalg.eigh(by_emulator[:, :n_labels, :n_labels])
        root = as_tensor(vector * np.sqrt(value.clip(0))[:, None], root.device)
    moves = root.ne(0).any(1)
    # variables: displacements in standard deviations instead of labels
    start, low, high = center.clone(), problem.low.clone(), problem.high.clone()
    start[:, :n_labels] = 0.0
    reach = _REACH * moves
    low[:, :n_labels], high[:, :n_labels] = -reach, reach
    mean, weight = (part.clone() for part in problem.prior)
    # of the priors of the given labels, which displacements do not change
    penalty = prior_penalty(
        center[:, :n_labels], (mean[:, :n_labels], weight[:, :n_labels])
    )
    mean[:, :n_labels], weight[:, :n_labels] = 0.0, moves.to(weight)
    again = problem.fit(
        start,
        model=_Displaced(problem.model, center, root),
        low=low,
        high=high,
        prior=(mean, weight),
    )
    rise = again.chi2 + penalty - fit.chi2
    return rise.cpu().numpy(), (~is_fixed[:, :n_labels]).sum(axis=1)


class _Displaced:
    """Model of stars whose labels are displaced from given ones.

    Parameters
    ----------
    model : object
        Model with ``flux(rows, variables)`` and ``linearize(rows, variables)``.
    center : Tensor of shape (B, K)
        Variables of the model without displacements.
    root : Tensor of shape (B, n_labels, n_labels)
        Matrix that converts displacements in standard deviations to labels, the first
        variables; other variables are those of the model.
    """

    def __init__(self, model, center, root):
        self.model, self.center, self.root = model, center, root
        self.n_labels = root.shape[1]

    def flux(self, rows, variables):
        """Compute flux (n, P) of the stars `rows`."""
        return self.model.flux(rows, self._variables(rows, variables))

    def linearize(self, rows, variables):
        """Compute flux (n, P) and derivatives (n, K, P) of the stars `rows`."""
        there = self._variables(rows, variables)
        flux, jacobian = self.model.linearize(rows, there)
        by_label, others = jacobian.split(
            [self.n_labels, jacobian.shape[1] - self.n_labels], dim=1
        )
        by_displacement = self.root[rows].mT.to(jacobian) @ by_label
        return flux, torch.cat([by_displacement, others], dim=1)

    def _variables(self, rows, variables):
        displacement = variables[:, : self.n_labels]
        moved = (self.root[rows] @ displacement[..., None])[..., 0]
        labels = self.center[rows, : self.n_labels] + moved
        return torch.cat([labels, variables[:, self.n_labels :]], dim=1)
