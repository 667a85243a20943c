"""Measurements of stars as arrays: values, covariances and statistics of the fits."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from sk_payne.abundances._correlated_errors import covariance_by_residuals
from sk_payne.abundances._emulator_errors import (
    covariance_by_emulator,
    effective_freedom,
)
from sk_payne.abundances._normal_matrix import free_covariance, prior_penalty
from sk_payne.abundances._residual_test import examine_residuals

__all__ = ["Measurements"]


@dataclass
class Measurements:
    """Results of n stars with K parameters, the first of them labels.

    Attributes
    ----------
    parameters : ndarray of shape (n, K)
        Values in the units of the parameters; NaN for stars without data.
    covariance : ndarray of shape (n, K, K)
        Covariance of the parameters, with the continuum free.
    is_fixed : ndarray of shape (n, K), bool
        True for parameters that were not fitted.
    at_edge : ndarray of shape (n, K), bool
        True for parameters that ended at a limit.
    n_labels : int
        Number of labels.
    n_continuum, n_segments : ndarray of shape (n,), int
        Number of coefficients of the continuum, and of its segments.
    chi2 : ndarray of shape (n,)
        Smallest chi2, without the terms of priors.
    first_velocity : ndarray of shape (n,)
        First guess of the velocity in km/s, around which pixels were chosen.
    n_pixels, n_clipped : ndarray of shape (n,), int
        Number of pixels used, and of clipped outliers.
    error_floor : ndarray of shape (n,)
        1 sigma error added to all pixels, as a fraction of the continuum.
    correlated_error, error_length : ndarray of shape (n,)
        1 sigma correlated error as a fraction of the continuum, and correlation length
        in km/s; 0 and NaN if not requested.
    n_systematic : ndarray of shape (n,)
        Sum over pixels of systematic variance over total variance.
    residual_p : ndarray of shape (n,)
        Probability that noise has residuals this correlated along the spectrum.
    n_iterations : ndarray of shape (n,), int
        Number of steps tried.
    converged : ndarray of shape (n,), bool
        True if no step lowers chi2 any more.
    expected_fall : ndarray of shape (n,)
        Fall of chi2 that the linear model expects from another step.
    flags : ndarray of shape (n,), int
        Sum of the bits of :data:`FLAGS`.
    bad_continuum : ndarray of shape (n,), bool
        True if the continuum is not positive at a good pixel.
    model : ndarray of shape (n, n_pixels) or None
        Flux of the best fit, NaN at unused pixels; None if not requested.
    error_dof : ndarray of shape (n,)
        Degrees of freedom of the t distribution of the errors of labels.
    interval : ndarray of shape (n, K, 2) or None
        Ends of 68 % intervals; None if not requested.
    from_profile : ndarray of shape (n, K), bool, or None
        True for intervals from the profile of chi2, False for Gaussian ones; None for
        intervals of the posterior.
    n_effective : ndarray of shape (n,) or None
        Number of effectively independent samples of the posterior.
    n_stars : ndarray of shape (n,), int
        Number of stars in the spectrum: 2 if a second star is significant.
    delta_chi2, delta_bic : ndarray of shape (n,)
        chi2 and BIC of the fit with two stars minus those with one; NaN without fit of
        two stars.
    """

    parameters: np.ndarray
    covariance: np.ndarray
    is_fixed: np.ndarray
    at_edge: np.ndarray
    n_labels: int
    n_continuum: np.ndarray
    n_segments: np.ndarray
    chi2: np.ndarray
    first_velocity: np.ndarray
    n_pixels: np.ndarray
    n_clipped: np.ndarray
    error_floor: np.ndarray
    correlated_error: np.ndarray
    error_length: np.ndarray
    n_systematic: np.ndarray
    residual_p: np.ndarray
    n_iterations: np.ndarray
    converged: np.ndarray
    expected_fall: np.ndarray
    flags: np.ndarray
    bad_continuum: np.ndarray
    error_dof: np.ndarray
    n_stars: np.ndarray
    delta_chi2: np.ndarray
    delta_bic: np.ndarray
    model: np.ndarray | None = None
    interval: np.ndarray | None = None
    from_profile: np.ndarray | None = None
    n_effective: np.ndarray | None = None

    @classmethod
    def empty(cls, n, parameters, *, n_pixels=None, estimate="mode"):
        """Create empty results of n stars.

        Parameters
        ----------
        n : int
            Number of stars.
        parameters : Parameters
            Parameters of the stars.
        n_pixels : int, default=None
            Number of pixels of `model`; None for no model.
        estimate : {"mode", "mean", "profile"}, default="mode"
            Estimate, with intervals for "mean" and "profile".

        Returns
        -------
        results : Measurements
            Arrays of NaN, zeros and False.
        """
        k = len(parameters)
        nan, zero = (lambda *s: np.full(s, np.nan)), (lambda *s: np.zeros(s, np.int64))
        return cls(
            parameters=nan(n, k),
            covariance=nan(n, k, k),
            is_fixed=np.zeros((n, k), dtype=bool),
            at_edge=np.zeros((n, k), dtype=bool),
            n_labels=parameters.n_labels,
            n_continuum=zero(n),
            n_segments=zero(n),
            chi2=nan(n),
            first_velocity=nan(n),
            n_pixels=zero(n),
            n_clipped=zero(n),
            error_floor=nan(n),
            correlated_error=nan(n),
            error_length=nan(n),
            n_systematic=nan(n),
            residual_p=nan(n),
            n_iterations=zero(n),
            converged=np.zeros(n, dtype=bool),
            expected_fall=nan(n),
            flags=zero(n),
            bad_continuum=np.zeros(n, dtype=bool),
            error_dof=nan(n),
            n_stars=np.ones(n, dtype=np.int64),
            delta_chi2=nan(n),
            delta_bic=nan(n),
            model=None if n_pixels is None else nan(n, n_pixels),
            interval=None if estimate == "mode" else nan(n, k, 2),
            from_profile=np.zeros((n, k), bool) if estimate == "profile" else None,
            n_effective=nan(n) if estimate == "mean" else None,
        )

    def report(self, problem, fit, weights):
        """Store the fits of the stars that have data.

        Parameters
        ----------
        problem : Problem
            Least-squares problem of these stars.
        fit : LeastSquaresFit
            Best fits.
        weights : Reweighting
            Weights of the pixels in the best fits.
        """
        observed = problem.observed
        rows, parameters = observed.rows, observed.block.parameters
        is_fixed = observed.constraints.is_fixed
        free = torch.tensor(~is_fixed, device=fit.parameters.device)
        covariance = free_covariance(fit.normal_matrix, free)
        covariance = self._report_residuals(problem, fit, weights, covariance)
        covariance = covariance.cpu().numpy()
        own = covariance_by_emulator(problem, fit.parameters, fit.normal_matrix)
        self.error_dof[rows] = np.inf
        if own is not None:
            covariance = covariance + own
            labels = slice(parameters.n_labels)
            self.error_dof[rows] = effective_freedom(
                covariance[:, labels, labels],
                own[:, labels, labels],
                float(observed.block.emulator.label_errors.degrees_of_freedom[0]),
            )
        scale = parameters.scale
        self.parameters[rows] = np.where(
            is_fixed,
            observed.constraints.value,
            parameters.from_fit(fit.parameters.cpu().numpy()),
        )
        self.covariance[rows] = covariance * scale[:, None] * scale
        self.is_fixed[rows] = is_fixed
        edge = (fit.parameters <= problem.low) | (fit.parameters >= problem.high)
        self.at_edge[rows] = (edge & free).cpu().numpy()
        self.n_continuum[rows] = observed.n_continuum
        self.n_segments[rows] = observed.n_segments
        self.chi2[rows] = (
            (fit.chi2 - prior_penalty(fit.parameters, problem.prior)).cpu().numpy()
        )
        self.first_velocity[rows] = observed.velocity
        if weights.is_needed:
            used = (problem.ivar > 0).sum(1).cpu().numpy()
            self.n_clipped[rows] = self.n_pixels[rows] - used
            self.n_pixels[rows] = used
        self.error_floor[rows] = weights.floor
        self.n_iterations[rows] = fit.n_iterations.cpu().numpy()
        self.converged[rows] = fit.converged.cpu().numpy()
        self.expected_fall[rows] = fit.expected_fall.cpu().numpy()
        self._report_flux(problem, fit)

    def with_intervals(self, *, of_samples):
        """Create a copy with empty intervals.

        Parameters
        ----------
        of_samples : bool
            True for intervals from samples of the posterior.

        Returns
        -------
        results : Measurements
            The copy.
        """
        n, k = self.parameters.shape
        copied = {name: values.copy() for name, values in self._arrays()}
        copied["interval"] = np.full((n, k, 2), np.nan)
        if of_samples:
            copied["n_effective"] = np.full(n, np.nan)
        else:
            copied["from_profile"] = np.zeros((n, k), dtype=bool)
        return replace(self, **copied)

    def put(self, rows, other, which=slice(None)):
        """Copy the results of other stars.

        Parameters
        ----------
        rows : ndarray of int
            Rows to replace.
        other : Measurements
            Results with the same parameters.
        which : slice or ndarray of bool, default=slice(None)
            Rows of `other` to copy.
        """
        for name, values in self._arrays():
            values[rows] = getattr(other, name)[which]

    def of_block(self, block):
        """Return the results of the stars of a block, for its parameters.

        Parameters
        ----------
        block : StarBlock
            Block with some of these stars and parameters.

        Returns
        -------
        found : Measurements
            Copied results, without model.
        """
        found = Measurements.empty(len(block), block.parameters)
        places = self._places(block, block.rows)
        for name, values in found._arrays():
            values[:] = getattr(self, name)[places.get(name, block.rows)]
        return found

    def put_block(self, block, other, stars=slice(None)):
        """Copy the results of a block of stars, or of some of them.

        Parameters that the block lacks get their fixed value, or the mean and the
        standard deviation of their prior; otherwise 0 with an infinite error. Those of
        an absent second star are NaN.

        Parameters
        ----------
        block : StarBlock
            Block with some of these stars, pixels and parameters.
        other : Measurements
            Results of stars of the block.
        stars : slice or ndarray of int, default=slice(None)
            Rows of these stars in the block.
        """
        rows, plan = block.rows[stars], block.plan
        known = plan.constraints.of(rows)
        has_data = np.where(other.n_pixels > 0, 0.0, np.nan)[:, None]
        absent = plan.values_if_absent + has_data
        values = np.where(known.is_fixed, known.value, known.mean)
        self.parameters[rows] = values + absent
        error = np.where(known.is_fixed, 0.0, known.error) + absent
        self.covariance[rows] = 0.0
        for i in range(self.parameters.shape[1]):
            self.covariance[rows, i, i] = error[:, i] ** 2
        self.is_fixed[rows] = True
        self.at_edge[rows] = False
        places = self._places(block, rows)
        for name, values in self._arrays():
            values[places.get(name, rows)] = getattr(other, name)

    @property
    def labels(self):
        """Values of the labels, of shape (n, n_labels)."""
        return self.parameters[:, : self.n_labels]

    @property
    def label_covariance(self):
        """Covariance of the labels, of shape (n, n_labels, n_labels)."""
        return self.covariance[:, : self.n_labels, : self.n_labels]

    @property
    def all_errors(self):
        """Standard deviations of all parameters, of shape (n, K)."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    @property
    def errors(self):
        """Standard deviations of the labels, of shape (n, n_labels)."""
        return self.all_errors[:, : self.n_labels]

    @property
    def n_fitted(self):
        """Number of fitted parameters and continuum coefficients, of shape (n,)."""
        return (~self.is_fixed).sum(axis=1) + self.n_continuum

    @property
    def dof(self):
        """Degrees of freedom, of shape (n,)."""
        return self.n_pixels - self.n_fitted

    def _report_residuals(self, problem, fit, weights, covariance):
        """Store statistics of residuals; return covariances with correlated errors."""
        observed, rows = problem.observed, problem.observed.rows
        systematic = weights.systematic(np.arange(len(rows)))
        ivar = problem.ivar.cpu().numpy()
        part = np.multiply(ivar, systematic, out=np.zeros(ivar.shape), where=ivar > 0)
        self.n_systematic[rows] = part.sum(axis=1)
        self.residual_p[rows] = examine_residuals(problem, fit, covariance, systematic)
        self.correlated_error[rows] = 0.0
        if observed.block.observation.error_length is not None:
            covariance, *errors = covariance_by_residuals(
                problem, fit, covariance, weights.own_ivar
            )
            self.correlated_error[rows], self.error_length[rows] = errors
        return covariance

    def _report_flux(self, problem, fit):
        """Store flux of the best fits, and whether the continuum is positive."""
        observed, rows = problem.observed, problem.observed.rows
        if observed.basis is not None:
            with torch.no_grad():
                positive = problem.model.is_positive(problem.every, fit.parameters)
            self.bad_continuum[rows] = ~positive.cpu().numpy()
        if self.model is not None:
            with torch.no_grad():
                flux = problem.model.flux(problem.every, fit.parameters)
            good = problem.ivar.cpu().numpy() > 0
            self.model[rows] = np.where(good, flux.double().cpu().numpy(), np.nan)

    def _arrays(self):
        return [(k, v) for k, v in vars(self).items() if isinstance(v, np.ndarray)]

    def _places(self, block, rows):
        """Return indices of stars and parameters of a block, by name of the array."""
        columns = block.columns
        both = rows[:, None], columns
        return {
            "parameters": both,
            "is_fixed": both,
            "at_edge": both,
            "interval": both,
            "from_profile": both,
            "covariance": (rows[:, None, None], columns[:, None], columns),
            "model": (rows[:, None], block.pixels),
        }
