r"""Damped least squares of many stars at once, within bounds.

Each star is an independent problem.
"""

from dataclasses import dataclass

import numpy as np
import torch

from sk_payne.abundances._fit_state import EVERY, FitState

__all__ = [
    "LeastSquaresFit",
    "fit_least_squares",
]


@dataclass
class LeastSquaresFit:
    """Solutions of all stars.

    Attributes
    ----------
    parameters : Tensor of shape (B, K)
        Best-fit parameters.
    normal_matrix : Tensor of shape (B, K, K)
        J W J^T there plus inverse variances of priors; its inverse is the covariance.
    chi2 : Tensor of shape (B,)
        Sum of squared residuals over variances, priors included.
    n_iterations : Tensor of shape (B,), int64
        Number of steps tried.
    converged : Tensor of shape (B,), bool
        True if neither a damped nor the full step would lower chi2 by more than 1e-6
        (1e-2 in float32).
    expected_fall : Tensor of shape (B,)
        Fall of chi2 that a full step from there predicts.
    residual : Tensor of shape (B, P)
        Observed minus model flux there.
    jacobian : Tensor of shape (B, K, P)
        Derivatives of the flux there.
    """

    parameters: torch.Tensor
    normal_matrix: torch.Tensor
    chi2: torch.Tensor
    n_iterations: torch.Tensor
    converged: torch.Tensor
    expected_fall: torch.Tensor
    residual: torch.Tensor
    jacobian: torch.Tensor

    @classmethod
    def of_state(cls, state):
        """Collect the solutions of a state.

        Parameters
        ----------
        state : FitState
            State in which all stars have converged or used up their steps.

        Returns
        -------
        fit : LeastSquaresFit
            Solutions, in torch.
        """
        return cls(
            parameters=state.to_tensor(state.parameters),
            normal_matrix=state.to_tensor(state.normal),
            chi2=state.to_tensor(state.chi2),
            n_iterations=state.to_tensor(state.n_iterations),
            converged=state.to_tensor(state.converged),
            expected_fall=state.to_tensor(state.expected_fall()),
            residual=state.residual,
            jacobian=state.jacobian,
        )

    def take(self, other, rows):
        """Replace the solutions of stars by those of another fit; add up the steps.

        Parameters
        ----------
        other : LeastSquaresFit
            Fit of the same stars.
        rows : Tensor of int
            Stars to replace.
        """
        other.n_iterations[rows] += self.n_iterations[rows]
        for name, values in vars(self).items():
            values[rows] = getattr(other, name)[rows]

    def take_some(self, other, rows, better):
        """Replace some solutions by those of another fit; add up the steps of all.

        Parameters
        ----------
        other : LeastSquaresFit
            Fit of the same stars.
        rows : Tensor of int
            Stars that it fitted.
        better : Tensor of bool
            True for those of them to replace.
        """
        worse = rows[~better]
        self.n_iterations[worse] += other.n_iterations[worse]
        self.take(other, rows[better])


@torch.no_grad()
def fit_least_squares(
    model, flux, ivar, start, low, high, *, max_iterations, prior=None, rows=None
):
    """Fit a model to many spectra by a bounded Levenberg-Marquardt method.

    Steps are damped by the diagonal of the normal matrix [1]_, the damping follows
    the gain of each step [2]_, steps are projected on the bounds, and parameters held
    at a bound by the gradient are left out of the step. Curvature of chi2 that the
    normal matrix misses is learned from changes of the gradient, and used where it
    predicts chi2 better [3]_: if residuals are large or the model is strongly curved,
    this saves a third of the steps.

    Parameters
    ----------
    model : object
        ``model.flux(rows, parameters)`` returns flux (n, P) of the stars `rows`,
        ``model.linearize(rows, parameters)`` flux and derivatives (n, K, P).
    flux, ivar : Tensor of shape (B, P)
        Observations and inverse variances, 0 for pixels to ignore.
    start : Tensor of shape (B, K), float64
        First guess.
    low, high : Tensor of shape (B, K), float64
        Bounds.
    max_iterations : int
        Largest number of steps.
    prior : tuple of Tensor of shape (B, K), float64, default=None
        Means and inverse variances of parameters, 0 for those without a prior.
    rows : Tensor of int, default=None
        Stars to fit; all if None.

    Returns
    -------
    fit : LeastSquaresFit
        Solutions in float64, whatever the precision of the model; stars that are not
        fitted keep their first guess.

    References
    ----------
    .. [1] Marquardt, SIAM J. Appl. Math. 11, 431, 1963.
    .. [2] Nielsen, "Damping parameter in Marquardt's method", IMM-REP-1999-05.
    .. [3] Dennis, Gay & Welsch, "An adaptive nonlinear least-squares algorithm", ACM
       Trans. Math. Softw. 7, 348, 1981.
    """
    if prior is None:
        prior = torch.zeros_like(start), torch.zeros_like(start)
    state = FitState(model, flux, ivar, start, low, high, prior, max_iterations)
    some = EVERY
    if rows is not None and len(rows) < len(start):
        some = state.to_array(rows)
    with np.errstate(all="ignore"):
        state.run(some)
    return LeastSquaresFit.of_state(state)
