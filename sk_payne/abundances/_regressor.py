"""AbundanceRegressor: stellar parameters and abundances from spectra."""

from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    MultiOutputMixin,
    RegressorMixin,
    clone,
)
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.validation import check_is_fitted

from sk_payne.abundances._beyond_errors import BeyondErrors
from sk_payne.abundances._estimator_protocol import EstimatorProtocol
from sk_payne.abundances._fitted_emulator import TrainingRecord, fitted_emulator_of
from sk_payne.abundances._flags import warn_unmeasured
from sk_payne.abundances._former_arguments import (
    FORMER,
    takes_former_arguments,
    with_former_arguments,
)
from sk_payne.abundances._input import read_observed, read_training, refuse_paths
from sk_payne.abundances._measure import measure_stars
from sk_payne.abundances._observation import Observation
from sk_payne.abundances._plan import plan_fit
from sk_payne.abundances._table import make_table
from sk_payne.abundances._training_spectra import describe, fill_bad_pixels
from sk_payne.inputs import read_labels

# Arguments that are checked with the spectra.
_OF_FIT = ("fixed", "priors", "estimate", "start", "search", "max_iterations")


class AbundanceRegressor(
    EstimatorProtocol,
    BeyondErrors,
    MetaEstimatorMixin,
    MultiOutputMixin,
    RegressorMixin,
    BaseEstimator,
):
    r"""Stellar parameters, abundances and radial velocity of observed stars.

    Bounded damped least squares, with exact derivatives of an emulator, find the labels
    whose spectrum matches the observed one. There are two ways to use it:

    - with a fitted emulator, ``AbundanceRegressor(emulator).predict(spectra)``; in
      cross-validation as ``AbundanceRegressor(FrozenEstimator(emulator))``, since
      cloning resets an emulator;
    - with an unfitted emulator, ``AbundanceRegressor(SpectrumEmulator(...))
      .fit(spectra, labels)``; cross-validation tests training and inversion together.

    Parameters
    ----------
    emulator : estimator
        A :class:`SpectrumEmulator`, or any multi-output regressor from labels to flux,
        which is inverted with numerical derivatives.
    observation : Observation, default=None
        Motion, broadening, instrument, continuum and errors of the spectra;
        ``Observation()`` if None.
    snr : float or array-like of shape (n_stars,), default=None
        Signal-to-noise ratio per pixel of spectra without uncertainty, for
        continuum-normalised flux only.
    medium : {"air", "vacuum"}, default=None
        Medium of the wavelengths of spectra without ``meta["medium"]``. Wavelengths are
        converted to the medium of the emulator.
    bounds : array-like of shape (n_labels, 2) or mapping, default=None
        Smallest and largest value of each label, or of named labels, in the unit of the
        label or as quantities. A label with equal bounds is known. None is the range of
        the training, which must be given for emulators that do not store it.
    priors : mapping of str to tuple, default=None
        Gaussian priors, such as ``{"logg": (4.4, 0.1)}``: mean and standard deviation
        of labels or other parameters, numbers or arrays of shape (n_stars,). An
        infinite standard deviation, or a masked or NaN value, is no prior.
    fixed : mapping of str to float or array-like of shape (n_stars,), default=None
        Known parameters, such as ``{"teff": 5777}``. Their errors and covariances are
        zero. A parameter is free for stars with NaN or masked values.
    estimate : {"mode", "mean", "profile"}, default="mode"
        "mode" is the best fit with the errors of a linear model. "profile" adds 68 %
        intervals: Gaussian ones where chi2 is a parabola, and from the profile of chi2
        elsewhere, such as for a label at a bound. "mean" is mean, covariance and
        central 68 % interval of the posterior, with flat priors within `bounds` unless
        `priors` are given. A mean takes several times as long as a mode, and a profile
        longer still. Use one of them for weakly constrained labels.
    start : NeuralPosterior, default=None
        Fitted :class:`~sk_payne.neural_posterior.NeuralPosterior` of the same emulator
        and observation, from which fits start; results remain best fits. Two flags mark
        fits that the posterior contradicts, and spectra unlike its training spectra. If
        None, fits start from a velocity scan and a guess.
    search : {"quick", "thorough"}, default="quick"
        "thorough" also holds each label at seven values over its range, fits the rest,
        and starts again where chi2 is lower; it takes tens of times longer.
    max_iterations : int, default=100
        Largest number of steps of the fit of a star.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    emulator_ : estimator
        Emulator that :meth:`fit` trained.
    label_names_ : list of str
        Names of the labels.
    n_features_in_ : int
        Number of pixels of the training spectra, if they were an array.

    See Also
    --------
    Observation : Properties of observed spectra, known or fitted.
    SpectrumEmulator : Emulator to invert.

    Notes
    -----
    The Levenberg-Marquardt method minimises chi2, from several starts if one may end in
    a local minimum; see the user guide. chi2 in results does not include priors. The
    covariance is the inverse of :math:`J W J^T + T`, with derivatives J by all free
    parameters and the continuum, inverse variances W of the pixels, whose errors are
    assumed to be independent, and inverse variances T of priors. The covariance of the
    errors of the emulator is added, see `emulator_error` of :class:`Observation`.

    `estimate` "mean" takes 192 samples by importance sampling. If fewer than about 20
    are effectively independent (`n_effective`), use :meth:`posterior`. Seeds depend on
    the spectrum alone.

    Examples
    --------
    >>> from sk_payne import AbundanceRegressor, SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> grid = make_spectra(300, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
    ...     label_names=grid.label_names, label_units=grid.label_units,
    ...     max_steps=400, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> regressor = AbundanceRegressor(emulator, snr=100)
    >>> table = regressor.measure(emulator.to_spectra(grid.data[:2]))
    >>> table["teff"].unit, table["radial_velocity"].unit
    (Unit("K"), Unit("km / s"))
    """

    @takes_former_arguments
    def __init__(
        self,
        emulator,
        observation=None,
        *,
        snr=None,
        medium=None,
        bounds=None,
        priors=None,
        fixed=None,
        estimate="mode",
        start=None,
        search="quick",
        max_iterations=100,
        verbose=0,
    ):
        self.emulator = emulator
        self.observation = observation
        self.snr = snr
        self.medium = medium
        self.bounds = bounds
        self.priors = priors
        self.fixed = fixed
        self.estimate = estimate
        self.start = start
        self.search = search
        self.max_iterations = max_iterations
        self.verbose = verbose

    def set_params(self, **params):
        """Set parameters, and those of the observation by ``observation__<name>``.

        Parameters
        ----------
        **params : dict
            Values by name.

        Returns
        -------
        self : AbundanceRegressor
            The regressor itself.
        """
        former = {name: params.pop(name) for name in list(params) if name in FORMER}
        if former:
            found = params.get("observation", self.observation)
            params["observation"] = with_former_arguments(
                found, former, call="set_params(observation=Observation({}))"
            )
        if self.observation is None and "observation" not in params:
            if any(name.startswith("observation__") for name in params):
                self.observation = Observation()
        return super().set_params(**params)

    def fit(self, X, y, **fit_params):
        """Train the emulator from labels to spectra.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            Training spectra on one wavelength grid: a 2-D ``Spectrum``, a
            ``SpectrumList``, a list of spectra or plain flux. A linear fit on the
            labels fills bad pixels.
        y : array-like or table of shape (n_stars, n_labels) or (n_stars,)
            Labels of the spectra. Columns of a table are selected by the label names of
            the emulator; if it has none, it takes names and units of the table.
        **fit_params : dict
            Arguments for `fit` of the emulator, if metadata routing is enabled.

        Returns
        -------
        self : AbundanceRegressor
            The fitted regressor.

        Raises
        ------
        ValueError
            If wavelengths differ between spectra, or a pixel is bad in all of them.

        Warns
        -----
        UserWarning
            If there are bad pixels.
        """
        spectra, table = read_training(self, X, y)
        self._one_label = table.values.ndim == 1
        labels = table.values.reshape(len(table.values), -1)
        flux = fill_bad_pixels(spectra.flux, spectra.ivar == 0, labels)
        emulator = describe(clone(self.emulator), spectra, table)
        routed = process_routing(self, "fit", **fit_params)
        self.emulator_ = emulator.fit(labels, flux, **routed.emulator.fit)
        self._trained = TrainingRecord.of(table, spectra)
        self.label_names_ = fitted_emulator_of(self).label_names
        return self

    def predict(
        self, X, *, uncertainty=None, mask=None, return_std=False, return_cov=False
    ):
        """Predict labels of observed stars.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            A ``Spectrum`` (1-D or 2-D), a list of spectra or of lists of arms, a
            ``SpectrumList`` or ``SpectrumCollection``, on any wavelength grids; or
            plain flux on the grid of the emulator. NaN and masked pixels are bad.
        uncertainty : array-like of shape (n_stars, n_pixels), default=None
            1 sigma errors of plain flux. Pixels with masked errors are bad.
        mask : array-like of shape (n_stars, n_pixels), default=None
            True for bad pixels of plain flux.
        return_std : bool, default=False
            True to return standard deviations as well.
        return_cov : bool, default=False
            True to return covariances as well.

        Returns
        -------
        labels : ndarray of shape (n_stars, n_labels)
            Labels; NaN for stars without good pixels. The shape is (n_stars,) if `y` of
            :meth:`fit` was 1-D.
        std : ndarray of shape (n_stars, n_labels)
            Standard deviations, only if `return_std`.
        cov : ndarray of shape (n_stars, n_labels, n_labels)
            Covariances, only if `return_cov`.

        Raises
        ------
        NotFittedError
            If the emulator is not fitted.
        ValueError
            If there is no uncertainty, or an argument is invalid.
        WavelengthMismatchError
            If no spectrum shares wavelengths with the emulator.

        Warns
        -----
        ConvergenceWarning
            If stars have no good pixels, or fits did not converge.
        ResolutionWarning
            If spectra state no resolving power, but the emulator has one.
        FluxLevelWarning
            If flux is far from that of model spectra, and no continuum is fitted.
        ExtrapolationWarning
            If `bounds` are far outside the range of the training of the emulator.
        """
        if return_std and return_cov:
            raise ValueError(
                "`return_std` and `return_cov` must not both be True; the standard "
                "deviations are the roots of the diagonals of the covariances."
            )
        plan = self._plan(X, uncertainty, mask)
        results = measure_stars(plan, verbose=self.verbose)
        warn_unmeasured(results)
        labels, std = results.labels, results.errors
        if getattr(self, "_one_label", False):
            labels, std = labels[:, 0], std[:, 0]
        if return_std:
            return labels, std
        if return_cov:
            return labels, results.label_covariance
        return labels

    def measure(
        self,
        X,
        *,
        uncertainty=None,
        mask=None,
        combinations=None,
        return_model=False,
        return_cov=False,
    ):
        """Measure stars: parameters, errors, chi2 and flags in a table.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        uncertainty, mask : array-like of shape (n_stars, n_pixels), default=None
            As in :meth:`predict`.
        combinations : mapping of str to mapping of str to float, default=None
            Further columns, sums of parameters times factors, such as
            ``{"Mg_Fe": {"Mg_H": 1, "Fe_H": -1}}``, with errors from the covariance.
        return_model : bool, default=False
            True to return the flux of the best fits as well.
        return_cov : bool, default=False
            True to return covariances of all parameters as well.

        Returns
        -------
        table : astropy.table.QTable
            One row per star: labels and other fitted parameters with unit and error
            (`<name>_error`), velocities in km/s; `chi2`, `dof`, `n_pixels`,
            `n_clipped`, `n_segments` of the continuum, `error_floor`;
            `correlated_error`, a fraction of the continuum, and `error_length` in km/s
            (0 and NaN without the `error_length` of the observation); `residual_p`, the
            probability that noise has residuals this correlated; `error_dof`, the
            degrees of freedom of the t distribution of errors (infinite: Gaussian);
            `n_iterations`, `converged`, `expected_fall` of chi2 by another step;
            `flags`, with the meaning of the bits in the description of the column, and
            `label_flags`, the labels concerned. `frame` is the rest frame of
            velocities, if spectra state it. `estimate` "profile" adds `<name>_p16` and
            `<name>_p84`, the ends of 68 % intervals, and `profile_intervals`, the names
            of parameters whose interval is from the profile of chi2, not Gaussian.
            `estimate` "mean" adds the ends of central 68 % intervals of the posterior,
            and `n_effective`; chi2 and flags are those of the best fit. A second star
            adds `n_stars`, and `delta_chi2` and `delta_bic`, two stars minus one.
        model : ndarray of shape (n_stars, n_pixels)
            Flux of the best fits, NaN at unused pixels; only if `return_model`.
        cov : ndarray of shape (n_stars, n_parameters, n_parameters)
            Covariances of the parameters in the order and the units of their columns,
            only if `return_cov`.

        Raises
        ------
        NotFittedError, ValueError, WavelengthMismatchError
            As in :meth:`predict`.
        """
        plan = self._plan(X, uncertainty, mask)
        results = measure_stars(plan, keep_model=return_model, verbose=self.verbose)
        table = make_table(
            results,
            plan.parameters,
            combinations=combinations,
            with_second=plan.second_star is not None,
            frame=plan.spectra.frame,
        )
        extras = [results.model] * return_model + [results.covariance] * return_cov
        return (table, *extras) if extras else table

    def score(self, X, y, sample_weight=None):
        """Compute the coefficient of determination R², averaged over the labels.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        y : array-like or table of shape (n_stars, n_labels) or (n_stars,)
            True labels; columns of a table are selected by name.
        sample_weight : array-like of shape (n_stars,), default=None
            Weights of the stars.

        Returns
        -------
        score : float
            R², see :func:`sklearn.metrics.r2_score`.
        """
        check_is_fitted(self)
        emulator = fitted_emulator_of(self)
        names, units = emulator.label_names, emulator.label_units
        y = read_labels(y, argument="y", names=names, units=units).values
        return super().score(X, y, sample_weight=sample_weight)

    def _plan(self, X, uncertainty, mask, **changes):
        """Read spectra, and plan their fit."""
        refuse_paths(self, X)
        check_is_fitted(self)
        spectra = read_observed(self, X, uncertainty, mask)
        given = {name: getattr(self, name) for name in _OF_FIT} | changes
        return plan_fit(fitted_emulator_of(self), spectra, self.observation, **given)
