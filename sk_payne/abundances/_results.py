"""Measurements of stars as arrays: values, covariances and how the fit went."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from sk_payne.abundances._correlated_errors import covariance_by_residuals
from sk_payne.abundances._emulator_errors import (
    covariance_by_emulator,
    effective_freedom,
)
from sk_payne.abundances._normal_matrix import invert_normal_matrix, prior_penalty
from sk_payne.abundances._residual_test import examine_residuals

__all__ = ["Measurements"]


@dataclass
class Measurements:
    """Results of n stars with K parameters, the first of them labels.

    Attributes
    ----------
    parameters : ndarray of shape (n, K)
        Values; NaN for stars without data.
    covariance : ndarray of shape (n, K, K)
        Covariance, with all other parameters and the continuum free.
    is_fixed : ndarray of shape (n, K), bool
        True for parameters that were not fitted.
    at_edge : ndarray of shape (n, K), bool
        True for parameters that ended at a limit.
    n_labels : int
        Number of labels.
    n_continuum, n_segments : ndarray of shape (n,), int
        Coefficients of the continuum, and its segments.
    chi2 : ndarray of shape (n,)
        Smallest chi2, without that of priors.
    n_pixels, n_clipped : ndarray of shape (n,), int
        Pixels used, and pixels left out as outliers.
    error_floor : ndarray of shape (n,)
        Error added to all pixels, as a fraction of the continuum.
    correlated_error, error_length : ndarray of shape (n,)
        1 sigma errors that go together along the spectrum, as a fraction of the
        continuum, and their correlation length in km/s; 0 and NaN if not asked for.
    n_systematic : ndarray of shape (n,)
        Sum over the pixels of the part of the variance that is no noise.
    residual_p : ndarray of shape (n,)
        Probability that noise makes residuals go together along the spectrum as much.
    n_iterations : ndarray of shape (n,), int
        Steps tried.
    converged : ndarray of shape (n,), bool
        Whether chi2 could not be lowered further.
    expected_fall : ndarray of shape (n,)
        Fall of chi2 that another full step promised.
    flags : ndarray of shape (n,), int
        Sum of the bits of :data:`FLAGS`.
    bad_continuum : ndarray of shape (n,), bool
        Whether the continuum is not positive at some good pixel.
    model : ndarray of shape (n, n_pixels) or None
        Flux of the best fit, NaN at pixels not used; None if not asked for.
    error_dof : ndarray of shape (n,)
        Degrees of freedom of the t distribution that errors of the labels follow.
    interval : ndarray of shape (n, K, 2) or None
        Ends of intervals of 68 %; None if only standard deviations were asked for.
    from_profile : ndarray of shape (n, K), bool, or None
        Whether the interval follows from the profile of chi2 or else is Gaussian; None
        if all intervals are those of the posterior.
    n_effective : ndarray of shape (n,) or None
        Number of independent samples of the posterior.
    n_stars : ndarray of shape (n,), int
        Number of stars in the spectrum: 2 if a second one is believed.
    delta_chi2, delta_bic : ndarray of shape (n,)
        chi2 and BIC of the fit with two stars minus those with one; NaN if two were
        not fitted.
    """

    parameters: np.ndarray
    covariance: np.ndarray
    is_fixed: np.ndarray
    at_edge: np.ndarray
    n_labels: int
    n_continuum: np.ndarray
    n_segments: np.ndarray
    chi2: np.ndarray
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
        """Give results of n stars that are not measured yet.

        Parameters
        ----------
        n : int
            Number of stars.
        parameters : Parameters
            Their parameters.
        n_pixels : int, default=None
            Pixels of the model; None for no model.
        estimate : {"mode", "mean", "profile"}, default="mode"
            Whether there are intervals: of samples for "mean".

        Returns
        -------
        results : Measurements
            NaN, zeros and False.
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
        """Write down the fits of the stars that have data.

        Parameters
        ----------
        problem : Problem
            Problem that was solved.
        fit : LeastSquaresFit
            Its solution.
        weights : Reweighting
            Weights of the pixels at the end.
        """
        observed = problem.observed
        rows, parameters = observed.rows, observed.block.parameters
        is_fixed = observed.constraints.is_fixed
        free = torch.tensor(~is_fixed, device=fit.parameters.device)
        both = free[:, None] & free[:, :, None]
        normal = fit.normal_matrix * both
        covariance = invert_normal_matrix(normal + torch.diag_embed((~free).double()))
        covariance = covariance.masked_fill(~both, 0.0)
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
        """Give a copy with room for intervals.

        Parameters
        ----------
        of_samples : bool
            Whether the intervals are those of samples of the posterior.

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
        """Take over the results of other stars.

        Parameters
        ----------
        rows : ndarray of int
            Where they go.
        other : Measurements
            Results with the same parameters.
        which : slice or ndarray of bool, default=slice(None)
            Stars of the other.
        """
        for name, values in self._arrays():
            values[rows] = getattr(other, name)[which]

    def of_block(self, block):
        """Give the results of the stars of a block, for its parameters.

        Parameters
        ----------
        block : StarBlock
            Its stars and parameters are some of these.

        Returns
        -------
        found : Measurements
            Without model.
        """
        found = Measurements.empty(len(block), block.parameters)
        places = self._places(block, block.rows)
        for name, values in found._arrays():
            values[:] = getattr(self, name)[places.get(name, block.rows)]
        return found

    def put_block(self, block, other, stars=slice(None)):
        """Take over the results of a block of stars, or of some of them.

        Parameters that the block lacks are as they were known before: fixed, or by a
        prior; otherwise 0 with an infinite error, and NaN for those of a second star
        that is not there.

        Parameters
        ----------
        block : StarBlock
            Its stars, pixels and parameters are some of these.
        other : Measurements
            Results of these stars.
        stars : slice or ndarray of int, default=slice(None)
            Rows of the stars in the block.
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
        """Number of values fitted to each star, those of the continuum included."""
        return (~self.is_fixed).sum(axis=1) + self.n_continuum

    @property
    def dof(self):
        """Degrees of freedom, of shape (n,)."""
        return self.n_pixels - self.n_fitted

    def _report_residuals(self, problem, fit, weights, covariance):
        """Write down what residuals tell; give the covariance with their errors."""
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
        """Write down flux and continuum of the best fits."""
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
        """Where some stars and the parameters of a block are."""
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
