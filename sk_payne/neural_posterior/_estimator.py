"""NeuralPosterior: the way back from spectra to parameters, learned from mocks."""

from sklearn.base import BaseEstimator

from sk_payne.abundances import Observation
from sk_payne.neural_posterior._answers import Answers
from sk_payne.neural_posterior._files import KEPT, save_posterior
from sk_payne.neural_posterior._run import run_training
from sk_payne.neural_posterior._views import FittedViews
from sk_payne.resumable import describe
from sk_payne.spectra import as_spectra

__all__ = ["NeuralPosterior"]


class NeuralPosterior(Answers, FittedViews, BaseEstimator):
    r"""Posterior distributions of parameters, by a network that saw mock spectra.

    Neural posterior estimation [1]_: an emulator makes training spectra without end, of
    parameters that are drawn from the prior; a network learns the distribution of the
    parameters given the spectrum, a mixture of Gaussian distributions in coordinates
    without bounds. It takes spectra on any pixels within the range of the emulator,
    with errors, masks and an unknown continuum, and asks the emulator no more.

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
        Principal components of model spectra on which spectra are projected, at first;
        regression vectors of the parameters, three of each, come in addition.
    n_hidden, n_layers : int, default=512 and 3
        Neurons of a hidden layer, and hidden layers.
    n_components : int, default=2
        Components of the mixture.
    max_steps : int, default=2500
        Training steps.
    batch_size : int, default=512
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
        n_hidden=512,
        n_layers=3,
        n_components=2,
        max_steps=2500,
        batch_size=512,
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
            errors and masks of these stars, or of 64 of them if there are more. If
            None, they are on the grid of the emulator, with the same error at every
            pixel.
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
        kept = {name: getattr(self, name) for name in (*KEPT, "medium")}
        kept["observation"] = self.observation or Observation()
        save_posterior(self._trained(), path, describe(kept))

    def _read_training(self, X):
        if X is None:
            return None
        return as_spectra(X, medium=self.medium)
