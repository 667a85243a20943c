"""Limits, joint regions and posterior samples, where errors are not Gaussian."""

from numbers import Integral

from sklearn.utils import check_random_state

from sk_payne.abundances._joint_probability import joint_probability
from sk_payne.abundances._label_bounds import labels_within_bounds
from sk_payne.abundances._likelihood_ratio import rises_of_chi2
from sk_payne.abundances._limits import profile_limits
from sk_payne.abundances._measure import measure_stars
from sk_payne.abundances._posterior import sample_posterior, weigh_posterior
from sk_payne.abundances._table import make_limits_table
from sk_payne.exceptions import did_you_mean

__all__ = ["BeyondErrors"]


class BeyondErrors:
    """Methods of AbundanceRegressor for stars whose errors are not Gaussian."""

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
        r"""Compute one-sided limits of labels that spectra constrain weakly.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        labels : list of str, default=None
            Names of labels, or of other fitted parameters such as "vsini"; all labels
            if None.
        side : {"upper", "lower"}, default="upper"
            Side of the limits.
        confidence : float, default=0.95
            Probability with which a limit holds, at least 0.5.
        uncertainty, mask : array-like of shape (n_stars, n_pixels), default=None
            As in :meth:`predict`.

        Returns
        -------
        table : astropy.table.QTable
            One row per star, with the columns `<name>_upper` or `<name>_lower`. A limit
            is infinite if the spectrum does not constrain it within the bounds of the
            fit, the value itself for a known parameter, and NaN for stars without data.

        Raises
        ------
        NotFittedError, ValueError, WavelengthMismatchError
            As in :meth:`predict`.

        Notes
        -----
        At the limit, :math:`\chi^2` minimised over all other parameters is :math:`z^2`
        above its minimum, with the quantile :math:`z` of the normal distribution (1.645
        for 0.95) [1]_. If the best value is at a bound, a limit on the other side holds
        more often than stated.

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
        if side not in ("upper", "lower"):
            raise ValueError(f"`side` must be 'upper' or 'lower'; got {side!r}.")
        if not 0.5 <= confidence < 1:
            raise ValueError(
                f"`confidence` must be at least 0.5 and below 1; got {confidence}."
            )
        plan = self._plan(X, uncertainty, mask, estimate="mode")
        _check_supported(plan, "limits")
        names = plan.parameters.names
        labels = names[: plan.parameters.n_labels] if labels is None else list(labels)
        for name in labels:
            if name not in names:
                raise ValueError(
                    f"`labels` must be among {names}; got {name!r}."
                    f"{did_you_mean(str(name), names)}"
                )
        best = measure_stars(plan, verbose=self.verbose)
        limits = profile_limits(plan, best, labels, confidence=confidence, side=side)
        return make_limits_table(limits, labels, plan.parameters, side)

    def likelihood_ratio(self, X, labels, *, uncertainty=None, mask=None):
        r"""Test whether given labels, all together, agree with the spectra of stars.

        Use it to compare stars with labels from elsewhere: the covariance of
        :meth:`measure` describes the region of likely labels by an ellipsoid, which is
        wrong where the region is bent.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        labels : array-like or table of shape (n_stars, n_labels)
            Labels to test, within the bounds; columns of a table are found by name.
        uncertainty, mask : array-like of shape (n_stars, n_pixels), default=None
            As in :meth:`predict`.

        Returns
        -------
        table : astropy.table.QTable
            One row per star: `delta_chi2`, the rise of chi2 from the best fit to the
            given labels; `n_free`, the number of labels that are not fixed;
            `error_dof`, the degrees of freedom of the errors; `probability`, the level
            of the joint confidence region that has the given labels on its edge, 0.68
            for the 68 % region. NaN for stars without data.

        Raises
        ------
        NotFittedError, WavelengthMismatchError
            As in :meth:`predict`.
        ValueError
            If labels are not finite or outside the bounds, or their number is wrong.

        Notes
        -----
        With the given labels t, parameters :math:`\eta` that are no labels (velocity,
        widths, continuum), and displacements :math:`\delta` of the labels by the error
        of the emulator, of covariance E,

        .. math:: \Delta\chi^2 = \min_{\delta,\,\eta} \left[\chi^2(t + \delta, \eta)
            + \delta^T E^{-1} \delta\right] - \min_{x,\,\eta} \chi^2(x, \eta) .

        At the true labels it follows a chi2 distribution with K = `n_free` degrees of
        freedom [1]_, or, as E is learned from a limited number of spectra, K times an F
        distribution. The region of a given rise follows the curvature of the model,
        unlike the ellipsoid of a linear one [2]_. A value clearly below zero shows that
        the fit is not in the deepest valley of chi2.

        References
        ----------
        .. [1] Wilks, "The large-sample distribution of the likelihood ratio for testing
           composite hypotheses", Ann. Math. Statist. 9, 60, 1938.
        .. [2] Bates & Watts, "Nonlinear regression analysis and its applications",
           chapter 6, Wiley, 1988.

        Examples
        --------
        >>> from sk_payne import AbundanceRegressor, SpectrumEmulator
        >>> from sk_payne.datasets import make_spectra
        >>> grid = make_spectra(300, random_state=0)
        >>> emulator = SpectrumEmulator(
        ...     arch="payne", max_steps=200, random_state=0
        ... ).fit(grid.data, grid.target)
        >>> regressor = AbundanceRegressor(emulator, snr=100)
        >>> stars, labels = emulator.predict(grid.data[:2]), grid.data[:2]
        >>> table = regressor.likelihood_ratio(stars, labels)
        >>> bool((table["probability"] < 0.68).all())
        True
        """
        from astropy.table import QTable

        plan = self._plan(X, uncertainty, mask, estimate="mode")
        _check_supported(plan, "likelihood_ratio")
        names, units = plan.emulator.label_names, plan.emulator.label_units
        bounds = (
            end[: len(names)] for end in (plan.parameters.low, plan.parameters.high)
        )
        labels = labels_within_bounds(labels, names, units, *bounds, len(plan.spectra))
        best = measure_stars(plan, verbose=self.verbose)
        rise, n_free = rises_of_chi2(plan, best, labels)
        probability = joint_probability(rise.clip(0), n_free, best.error_dof)
        return QTable(
            {
                "delta_chi2": rise,
                "n_free": n_free,
                "error_dof": best.error_dof,
                "probability": probability,
            }
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

        Use it for stars whose errors are far from Gaussian: at bounds, or with two
        solutions near each other.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        sampler : {"emcee", "importance"}, default="emcee"
            Sampler. "emcee" is a Markov chain, which needs ``pip install
            'sk_payne[posterior]'`` and a minute or more per star. "importance" weights
            samples of a second-order model, as for `estimate` "mean", in less than a
            second.
        n_steps : int, default=2000
            Number of steps of each walker of emcee; the first half is discarded.
        n_draws : int, default=1000
            Number of samples per star.
        random_state : int, RandomState or None, default=None
            Seed, or source of random numbers.
        uncertainty, mask : array-like of shape (n_stars, n_pixels), default=None
            As in :meth:`predict`.

        Returns
        -------
        posterior : Bunch
            samples : ndarray of shape (n_stars, n_draws, n_parameters)
                Samples of labels, then of other fitted parameters; NaN for stars
                without data.
            label_names, label_units : list of str
                Names and units of the parameters.
            n_effective : ndarray of shape (n_stars,)
                Number of effectively independent samples; for a chain, that of its
                slowest parameter.
            acceptance : ndarray of shape (n_stars,)
                Fraction of accepted steps of emcee, otherwise NaN.

        Raises
        ------
        ImportError
            If emcee is missing.
        NotFittedError, ValueError, WavelengthMismatchError
            As in :meth:`predict`.

        Warns
        -----
        UserWarning
            If chains are short compared with their autocorrelation time.

        Notes
        -----
        The density is :math:`e^{-\chi^2/2}` times the priors, which are flat within the
        bounds by default. The continuum of each sample is that of smallest chi2.
        Walkers of emcee [1]_ move by differential evolution. Both samplers start around
        the best fit, and do not find solutions far from it.

        References
        ----------
        .. [1] Foreman-Mackey et al., "emcee: the MCMC hammer", PASP 125, 306, 2013.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator
        >>> from sk_payne.datasets import make_spectra
        >>> grid = make_spectra(300, label_names=("teff", "Fe_H"), random_state=0)
        >>> emulator = SpectrumEmulator(
        ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
        ...     label_names=grid.label_names, label_units=grid.label_units,
        ...     max_steps=400, random_state=0,
        ... ).fit(grid.data, grid.target)
        >>> regressor = AbundanceRegressor(
        ...     emulator, Observation(velocity_range=None), snr=100
        ... )
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
        # samples start around best fits
        plan = self._plan(X, uncertainty, mask, estimate="mode")
        _check_supported(plan, "posterior")
        best = measure_stars(plan)
        options = {
            "n_draws": n_draws,
            "random_state": check_random_state(random_state),
            "verbose": self.verbose,
        }
        if sampler == "importance":
            return weigh_posterior(plan, best, **options)
        return sample_posterior(plan, best, n_steps=n_steps, **options)


def _check_supported(plan, method):
    """Check that a method supports the observation."""
    if plan.second_star is not None:
        raise ValueError(
            f"`second_star` of the observation must be None for `{method}`, which "
            "supports single stars only. Use the errors of `measure` for two."
        )
    if plan.observation.error_length is not None:
        raise ValueError(
            f"`error_length` of the observation must be None for `{method}`, which "
            "assumes independent errors of pixels. Use the errors of `measure`."
        )
