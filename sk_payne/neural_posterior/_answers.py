"""Methods of a fitted NeuralPosterior: quantiles, samples, densities and novelty."""

import numpy as np
from sklearn.utils import check_random_state

from sk_payne.abundances import ForwardModel
from sk_payne.neural_posterior._arguments import digest_of_emulator
from sk_payne.neural_posterior._representation import Represented
from sk_payne.spectra import as_spectra

__all__ = ["Answers"]


class Answers:
    """Methods that evaluate the network for the spectra of stars."""

    def predict(self, X, *, uncertainty=None, mask=None, quantiles=None):
        """Predict medians, or other quantiles, of the labels of stars.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            Spectra, as in :meth:`~sk_payne.AbundanceRegressor.predict`.
        uncertainty, mask : array-like of shape (n_stars, n_pixels), default=None
            1 sigma errors of plain flux, and its mask: True is bad.
        quantiles : array-like of shape (n_quantiles,), default=None
            Probabilities between 0 and 1, such as ``[0.16, 0.5, 0.84]``; the median
            if None.

        Returns
        -------
        labels : ndarray of shape (n_stars, n_labels)
            Medians of the free labels; NaN for stars without usable pixels. With
            `quantiles`, the shape is (n_stars, n_labels, n_quantiles).

        Raises
        ------
        NotFittedError, ValueError, WavelengthMismatchError
            As :meth:`~sk_payne.AbundanceRegressor.predict`.
        """
        parts = np.asarray(0.5 if quantiles is None else quantiles, dtype=np.float64)
        if parts.ndim > 1 or not ((parts > 0) & (parts < 1)).all():
            raise ValueError(
                f"`quantiles` must be numbers between 0 and 1; got {quantiles!r}."
            )
        answer, trained = self._answer(X, uncertainty, mask), self._trained()
        found = []
        for part in np.atleast_1d(parts):
            points = answer.mixtures.quantile(part)
            values = trained.coordinates.to_values(points, answer.start)
            found.append(values[:, : trained.n_labels])
        found = np.stack(found, axis=2)
        found[~answer.has_data] = np.nan
        return found[..., 0] if quantiles is None else found

    def sample(
        self, X, n_samples=1000, *, uncertainty=None, mask=None, random_state=None
    ):
        """Draw samples of all free parameters of stars.

        Parameters
        ----------
        X, uncertainty, mask : spectra, and array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        n_samples : int, default=1000
            Number of samples per star.
        random_state : int, RandomState instance or None, default=None
            Seed, or source of random numbers.

        Returns
        -------
        samples : ndarray of shape (n_stars, n_samples, n_parameters)
            Samples in the order of `parameter_names_`, within the bounds; NaN for stars
            without usable pixels.

        Raises
        ------
        NotFittedError, ValueError, WavelengthMismatchError
            As in :meth:`predict`.
        """
        answer, trained = self._answer(X, uncertainty, mask), self._trained()
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        found = np.full((len(answer), n_samples, len(trained.names)), np.nan)
        for row in np.flatnonzero(answer.has_data):
            rng = np.random.default_rng([seed, row])
            points = answer.mixtures.sample(row, n_samples, rng)
            start = np.full(n_samples, answer.start[row])
            found[row] = trained.coordinates.to_values(points, start)
        return found

    def log_prob(self, X, theta, *, uncertainty=None, mask=None):
        """Compute the logarithm of the posterior density of parameters of stars.

        Parameters
        ----------
        X, uncertainty, mask : spectra, and array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        theta : array-like of shape (n_stars, n_parameters) or (n_stars, n_labels)
            Values of all free parameters, or of the free labels alone.

        Returns
        -------
        log_prob : ndarray of shape (n_stars,)
            Natural logarithm of the density per unit of the parameters; minus infinity
            outside the bounds, NaN for stars without usable pixels.

        Raises
        ------
        NotFittedError, ValueError, WavelengthMismatchError
            As in :meth:`predict`, or if the shape of `theta` is wrong.
        """
        answer, trained = self._answer(X, uncertainty, mask), self._trained()
        theta = np.asarray(theta, dtype=np.float64)
        shapes = [(len(answer), k) for k in (len(trained.names), trained.n_labels)]
        if theta.shape not in shapes:
            raise ValueError(
                f"`theta` must have the shape {shapes[0]}, with one column for each of "
                f"{trained.names}, or {shapes[1]}, with labels only; got "
                f"{theta.shape}."
            )
        k = theta.shape[1]
        every = trained.coordinates.to_values(answer.mixtures.mean[:, 0], answer.start)
        every[:, :k] = theta
        points = trained.coordinates.to_unbounded(every, answer.start)[:, :k]
        slope = trained.coordinates.log_slope(every, answer.start)[:, :k].sum(axis=1)
        mixtures = answer.mixtures.first(k)
        found = [mixtures.log_density(i, points[[i]])[0] for i in range(len(points))]
        found = np.array(found) + slope
        found[~trained.coordinates.contains(every)] = -np.inf
        found[~answer.has_data] = np.nan
        return found

    def score(self, X, y):
        """Compute the mean logarithm of the posterior density of known parameters.

        Parameters
        ----------
        X : spectra
            As in :meth:`predict`.
        y : array-like of shape (n_stars, n_parameters) or (n_stars, n_labels)
            Values of all free parameters, or of the free labels alone.

        Returns
        -------
        score : float
            Mean of :meth:`log_prob` over stars; larger is better.
        """
        return float(np.mean(self.log_prob(X, y)))

    def novelty(self, X, *, uncertainty=None, mask=None):
        """Compute novelty scores: distances of spectra from the training spectra.

        Parameters
        ----------
        X, uncertainty, mask : spectra, and array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.

        Returns
        -------
        novelty : ndarray of shape (n_stars,)
            The larger of two measures, each in standard deviations of held-out mock
            spectra of the same signal-to-noise ratio: chi2 of the residuals after
            projection on principal components of model spectra, and the Mahalanobis
            distance of the output of the last hidden layer from its mean. One in a
            thousand held-out spectra is above `novelty_threshold_`.

        Raises
        ------
        NotFittedError, ValueError, WavelengthMismatchError
            As in :meth:`predict`.
        """
        answer = self._answer(X, uncertainty, mask)
        return np.where(answer.has_data, self._trained().judge(answer), np.nan)

    def _answer(self, X, uncertainty, mask):
        """Evaluate the network for spectra of stars."""
        trained = self._trained()
        spectra = as_spectra(X, medium=self.medium, uncertainty=uncertainty, mask=mask)
        plan = ForwardModel(
            self.emulator,
            self.observation,
            spectra,
            bounds=self.bounds,
            fixed=self.fixed,
            priors=self.priors,
        ).plan
        if digest_of_emulator(plan.emulator) != trained.emulator:
            raise ValueError(
                "`emulator` must be the one that the posterior was trained with; got "
                "another. Fit the posterior again."
            )
        wavelength, arm = self._own_grid(plan.wavelength, plan.arm)
        flux, ivar = spectra.flux, spectra.ivar
        if wavelength is None or wavelength.ndim == 1:
            return trained.answer(trained.represent(flux, ivar, wavelength, arm))
        parts = [
            trained.represent(
                flux[[i]], ivar[[i]], wavelength[i], None if arm is None else arm[i]
            )
            for i in range(len(flux))
        ]
        return trained.answer(Represented.join(parts))
