"""AbundanceRegressor: stars out of spectra, with any emulator.

It is here as the door of inference: it validates, fits all stars, and reports.
"""

import warnings
from dataclasses import replace
from numbers import Integral
from os import PathLike

import numpy as np
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    MultiOutputMixin,
    RegressorMixin,
    clone,
)
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_payne.abundances._fitting import fit_task
from sk_payne.abundances._inverted import Trained, inverted_of
from sk_payne.abundances._posterior import sample_posterior, weigh_posterior
from sk_payne.abundances._profile import profile_limits
from sk_payne.abundances._results import FLAGS, make_limits_table, make_table
from sk_payne.abundances._task import Options, prepare
from sk_payne.abundances._training_spectra import (
    describe,
    fill_bad_pixels,
    on_one_grid,
    read_training_labels,
)
from sk_payne.exceptions import did_you_mean
from sk_payne.inputs import LabelTable, read_flux, read_labels
from sk_payne.spectra import SpectrumSet, as_spectra


class AbundanceRegressor(
    MetaEstimatorMixin, MultiOutputMixin, RegressorMixin, BaseEstimator
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
    snr : float or array-like of shape (n_stars,), default=None
        Signal-to-noise ratio per pixel of spectra that come without uncertainty;
        right for continuum-normalised flux only.
    medium : {"air", "vacuum"}, default=None
        What the wavelengths of the spectra are measured in, if their
        ``meta["medium"]`` does not say. They are converted to that of the emulator.
    velocity_range : tuple of float or None, default=(-500.0, 500.0)
        Radial velocities in km/s among which to look. If None, spectra are taken to
        be at rest and no velocity is fitted. Here and below, quantities of astropy
        are converted.
    resolving_power : float, array-like, tuple of float or "emulator", default=None
        Of the spectra, wavelength over full width at half maximum; an array has one
        entry per pixel, of shape (n_pixels,) or (n_stars, n_pixels); a tuple is a
        smallest and a largest one, if it shall be found; "emulator" says that spectra
        are as sharp as those of the emulator. Model spectra are broadened by the
        Gaussian between it and the emulator, which must know its own.
        If None, ``meta["resolution_matrix"]`` or ``meta["resolving_power"]`` of the
        spectra say it, as those of :func:`sk_payne.spectra.read_spectra` may; if they
        do not, spectra are taken to be as sharp as the emulator, with a warning.
    integrate_pixels : bool, default=False
        Whether flux is the mean over a pixel, from edge to edge, instead of that of a
        point: for pixels as wide as lines, if the resolving power is that of the
        instrument without its pixels. Resolving powers that were measured on lines of
        a lamp have the pixels in them.
    vsini : float or tuple of float, default=0.0
        Projected rotation velocity in km/s by which model spectra are broadened. A
        smallest and a largest value if it shall be found.
    vmac : float or tuple of float, default=0.0
        Radial-tangential macroturbulence in km/s, likewise.
    limb_darkening : float, default=0.6
        Linear coefficient, for rotation.
    arm_offsets : tuple of float or list of tuple, default=None
        Of spectra with several arms, a smallest and a largest velocity in km/s by which
        the wavelengths of each arm may be off against the first; or a list of them, one
        for each arm after the first, whichever arms stars have: the offset of an arm
        that a star lacks is 0, with an infinite error. If None, they agree.
    continuum_degree : int, default=None
        If given, flux need not be normalised: models are multiplied by a polynomial of
        this degree in wavelength, one for each segment between gaps and for each arm,
        which is solved for at every step.
    bounds : array-like of shape (n_labels, 2) or mapping, default=None
        Smallest and largest value of each label, or of those that are named, in its
        unit or with one of their own. A label for which they are alike is known. If
        None, the range the emulator was trained on; must be given for a fitted
        regressor that does not know it.
    priors : mapping of str to tuple, default=None
        Gaussian priors, such as ``{"logg": (4.4, 0.1)}``: mean and standard deviation
        of labels, "vsini", "vmac" or "radial_velocity", numbers or arrays of shape
        (n_stars,). An infinite standard deviation is no prior, nor is what is masked
        or NaN in an array.
    fixed : mapping of str to float or array-like of shape (n_stars,), default=None
        Parameters that are known, such as ``{"teff": 5777}``. Their errors are zero,
        also in the covariance. NaN and masked values leave that of a star free.
    emulator_error : bool, default=True
        Whether the emulator's own held-out error at each wavelength is added to the
        errors of the pixels, in quadrature.
    error_floor : float or "fit", default=0.0
        What is added to the errors of all pixels in quadrature, in units of the
        continuum, as no model is perfect. "fit" finds it for each star, so that
        residuals have the size of their errors.
    clip : float, default=None
        If given, pixels whose residual exceeds so many errors are left out, and the
        star is fitted again until they stay the same. 5 is usual.
    estimate : {"mode", "mean"}, default="mode"
        What is told of a star: the best fit, with the errors of a linear model; or the
        mean, covariance and middle 68 % of the posterior around it, with priors, flat
        within `bounds` if there are none. The mean is for labels that hardly show: the
        best fit of those ends at the bounds, where its errors do not hold. It takes
        some ten times longer.
    max_iterations : int, default=100
        Steps of the fit of a star.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    emulator_ : estimator
        The emulator that :meth:`fit` trained.
    label_names_ : list of str
        Of the columns of the result.
    n_features_in_ : int
        Pixels of the training spectra, if they were an array.

    See Also
    --------
    SpectrumEmulator : What is inverted.

    Notes
    -----
    chi2 is minimised by the Levenberg-Marquardt method. It starts at the velocity where
    model spectra spread over the box correlate best, and at labels that a linear
    regression on such spectra guesses. A star whose chi2 ends five standard deviations
    above what noise explains, or whose residuals look like model spectra (a score test
    with their 32 first principal components exceeds what noise does by 2.5 standard
    deviations, errors of the emulator allowed for), is fitted again from elsewhere, and
    a clearly better fit counts. Priors are added to chi2 in the fit, but not to the one
    that is told. The
    covariance of a star is the inverse of :math:`J W J^T` at the minimum, plus the
    inverse variances of priors, where J are all derivatives, of velocity, widths and
    continuum too, and W the inverse variances of the pixels: errors include those from
    every other parameter being free. They hold for Gaussian noise, independent from
    pixel to pixel.

    Means, of `estimate`, are those of 192 samples of the posterior, by importance
    sampling [1]_: flux is expanded to second order in all parameters around the mean
    of the density within the bounds, samples of that model are drawn, and weighted by
    what flux itself says. `n_effective` tells how many independent samples they are
    worth; below some 20 do not trust them, and use :meth:`posterior`. The same spectrum
    always gets the same random numbers.

    References
    ----------
    .. [1] Kloek & van Dijk, "Bayesian estimates of equation system parameters: an
       application of integration by Monte Carlo", Econometrica 46, 1, 1978.

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

    def __init__(
        self,
        emulator,
        *,
        snr=None,
        medium=None,
        velocity_range=(-500.0, 500.0),
        resolving_power=None,
        integrate_pixels=False,
        vsini=0.0,
        vmac=0.0,
        limb_darkening=0.6,
        arm_offsets=None,
        continuum_degree=None,
        bounds=None,
        priors=None,
        fixed=None,
        emulator_error=True,
        error_floor=0.0,
        clip=None,
        estimate="mode",
        max_iterations=100,
        verbose=0,
    ):
        self.emulator = emulator
        self.snr = snr
        self.medium = medium
        self.velocity_range = velocity_range
        self.resolving_power = resolving_power
        self.integrate_pixels = integrate_pixels
        self.vsini = vsini
        self.vmac = vmac
        self.limb_darkening = limb_darkening
        self.arm_offsets = arm_offsets
        self.continuum_degree = continuum_degree
        self.bounds = bounds
        self.priors = priors
        self.fixed = fixed
        self.emulator_error = emulator_error
        self.error_floor = error_floor
        self.clip = clip
        self.estimate = estimate
        self.max_iterations = max_iterations
        self.verbose = verbose

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
            name its labels if it has none; units likewise.
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
        self._refuse_paths(X)
        spectra, table = self._validate_training(X, y)
        self._one_label = table.values.ndim == 1
        labels = table.values.reshape(len(table.values), -1)
        flux = fill_bad_pixels(spectra.flux, spectra.ivar == 0, labels)
        emulator = describe(clone(self.emulator), spectra, table)
        routed = process_routing(self, "fit", **fit_params)
        self.emulator_ = emulator.fit(labels, flux, **routed.emulator.fit)
        self._trained = Trained(
            np.stack([labels.min(axis=0), labels.max(axis=0)], axis=1),
            table.names,
            table.units,
            spectra.wavelength,
            spectra.medium,
        )
        self.label_names_ = inverted_of(self).label_names
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
        ExtrapolationWarning
            If `bounds` lie far outside the range that the emulator was trained on.
        """
        if return_std and return_cov:
            raise ValueError(
                "`return_std` and `return_cov` must not both be True; the standard "
                "deviations are the roots of the diagonals of the covariances."
            )
        results, _ = self._measure(X, uncertainty, mask)
        _warn_unmeasured(results)
        labels, std = results.labels, results.errors
        if getattr(self, "_one_label", False):
            labels, std = labels[:, 0], std[:, 0]
        if return_std:
            return labels, std
        if return_cov:
            return labels, results.label_covariance
        return labels

    def measure(
        self, X, *, uncertainty=None, mask=None, combinations=None, return_model=False
    ):
        """Measure stars, and tell all about it.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        uncertainty : array-like of shape (n_stars, n_pixels), default=None
            As in :meth:`predict`.
        mask : array-like of shape (n_stars, n_pixels), default=None
            As in :meth:`predict`.
        combinations : mapping of str to mapping of str to float, default=None
            Further columns, sums of parameters with factors, such as
            ``{"Mg_Fe": {"Mg_H": 1, "Fe_H": -1}}``. Their errors follow from the
            covariance, and are often far from those of uncorrelated parts.
        return_model : bool, default=False
            Whether to return the flux of the fits.

        Returns
        -------
        table : astropy.table.QTable
            One row per star: each label and its error (`<name>_error`) with units,
            `vsini`, `vmac`, `resolving_power`, `velocity_offset_1` (of the second
            arm) and so on, and `radial_velocity` with their errors if fitted,
            velocities in km/s; `chi2`, `dof`, `n_pixels`, `n_clipped`, `error_floor`,
            `n_iterations`, `converged` and `flags`, whose description explains the
            bits. With `estimate` "mean" also `<name>_p16` and `<name>_p84`, the ends of
            the middle 68 % of the posterior, and `n_effective`; chi2 and flags are
            those of the best fit.
        model : ndarray of shape (n_stars, n_pixels)
            Only if `return_model`: flux of the best fits, continuum included, at the
            observed pixels; NaN where they were not used.

        Raises
        ------
        NotFittedError, ValueError, WavelengthMismatchError
            As in :meth:`predict`.
        """
        results, inverted = self._measure(X, uncertainty, mask, keep_model=return_model)
        table = make_table(
            results, inverted.label_names, inverted.label_units, combinations
        )
        return (table, results.model) if return_model else table

    def limits(
        self,
        X,
        labels=None,
        *,
        side="upper",
        confidence=0.95,
        uncertainty=None,
        mask=None,
    ):
        r"""Give one-sided limits of labels that spectra do not pin down.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        labels : list of str, default=None
            Which labels; all if None. Also "vsini" and "vmac", if they are fitted.
        side : {"upper", "lower"}, default="upper"
            On which side.
        confidence : float, default=0.95
            Probability with which such a limit holds, at least 0.5.
        uncertainty, mask : array-like of shape (n_stars, n_pixels), default=None
            As in :meth:`predict`.

        Returns
        -------
        table : astropy.table.QTable
            One row per star, with the columns `<name>_upper` or `<name>_lower`.
            Infinite where a limit would lie beyond the bounds of the fit: then the
            spectrum says nothing. The value itself where a parameter is known. NaN for
            stars without data.

        Raises
        ------
        NotFittedError, ValueError, WavelengthMismatchError
            As in :meth:`predict`.

        Notes
        -----
        The limit is where :math:`\chi^2`, minimised over all other parameters at every
        value of the label, is :math:`z^2` above its minimum, with :math:`z` the
        quantile of the normal distribution (1.645 for 0.95) [1]_. If the label is best
        at the end of its range, a limit on the other side holds more often than stated.

        References
        ----------
        .. [1] Rolke, López & Conrad, "Limits and confidence intervals in the presence
           of nuisance parameters", Nucl. Instrum. Meth. A 551, 493, 2005.

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
        >>> regressor.limits(grid.target[:2], ["teff"]).colnames
        ['teff_upper']
        """
        inverted, spectra, options = self._prepared(X, uncertainty, mask)
        if side not in ("upper", "lower"):
            raise ValueError(f"`side` must be 'upper' or 'lower'; got {side!r}.")
        if not 0.5 <= confidence < 1:
            raise ValueError(
                f"`confidence` must be at least 0.5 and below 1; got {confidence}."
            )
        task = prepare(inverted, spectra, replace(options, estimate="mode"))
        names = [*inverted.label_names, *task.nuisances]
        labels = inverted.label_names if labels is None else list(labels)
        for name in labels:
            if name not in names:
                raise ValueError(
                    f"`labels` must be among {names}; got {name!r}."
                    f"{did_you_mean(str(name), names)}"
                )
        found = fit_task(task, verbose=self.verbose)
        columns = [names.index(name) for name in labels]
        found_limits = profile_limits(
            task, found, columns, confidence=confidence, side=side
        )
        return make_limits_table(
            found_limits, labels, inverted.label_names, inverted.label_units, side
        )

    def posterior(
        self,
        X,
        *,
        sampler="emcee",
        n_steps=2000,
        n_draws=1000,
        random_state=None,
        uncertainty=None,
        mask=None,
    ):
        r"""Sample the posterior of each star.

        For stars whose errors are far from Gaussian: at bounds, or between two
        solutions that lie near each other.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        sampler : {"emcee", "importance"}, default="emcee"
            A Markov chain, which needs ``pip install 'sk_payne[posterior]'``, and a
            minute or more for a star; or weighted samples of a model of second order,
            as for the means of `estimate`, in less than a second.
        n_steps : int, default=2000
            Of every walker of emcee; the first half is thrown away.
        n_draws : int, default=1000
            Samples of each star.
        random_state : int, RandomState or None, default=None
            Of the sampling.
        uncertainty, mask : array-like of shape (n_stars, n_pixels), default=None
            As in :meth:`predict`.

        Returns
        -------
        posterior : Bunch
            samples : ndarray of shape (n_stars, n_draws, n_parameters)
                Labels, then what else is fitted; NaN for stars without data.
            label_names, label_units : list of str
                Of the parameters.
            n_effective : ndarray of shape (n_stars,)
                How many independent samples the chain of a star holds, for the slowest
                parameter, or the weighted samples are worth.
            acceptance : ndarray of shape (n_stars,)
                Part of the steps that emcee took, otherwise NaN.

        Raises
        ------
        ImportError
            If emcee is missing.
        NotFittedError, ValueError, WavelengthMismatchError
            As in :meth:`predict`.

        Warns
        -----
        UserWarning
            If chains are too short to be trusted.

        Notes
        -----
        The density is :math:`e^{-\chi^2/2}` times the priors, flat within the bounds;
        a continuum is the best one for every sample. Walkers of emcee [1]_ take moves
        of differential evolution. Both samplers start around the best fit and do not
        find a solution that lies far from it.

        References
        ----------
        .. [1] Foreman-Mackey et al., "emcee: the MCMC hammer", PASP 125, 306, 2013.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_payne import AbundanceRegressor, SpectrumEmulator
        >>> from sk_payne.datasets import make_spectra
        >>> grid = make_spectra(300, label_names=("teff", "Fe_H"), random_state=0)
        >>> emulator = SpectrumEmulator(
        ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
        ...     label_names=grid.label_names, label_units=grid.label_units,
        ...     max_steps=400, random_state=0,
        ... ).fit(grid.data, grid.target)
        >>> regressor = AbundanceRegressor(emulator, snr=100, velocity_range=None)
        >>> posterior = regressor.posterior(
        ...     grid.target[:1], n_steps=400, n_draws=100, random_state=0
        ... )
        >>> posterior.samples.shape
        (1, 100, 2)
        """
        for name, value in (("n_steps", n_steps), ("n_draws", n_draws)):
            if not (isinstance(value, Integral) and value >= 2):
                raise ValueError(
                    f"`{name}` must be an integer of at least 2; got {value!r}."
                )
        if sampler not in ("emcee", "importance"):
            raise ValueError(
                f"`sampler` must be 'emcee' or 'importance'; got {sampler!r}."
            )
        inverted, spectra, options = self._prepared(X, uncertainty, mask)
        # samples start around best fits
        task = prepare(inverted, spectra, replace(options, estimate="mode"))
        found = fit_task(task)
        how = {
            "n_draws": n_draws,
            "random_state": check_random_state(random_state),
            "verbose": self.verbose,
        }
        if sampler == "importance":
            return weigh_posterior(task, found, **how)
        return sample_posterior(task, found, n_steps=n_steps, **how)

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
        inverted = inverted_of(self)
        names, units = inverted.label_names, inverted.label_units
        y = read_labels(y, argument="y", names=names, units=units).values
        return super().score(X, y, sample_weight=sample_weight)

    def get_metadata_routing(self):
        """Route metadata of `fit` to the emulator, and its own to the regressor.

        Returns
        -------
        router : MetadataRouter
            What scikit-learn asks for.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(
            emulator=self.emulator,
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "emulator_") or _is_fitted(self.emulator)

    def _refuse_paths(self, X):
        is_list = isinstance(X, list | tuple)
        if is_list and not len(X):
            raise ValueError("`X` must hold at least one spectrum; got an empty list.")
        first = X[0] if is_list else X
        for name, value, reader in (
            ("emulator", self.emulator, "sk_payne.load"),
            ("X", first, "sk_payne.spectra.read_spectra"),
        ):
            if isinstance(value, str | PathLike):
                raise TypeError(
                    f"`{name}` must not be a path; got {str(value)!r}. Read the file "
                    f"with {reader}."
                )

    def _validate_training(self, X, y):
        """Give spectra on one grid, and labels as the emulator wants them."""
        table = read_training_labels(y, self.emulator)
        y = table.values
        if _is_plain(X):
            how = {"multi_output": True, "y_numeric": True}
            X, y = _validated(self, X, y, **how)
        spectra = as_spectra(X, medium=self.medium, require_uncertainty=False)
        y = np.asarray(y, dtype=np.float64)
        if len(spectra) != len(y):
            raise ValueError(
                f"`y` must have one row of labels for each of the {len(spectra)} "
                f"spectra; got {len(y)}."
            )
        if spectra.wavelength is not None and spectra.wavelength.ndim == 2:
            spectra = on_one_grid(spectra)
        return spectra, LabelTable(y, table.names, table.units)

    def _measure(self, X, uncertainty, mask, *, keep_model=False):
        inverted, spectra, options = self._prepared(X, uncertainty, mask)
        task = prepare(inverted, spectra, options)
        results = fit_task(task, keep_model=keep_model, verbose=self.verbose)
        return results, inverted

    def _prepared(self, X, uncertainty, mask):
        """Give the emulator, spectra and options."""
        self._refuse_paths(X)
        check_is_fitted(self)
        inverted = inverted_of(self)
        if _is_plain(X):
            X = _validated(self, X, reset=False)
        spectra = as_spectra(
            X, medium=self.medium, uncertainty=uncertainty, mask=mask, snr=self.snr
        )
        return inverted, spectra, Options.of(self)


def _validated(regressor, X, *y, **how):
    """Check flux and labels as scikit-learn does, and give flux with unit and mask."""
    table = read_flux(X, argument="X")
    has_more = table.mask is not None or table.unit is not None
    plain = table.values if has_more else X
    how |= {"dtype": np.float64, "ensure_all_finite": False}
    checked = validate_data(regressor, plain, *y, **how)
    if not has_more:
        return checked
    return (X, checked[1]) if y else X


def _is_plain(X):
    """Whether X is for scikit-learn's own checks, and not a container of spectra."""
    if isinstance(X, SpectrumSet):
        return False
    if isinstance(X, np.ndarray) and X.dtype == object and X.size:
        X = X.flat[0]
    while isinstance(X, list | tuple) and len(X):
        X = X[0]
    # a user's class may derive from one of theirs
    return not any(cls.__module__.startswith("specutils") for cls in type(X).__mro__)


def _is_fitted(estimator):
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _warn_unmeasured(results):
    for name, doing in (
        ("NO_DATA", "have no good pixel and get NaN"),
        ("NOT_CONVERGED", "did not converge"),
    ):
        rows = np.flatnonzero(results.flags & FLAGS[name][0])
        if name == "NOT_CONVERGED":
            rows = rows[results.n_pixels[rows] > 0]
        if len(rows):
            shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
            warnings.warn(
                f"{len(rows)} of {len(results.flags)} stars {doing}: rows {shown}. "
                "`measure` tells more.",
                ConvergenceWarning,
                stacklevel=3,
            )
