"""Scan of labels: each is held at values over its range, and the rest fitted again.

It finds minima of chi2 that linear steps miss, at the price of some hundred short fits
of every star.
"""

from dataclasses import dataclass
from typing import Any

import torch

from sk_payne.abundances._normal_matrix import free_covariance

__all__ = ["scan_labels"]

# Steps of the fits in each round, and the largest rise of chi2 of those that go on.
_ROUNDS = (2, torch.inf), (3, 1000.0), (5, 100.0), (50, 100.0)

# A fit does not go on if its chi2 is too high by more than this number of times the
# fall that its next full step predicts.
_FALLS = 30.0


def scan_labels(problem, fit, row, positions):
    """Fit one star with each label held at values over its range.

    Fits start where the parabola around the best fit has its minimum for that value. A
    fit is given up if its chi2 is above the best fit by more than 1000 after two steps,
    by more than 100 after five, or by more than 30 times the fall that a full step from
    there predicts.

    Parameters
    ----------
    problem : Problem
        Least-squares problem of the stars.
    fit : LeastSquaresFit
        Best fits.
    row : int
        Row of the star.
    positions : sequence of n float
        Values of the labels: -1 is the lower bound, 1 the upper one.

    Returns
    -------
    parameters : Tensor of shape (n_labels, n, K), float64
        Fits in the variables of the fit.
    rise : Tensor of shape (n_labels, n), float64
        chi2 of these fits minus chi2 of the best fit; infinite for known labels.
    """
    n_labels = problem.observed.block.parameters.n_labels
    scans = [_scan(problem, fit, row, label, positions) for label in range(n_labels)]
    parameters, rise = zip(*scans, strict=True)
    return torch.stack(parameters), torch.stack(rise)


def _scan(problem, fit, row, label, positions):
    """Fit one star with one label held at values over its range."""
    best, bounds = fit.parameters[row], (problem.low[row], problem.high[row])
    lowest, highest = (bound[label] for bound in bounds)
    value = (lowest + highest + best.new_tensor(positions) * (highest - lowest)) / 2
    moving = (bounds[0] < best) & (best < bounds[1])
    moving[label] = True
    covariance = free_covariance(fit.normal_matrix[row, None], moving[None])[0, label]
    along = (covariance / covariance[label]).nan_to_num(0.0, 0.0, 0.0)
    start = best + (value - best[label])[:, None] * along
    low, high = (bound.repeat(len(value), 1) for bound in bounds)
    start[:, label] = low[:, label] = high[:, label] = value
    rise, fall = value - torch.inf, value + torch.inf
    if lowest == highest:
        # a known label
        return start, fall
    held = {"model": _OneStar(problem.model, row), "low": low, "high": high}
    for name in ("flux", "ivar"):
        held[name] = getattr(problem, name)[row].expand(len(value), -1)
    held["prior"] = tuple(part[row].repeat(len(value), 1) for part in problem.prior)
    for n_steps, most in _ROUNDS:
        rows = torch.nonzero(rise < (_FALLS * fall).clip(max=most))[:, 0]
        if not len(rows):
            break
        again = problem.fit(start, rows=rows, max_iterations=n_steps, **held)
        start[rows], fall[rows] = again.parameters[rows], again.expected_fall[rows]
        rise[rows] = again.chi2[rows] - fit.chi2[row]
    return start, rise


@dataclass
class _OneStar:
    """The model of one star, for many fits of it."""

    model: Any
    row: int

    def flux(self, rows, variables):
        """Compute flux of the star."""
        return self.model.flux(torch.full_like(rows, self.row), variables)

    def linearize(self, rows, variables):
        """Compute flux and derivatives of the star."""
        return self.model.linearize(torch.full_like(rows, self.row), variables)
