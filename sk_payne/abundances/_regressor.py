"""AbundanceRegressor: stellar parameters and abundances out of spectra."""

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


class AbundanceRegressor(
    EstimatorProtocol,
    BeyondErrors,
    MetaEstimatorMixin,
    MultiOutputMixin,
    RegressorMixin,
    BaseEstimator,
):
    r"""Stellar parameters, abundances and radial velocity of observed stars.

    Inverts an emulator: finds, for many stars at once, the labels whose spectrum
    matches the observed one, by bounded damped least squares with the exact
    derivatives of the emulator. Two ways to use it:

    - with a fitted emulator, ``AbundanceRegressor(emulator).predict(spectra)``;
      inside cross-validation as ``AbundanceRegressor(FrozenEstimator(emulator))``,
      since cloning would empty it otherwise;
    - with an emulator to be trained, ``AbundanceRegressor(SpectrumEmulator(...))
      .fit(spectra, labels)``: it learns labels to spectra and is inverted from
      spectra to labels, so that cross-validation judges the whole chain.

    Parameters
    ----------
    emulator : estimator
        A :class:`SpectrumEmulator`, or any multi-output regressor from labels to flux,
        which is inverted with numerical derivatives.
    observation : Observation, default=None
        Motion, broadening, instrument, continuum and errors of the spectra; those of
        ``Observation()`` if None.
    snr : float or array-like of shape (n_stars,), default=None
        Signal-to-noise ratio per pixel of spectra that come without uncertainty;
        right for continuum-normalised flux only.
    medium : {"air", "vacuum"}, default=None
        Medium of the wavelengths of the spectra, if their ``meta["medium"]`` does not
        say it. They are converted to that of the emulator.
    bounds : array-like of shape (n_labels, 2) or mapping, default=None
        Smallest and largest value of each label, or of the named labels, in the unit
        of the label or with one of their own. A label with equal bounds is known. None
        is the range of the training; a fitted regressor may not know it.
    priors : mapping of str to tuple, default=None
        Gaussian priors, such as ``{"logg": (4.4, 0.1)}``: mean and standard deviation
        of labels or other parameters, numbers or arrays of shape (n_stars,). An
        infinite standard deviation, and a masked or NaN entry, is no prior.
    fixed : mapping of str to float or array-like of shape (n_stars,), default=None
        Known parameters, such as ``{"teff": 5777}``. Their errors are zero, also in the
        covariance. NaN and masked values leave the parameter of a star free.
    estimate : {"mode", "mean", "profile"}, default="mode"
        "mode" gives the best fit with the errors of a linear model. "profile" adds
        intervals of 68 % to it: one error on each side where chi2 is a parabola, and
        from the profile of chi2 elsewhere, such as for a label that ends at a bound.
        "mean" gives mean, covariance and middle 68 % of the posterior, flat within
        `bounds` but for priors. A mean takes some five times the time of a mode, and a
        profile some twenty times. Use one of them for labels that hardly show, whose
        errors of a linear model do not hold.
    start : NeuralPosterior, default=None
        A fitted :class:`~sk_payne.neural_posterior.NeuralPosterior` of the same
        emulator and observation, from which fits start. The best fit remains the
        answer. Two flags mark fits that the posterior contradicts, and spectra unlike
        its training spectra. If None, fits start from a velocity scan and a guess.
    max_iterations : int, default=100
        Largest number of steps of the fit of a star.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    emulator_ : estimator
        The emulator that :meth:`fit` trained.
    label_names_ : list of str
        Names of the columns of the result.
    n_features_in_ : int
        Pixels of the training spectra, if they were an array.

    See Also
    --------
    Observation : How spectra were observed, and what of that is fitted.
    SpectrumEmulator : The emulator that is inverted.

    Notes
    -----
    chi2 is minimised by the Levenberg-Marquardt method, from several starts where one
    may miss the deepest valley; the user guide tells how. Priors count in the fit, but
    not in the chi2 that is told. The covariance of a star is the inverse of
    :math:`J W J^T`, plus the inverse variances of priors, where J are derivatives, of
    velocity, widths and continuum too, and W the inverse variances of the pixels:
    errors allow for all other free parameters, and hold for independent noise. To it
    the covariance is added by which the error of the emulator displaces labels; see
    `emulator_error` of :class:`Observation`, and the user guide.

    Means, of `estimate`, are those of 192 samples of the posterior, by importance
    sampling. Where they are worth fewer than some 20 independent ones, `n_effective`,
    use :meth:`posterior`. The same spectrum always gets the same random numbers.

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
        self.max_iterations = max_iterations
        self.verbose = verbose

    def set_params(self, **params):
        """Set parameters, those of the observation by ``observation__<name>``.

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
            Training spectra on one wavelength grid: a 2-D ``Spectrum``, a list of
            spectra or ``SpectrumList``, or plain flux. Bad pixels are filled by a
            linear fit on the labels.
        y : array-like or table of shape (n_stars, n_labels) or (n_stars,)
            Their labels. Columns of a table are taken by the names of the emulator, or
            name its labels if it has none; the same holds for their units.
        **fit_params : dict
            Routed to the emulator, if metadata routing is enabled.

        Returns
        -------
        self : AbundanceRegressor
            Fitted.

        Raises
        ------
        ValueError
            If the spectra differ in wavelengths, or a pixel is bad in all of them.

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
        """Labels of observed stars.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            A ``Spectrum`` (1-D or 2-D), a list of spectra or ``SpectrumList`` on any
            wavelength grids, a ``SpectrumCollection``, or plain flux on the grid of
            the emulator. A list of lists holds the arms of each star. NaN and masked
            pixels are ignored.
        uncertainty : array-like of shape (n_stars, n_pixels), default=None
            Standard deviation of plain flux; spectra bring their own. Masked values
            mark bad pixels.
        mask : array-like of shape (n_stars, n_pixels), default=None
            True for bad pixels of plain flux.
        return_std : bool, default=False
            Whether to return standard deviations.
        return_cov : bool, default=False
            Whether to return covariances.

        Returns
        -------
        labels : ndarray of shape (n_stars, n_labels)
            NaN for stars without a good pixel. Of shape (n_stars,) if :meth:`fit` was
            given a single label so.
        std : ndarray of shape (n_stars, n_labels)
            Only if `return_std`.
        cov : ndarray of shape (n_stars, n_labels, n_labels)
            Only if `return_cov`.

        Raises
        ------
        NotFittedError
            If the emulator is not fitted.
        ValueError
            If there is no uncertainty, or an argument is not allowed.
        WavelengthMismatchError
            If no spectrum shares wavelengths with the emulator.

        Warns
        -----
        ConvergenceWarning
            If stars could not be measured, or not to the end; naming the rows.
        ResolutionWarning
            If spectra state no resolving power, but the emulator knows its own.
        FluxLevelWarning
            If flux is far from that of model spectra, and no continuum is fitted.
        ExtrapolationWarning
            If `bounds` lie far outside the range that the emulator was trained on.
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
        """Measure stars, and tell all about it.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        uncertainty, mask : array-like of shape (n_stars, n_pixels), default=None
            As in :meth:`predict`.
        combinations : mapping of str to mapping of str to float, default=None
            Further columns, sums of parameters with factors, such as
            ``{"Mg_Fe": {"Mg_H": 1, "Fe_H": -1}}``. Their errors follow from the
            covariance, and are often far from those of uncorrelated parts.
        return_model : bool, default=False
            Whether to return the flux of the fits.
        return_cov : bool, default=False
            Whether to return covariances of all parameters.

        Returns
        -------
        table : astropy.table.QTable
            One row per star: each label, and what else is fitted, with its error
            (`<name>_error`) and unit, velocities in km/s; `chi2`, `dof`, `n_pixels`,
            `n_clipped`, `n_segments` of the continuum, `error_floor`;
            `correlated_error`, as a part of the continuum, and `error_length` of errors
            that go together (0 and NaN without the `error_length` of the observation);
            `residual_p`, the probability that noise makes residuals go together as
            much; `error_dof`, the degrees of freedom of the t distribution of errors
            (infinite: Gaussian),
            `n_iterations`, `expected_fall` of chi2 by another step, `converged`,
            `flags`, whose description explains the bits, and `label_flags`, which names
            the labels concerned. `frame` says what velocities are relative to, if a
            spectrum states it. With `estimate` "profile" also `<name>_p16` and
            `<name>_p84`, the ends of intervals of 68 %, and `profile_intervals`, which
            names the parameters whose interval is from the profile of chi2; the others
            are Gaussian. With `estimate` "mean" these are the ends of the middle 68 %
            of the posterior, with `n_effective`; chi2 and flags are those of the best
            fit. With a second star
            also `n_stars`, `delta_chi2` and `delta_bic`, two stars minus one.
        model : ndarray of shape (n_stars, n_pixels)
            Only if `return_model`: flux of the best fits, continuum included, at the
            observed pixels; NaN where they were not used.
        cov : ndarray of shape (n_stars, n_parameters, n_parameters)
            Only if `return_cov`: covariances of the parameters in the order and the
            units of their columns.

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
        """Coefficient of determination of the labels, R², averaged over them.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        y : array-like or table of shape (n_stars, n_labels) or (n_stars,)
            True labels; those of a table are taken by name.
        sample_weight : array-like of shape (n_stars,), default=None
            Weights of the stars.

        Returns
        -------
        score : float
            As of :func:`sklearn.metrics.r2_score`.
        """
        check_is_fitted(self)
        emulator = fitted_emulator_of(self)
        names, units = emulator.label_names, emulator.label_units
        y = read_labels(y, argument="y", names=names, units=units).values
        return super().score(X, y, sample_weight=sample_weight)

    def _plan(self, X, uncertainty, mask, *, estimate=None):
        """Read spectra, and plan their fit."""
        refuse_paths(self, X)
        check_is_fitted(self)
        spectra = read_observed(self, X, uncertainty, mask)
        return plan_fit(
            fitted_emulator_of(self),
            spectra,
            self.observation,
            fixed=self.fixed,
            priors=self.priors,
            estimate=self.estimate if estimate is None else estimate,
            max_iterations=self.max_iterations,
            start=self.start,
        )
