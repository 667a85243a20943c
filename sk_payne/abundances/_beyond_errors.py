"""Limits and posterior samples: for stars whose errors are not Gaussian."""

from numbers import Integral

from sklearn.utils import check_random_state

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
        if side not in ("upper", "lower"):
            raise ValueError(f"`side` must be 'upper' or 'lower'; got {side!r}.")
        if not 0.5 <= confidence < 1:
            raise ValueError(
                f"`confidence` must be at least 0.5 and below 1; got {confidence}."
            )
        plan = self._plan(X, uncertainty, mask, estimate="mode")
        _refuse_what_is_not_made(plan, "limits")
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
        _refuse_what_is_not_made(plan, "posterior")
        best = measure_stars(plan)
        options = {
            "n_draws": n_draws,
            "random_state": check_random_state(random_state),
            "verbose": self.verbose,
        }
        if sampler == "importance":
            return weigh_posterior(plan, best, **options)
        return sample_posterior(plan, best, n_steps=n_steps, **options)


def _refuse_what_is_not_made(plan, method):
    """Refuse observations that a method is not made for."""
    if plan.second_star is not None:
        raise ValueError(
            f"`second_star` of the observation must be None for `{method}`, which "
            "knows single stars only. Use the errors of `measure` for two."
        )
    if plan.observation.error_length is not None:
        raise ValueError(
            f"`error_length` of the observation must be None for `{method}`, which "
            "takes errors of pixels to be independent. Use the errors of `measure`."
        )
