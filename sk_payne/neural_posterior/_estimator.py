"""NeuralPosterior: the way back from spectra to parameters, learned from an emulator."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sk_payne.abundances import ForwardModel, Observation
from sk_payne.neural_posterior._arguments import digest_of_emulator
from sk_payne.neural_posterior._files import read_posterior, save_posterior
from sk_payne.neural_posterior._proposal import Proposal
from sk_payne.neural_posterior._representation import Represented
from sk_payne.neural_posterior._run import run_training
from sk_payne.resumable import describe
from sk_payne.spectra import as_spectra

__all__ = ["NeuralPosterior", "load_posterior"]

# Arguments that a file keeps as they are.
_OPTIONS = ("n_directions", "n_hidden", "n_layers", "n_components", "max_steps")
_OPTIONS += ("batch_size", "lr", "n_held_out")

# Widths of the instrument that differ by less than this factor are the same, and those
# below this one in km/s are none.
_SAME, _SHARP = 1.05, 0.05


class NeuralPosterior(BaseEstimator):
    r"""Posterior distributions of parameters, by a network that saw mock spectra.

    Neural posterior estimation [1]_: an emulator makes training spectra without end, of
    parameters that are drawn from the prior; a network learns the distribution of the
    parameters given the spectrum, a mixture of Gaussian distributions in coordinates
    without bounds. It takes a tenth of a millisecond or so for a star, on any pixels
    within the range of the emulator, with errors, masks and an unknown continuum.

    Alone, it is a quick look. In ``AbundanceRegressor(emulator, observation,
    start=posterior)`` least squares start from it, and stars are flagged whose fit it
    does not believe, or whose spectra it has never seen the like of.

    Parameters
    ----------
    emulator : estimator
        Fitted.
    observation : Observation, default=None
        How stars are observed, as of :class:`~sk_payne.AbundanceRegressor`. A second
        star is not allowed.
    snr : tuple of float, default=(20.0, 400.0)
        Smallest and largest signal-to-noise ratio per pixel of the training spectra,
        whose logarithm is drawn uniformly.
    medium : {"air", "vacuum"}, default=None
        Medium of the wavelengths of spectra that do not say it.
    bounds, priors, fixed : default=None
        As of :class:`~sk_payne.AbundanceRegressor`, but alike for all stars. Labels
        without a prior are drawn uniformly within the bounds.
    n_directions : int, default=192
        Principal components of model spectra on which spectra are projected, at first.
    n_hidden, n_layers : int, default=384 and 3
        Neurons of a hidden layer, and hidden layers.
    n_components : int, default=2
        Components of the mixture.
    max_steps : int, default=3000
        Training steps.
    batch_size : int, default=256
        Spectra in a step.
    lr : float, default=0.002
        Largest learning rate.
    n_held_out : int, default=2000
        Mock spectra that are not trained on; calibration and novelty are learned from
        them.
    checkpoint : path-like, default=None
        File that keeps the state of the training, from which `fit` goes on if it was
        stopped.
    device : str, default="auto"
        Where to train.
    random_state : int, RandomState instance or None, default=None
        Of all that is drawn.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    trained_ : TrainedPosterior
        All that was learned.
    parameter_names_, parameter_units_ : list of str
        Of the free parameters, labels first.
    label_names_ : list of str
        Of the labels among them.
    calibration_ : Calibration
        On held-out mock spectra: `probability`, marginal distribution functions at the
        true values, and ``coverage(part)``.
    history_ : list of dict
        Minus the logarithmic density of training and held-out spectra, by step.
    n_steps_ : int
        Training steps that were taken.

    See Also
    --------
    sk_payne.AbundanceRegressor : Takes it as `start`.

    Notes
    -----
    A spectrum is brought to bins of log wavelength, of the sampling of the emulator:
    each bin has the mean of its pixels, weighted with their inverse variances. The
    continuum is divided out first, polynomials of the degree that the observation says,
    fitted with these weights to the spectrum over the mean model spectrum; spectra are
    shifted to rest by the velocity at which a mean spectrum of slow, medium or fast
    rotators matches best; and the mean spectrum is subtracted. The network sees these
    residuals and their variances, so it knows the noise of each star and which bins are
    missing. Only pixels count whose flux comes from within the emulator at every
    velocity that the observation allows.

    Training spectra have the error of the emulator, runs of bad pixels, and continua
    between 0.7 and 1.3 of their mean.

    References
    ----------
    .. [1] Papamakarios & Murray, "Fast epsilon-free inference of simulation models with
       Bayesian conditional density estimation", NeurIPS, 2016; Cranmer, Brehmer &
       Louppe, "The frontier of simulation-based inference", PNAS 117, 30055, 2020.

    Examples
    --------
    >>> from sk_payne import Observation, SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.neural_posterior import NeuralPosterior
    >>> grid = make_spectra(300, label_names=("teff", "Fe_H"), random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
    ...     resolving_power=grid.resolving_power, label_names=grid.label_names,
    ...     max_steps=300, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> posterior = NeuralPosterior(
    ...     emulator, Observation(velocity_range=(-20, 20)), n_directions=16,
    ...     n_hidden=32, max_steps=20, n_held_out=200, random_state=0,
    ... ).fit()
    >>> posterior.parameter_names_
    ['teff', 'Fe_H', 'radial_velocity']
    >>> posterior.predict(grid.target[:3], uncertainty=0.01).shape
    (3, 2)
    """

    def __init__(
        self,
        emulator,
        observation=None,
        *,
        snr=(20.0, 400.0),
        medium=None,
        bounds=None,
        priors=None,
        fixed=None,
        n_directions=192,
        n_hidden=384,
        n_layers=3,
        n_components=2,
        max_steps=3000,
        batch_size=256,
        lr=2e-3,
        n_held_out=2000,
        checkpoint=None,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.emulator = emulator
        self.observation = observation
        self.snr = snr
        self.medium = medium
        self.bounds = bounds
        self.priors = priors
        self.fixed = fixed
        self.n_directions = n_directions
        self.n_hidden = n_hidden
        self.n_layers = n_layers
        self.n_components = n_components
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.lr = lr
        self.n_held_out = n_held_out
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X=None, y=None):
        """Train on mock spectra.

        Parameters
        ----------
        X : spectra, default=None
            Observed stars, in any form that :class:`~sk_payne.AbundanceRegressor`
            takes. Training spectra have the pixels, arms, resolving powers, relative
            errors and masks of these stars. If None, they are on the grid of the
            emulator, with the same error at every pixel.
        y : None
            Not used.

        Returns
        -------
        self : NeuralPosterior
            Fitted.

        Raises
        ------
        ImportError
            If zuko is not installed.
        NotFittedError
            If the emulator is not fitted.
        ValueError
            If an argument is not allowed, no star has pixels that count, the
            checkpoint is of another training, or training diverges.

        Warns
        -----
        TrainingInterruptedWarning
            If training was stopped by Ctrl-C; :meth:`partial_fit` goes on.
        """
        self.trained_ = run_training(self, self._read_training(X))
        return self

    def partial_fit(self, X=None, y=None):
        """Go on with a training that was interrupted, as if it had not been.

        Parameters
        ----------
        X : spectra, default=None
            The same as in :meth:`fit`.
        y : None
            Not used.

        Returns
        -------
        self : NeuralPosterior
            Fitted. One that is not fitted is fitted; one whose training is finished
            stays as it is.

        Raises
        ------
        ValueError
            If spectra or arguments are not those of the training before, or it was
            loaded.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(X)
        state = self.trained_.state
        if state is None:
            raise ValueError(
                "`partial_fit` goes on with an interrupted training, but a loaded "
                "posterior knows of none. Use `fit` to start again."
            )
        if state["n_steps"] < self.max_steps:
            self.trained_ = run_training(self, self._read_training(X), state)
        return self

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
        X, uncertainty, mask
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
        X, uncertainty, mask
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
        X, uncertainty, mask
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

    def save(self, path):
        """Write the posterior to a file that :func:`load_posterior` reads.

        Parameters
        ----------
        path : str or path-like
            File of tensors (safetensors) and JSON, which is replaced if it exists. The
            emulator is not in it, but a digest that tells it from others.

        Raises
        ------
        NotFittedError
            If the posterior is not fitted.
        FileNotFoundError
            If `path` lies in no folder.
        """
        kept = {name: getattr(self, name) for name in (*_OPTIONS, "medium")}
        kept["observation"] = self.observation or Observation()
        save_posterior(self._trained(), path, describe(kept))

    def require(self, plan):
        """Refuse to start fits of which this is no posterior.

        Parameters
        ----------
        plan : FitPlan
            Plan of the fits.

        Raises
        ------
        NotFittedError
            If the posterior is not fitted.
        ValueError
            If it was trained with another emulator, or a parameter is fitted that it
            does not know.
        """
        trained = self._trained()
        if digest_of_emulator(plan.emulator) != trained.emulator:
            raise ValueError(
                "`start` must be a NeuralPosterior of the same emulator; this one was "
                "trained with another. Train it with the emulator of the regressor."
            )
        is_known = plan.constraints.is_fixed.all(axis=0)
        names = np.array(plan.parameters.names)
        missing = [str(n) for n in names[~is_known] if n not in trained.names]
        if missing:
            raise ValueError(
                f"`start` must know all parameters that are fitted; {missing} are not "
                f"among its {trained.names}. Train it with the observation of the "
                "regressor."
            )

    def propose(self, flux, ivar, wavelength, arm, *, width, parameters):
        """Give the posterior of a star that is to be fitted.

        Parameters
        ----------
        flux, ivar : ndarray of shape (n_pixels,)
            Flux and inverse variances, 0 for bad pixels.
        wavelength, arm : ndarray of shape (n_pixels,) or None
            Å in the medium of the emulator, and arm of each pixel; None for its grid.
        width : float
            Standard deviation of the instrument in km/s, beyond that of the emulator.
        parameters : Parameters
            What is fitted, in its order.

        Returns
        -------
        proposal : Proposal or None
            None for a star without a pixel that counts, or whose instrument is 5 %
            wider or sharper than those of the training.
        """
        trained = self._trained()
        low, high = trained.width
        if not low / _SAME - _SHARP < width < high * _SAME + _SHARP:
            return None
        pixels = self._own_grid(wavelength, arm)
        spectra = trained.represent(flux[None], ivar[None], *pixels)
        answer = trained.answer(spectra, block=1)
        if not answer.has_data[0]:
            return None
        return Proposal(trained, answer, parameters.names, parameters.start)

    @property
    def parameter_names_(self):
        """Names of the free parameters, labels first."""
        return list(self._trained().names)

    @property
    def parameter_units_(self):
        """Units of the free parameters."""
        return list(self._trained().units)

    @property
    def label_names_(self):
        """Names of the free labels."""
        trained = self._trained()
        return list(trained.names[: trained.n_labels])

    @property
    def calibration_(self):
        """How the posterior does on held-out mock spectra."""
        return self._trained().calibration

    @property
    def novelty_threshold_(self):
        """Novelty that one in a thousand held-out mock spectra exceeds."""
        return self._trained().novelty.threshold

    @property
    def history_(self):
        """Losses by step."""
        return list(self._trained().history)

    @property
    def n_steps_(self):
        """Training steps that were taken."""
        return self._trained().n_steps

    def __sklearn_is_fitted__(self):
        return "trained_" in vars(self)

    def _trained(self):
        check_is_fitted(self)
        return self.trained_

    def _read_training(self, X):
        if X is None:
            return None
        return as_spectra(X, medium=self.medium)

    def _own_grid(self, wavelength, arm):
        """Wavelengths of flux on the grid of the emulator, if they are not given."""
        grid = self._trained().representation.grid
        return (grid, None) if wavelength is None else (wavelength, arm)

    def _answer(self, X, uncertainty, mask):
        """What the network says of the spectra of stars."""
        trained = self._trained()
        spectra = as_spectra(
            X, medium=self.medium, uncertainty=uncertainty, mask=mask
        )
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


def load_posterior(path, emulator, observation=None):
    """Read a posterior that :meth:`NeuralPosterior.save` wrote.

    Nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like
        The file.
    emulator : estimator
        Emulator that the posterior was trained with.
    observation : Observation, default=None
        Observation that it was trained with.

    Returns
    -------
    posterior : NeuralPosterior
        Fitted; it predicts exactly what the saved one did.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file is damaged, of another kind or of a newer format.
    ValueError
        If emulator or observation are not those of the training.

    Examples
    --------
    >>> from sk_payne.neural_posterior import load_posterior
    >>> load_posterior("nowhere.safetensors", None)
    Traceback (most recent call last):
    FileNotFoundError: `path` must be a file or folder that `save` wrote; ...
    """
    trained, arguments = read_posterior(path)
    told = describe(Observation() if observation is None else observation)
    if arguments["observation"] != told:
        raise ValueError(
            "`observation` must be that of the training; its parameters are "
            f"{arguments['observation']}, not {told}."
        )
    posterior = NeuralPosterior(
        emulator,
        observation,
        medium=arguments["medium"],
        snr=trained.snr,
        **{name: arguments[name] for name in _OPTIONS},
        **_known(trained),
    )
    fitted = ForwardModel(emulator, posterior.observation).plan.emulator
    if digest_of_emulator(fitted) != trained.emulator:
        raise ValueError(
            f"`emulator` must be the one that the posterior in '{path}' was trained "
            "with; it is another."
        )
    posterior.trained_ = trained
    return posterior


def _known(trained):
    """Bounds, priors and fixed values of a trained posterior, by name."""
    names, coordinates = trained.names, trained.coordinates
    ends = zip(coordinates.low.tolist(), coordinates.high.tolist(), strict=True)
    gaussian = zip(coordinates.mean.tolist(), coordinates.error.tolist(), strict=True)
    bounds = dict(zip(names, ends, strict=True))
    priors = dict(zip(names, gaussian, strict=True))
    return {
        "bounds": {name: bounds[name] for name in names[: trained.n_labels]},
        "priors": {n: one for n, one in priors.items() if np.isfinite(one[1])} or None,
        "fixed": trained.known or None,
    }
