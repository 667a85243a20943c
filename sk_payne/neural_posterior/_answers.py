"""What a fitted NeuralPosterior says of spectra: quantiles, samples, densities."""

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
        """Medians of the labels of stars, or other quantiles.

        Parameters
        ----------
        X : spectra, or array-like of shape (n_stars, n_pixels)
            As :meth:`~sk_payne.AbundanceRegressor.predict` takes them.
        uncertainty, mask : array-like of shape (n_stars, n_pixels), default=None
            1 sigma errors and bad pixels of plain flux.
        quantiles : array-like of shape (n_quantiles,), default=None
            Between 0 and 1, such as ``[0.16, 0.5, 0.84]``.

        Returns
        -------
        labels : ndarray of shape (n_stars, n_labels)
            Medians of the free labels; NaN for stars without a pixel that counts. With
            `quantiles`, of shape (n_stars, n_labels, n_quantiles).

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
            Of each star.
        random_state : int, RandomState instance or None, default=None
            Of the samples.

        Returns
        -------
        samples : ndarray of shape (n_stars, n_samples, n_parameters)
            In the order of `parameter_names_`, within their bounds; NaN for stars
            without a pixel that counts.

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
        """Logarithm of the posterior density of parameters of stars.

        Parameters
        ----------
        X, uncertainty, mask : spectra, and array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.
        theta : array-like of shape (n_stars, n_parameters) or (n_stars, n_labels)
            Values of all free parameters, or of the free labels alone.

        Returns
        -------
        log_prob : ndarray of shape (n_stars,)
            Per unit of the parameters. Minus infinity outside of the bounds, NaN for
            stars without a pixel that counts.

        Raises
        ------
        NotFittedError, ValueError, WavelengthMismatchError
            As in :meth:`predict`, and if `theta` has another shape.
        """
        answer, trained = self._answer(X, uncertainty, mask), self._trained()
        theta = np.asarray(theta, dtype=np.float64)
        shapes = [(len(answer), k) for k in (len(trained.names), trained.n_labels)]
        if theta.shape not in shapes:
            raise ValueError(
                f"`theta` must have the shape {shapes[0]}, a column for each of "
                f"{trained.names}, or {shapes[1]} for the labels alone; got "
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
        """Mean logarithm of the posterior density of known parameters.

        Parameters
        ----------
        X : spectra
            As in :meth:`predict`.
        y : array-like of shape (n_stars, n_parameters) or (n_stars, n_labels)
            Values of all free parameters, or of the free labels alone.

        Returns
        -------
        score : float
            The higher, the better.
        """
        return float(np.mean(self.log_prob(X, y)))

    def novelty(self, X, *, uncertainty=None, mask=None):
        """Tell how little spectra look like those of the training.

        Parameters
        ----------
        X, uncertainty, mask : spectra, and array-like of shape (n_stars, n_pixels)
            As in :meth:`predict`.

        Returns
        -------
        novelty : ndarray of shape (n_stars,)
            The larger of two measures in standard deviations of held-out mock spectra
            of the same signal-to-noise ratio: chi2 of what principal components of the
            model spectra leave, and the distance of what the last hidden layer makes
            of the spectrum from its mean. One in a thousand held-out spectra is above
            `novelty_threshold_`.

        Raises
        ------
        NotFittedError, ValueError, WavelengthMismatchError
            As in :meth:`predict`.
        """
        answer = self._answer(X, uncertainty, mask)
        return np.where(answer.has_data, self._trained().judge(answer), np.nan)

    def _answer(self, X, uncertainty, mask):
        """Evaluate the network for the spectra of stars."""
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
                "`emulator` must be the one that the posterior was trained with; it is "
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
