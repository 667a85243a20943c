"""NeuralPosterior: posterior distributions by a network trained on mock spectra."""

from sklearn.base import BaseEstimator

from sk_payne.abundances import Observation, emulator_of
from sk_payne.neural_posterior._agreement import read_training
from sk_payne.neural_posterior._answers import Answers
from sk_payne.neural_posterior._arguments import check_arguments
from sk_payne.neural_posterior._cost import training_cost
from sk_payne.neural_posterior._files import KEPT, save_posterior
from sk_payne.neural_posterior._run import run_training
from sk_payne.neural_posterior._views import FittedViews
from sk_payne.resumable import describe, difference
from sk_payne.spectra import as_spectra

__all__ = ["NeuralPosterior"]

# Arguments that a posterior has in common with the regressor whose fits start from it.
_OF_REGRESSOR = ("medium", "bounds", "priors", "fixed")


class NeuralPosterior(Answers, FittedViews, BaseEstimator):
    r"""Posterior distributions of parameters, by a network trained on mock spectra.

    Neural posterior estimation [1]_: an emulator computes a new batch of mock spectra
    for each training step, with parameters drawn from the prior. A network learns the
    probability distribution of the parameters given a spectrum, a mixture of Gaussian
    distributions in unbounded coordinates. Spectra may have any pixels within the range
    of the emulator, 1 sigma errors, masks and an unknown continuum. Predictions do not
    evaluate the emulator.

    Alone, the posterior is a quick look. In ``AbundanceRegressor(emulator, observation,
    start=posterior)`` least-squares fits start from it. Flags mark fits that disagree
    with the posterior, and spectra unlike all training spectra.

    Parameters
    ----------
    emulator : estimator
        Fitted emulator.
    observation : Observation, default=None
        Motion, broadening, instrument, continuum and errors of the spectra, as in
        :class:`~sk_payne.AbundanceRegressor`. A second star is not allowed.
    snr : tuple of float, default=(20.0, 400.0)
        Smallest and largest signal-to-noise ratio per pixel of the training spectra;
        its logarithm is drawn uniformly.
    medium : {"air", "vacuum"}, default=None
        Medium of the wavelengths of spectra that do not state it.
    bounds, priors, fixed : default=None
        As in :class:`~sk_payne.AbundanceRegressor`, but the same for all stars. Labels
        without a prior are drawn uniformly within the bounds.
    n_directions : int, default=192
        Number of principal components of model spectra among the initial directions of
        the projection. Three regression vectors per parameter are added.
    n_hidden, n_layers : int, default=512 and 3
        Number of neurons per hidden layer, and of hidden layers.
    n_components : int, default=2
        Number of components of the mixture.
    max_steps : int, default=2500
        Number of training steps.
    batch_size : int, default=512
        Number of spectra per training step.
    lr : float, default=0.002
        Largest learning rate.
    n_held_out : int, default=2000
        Number of held-out mock spectra, for the calibration and for the scale of the
        novelty.
    checkpoint : path-like, default=None
        File with the state of the training, from which `fit` continues an interrupted
        training.
    device : str, default="auto"
        Device of the training.
    random_state : int, RandomState instance or None, default=None
        Seed, or source of random numbers.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    trained_ : TrainedPosterior
        The trained posterior.
    parameter_names_, parameter_units_ : list of str
        Names and units of the free parameters, labels first.
    label_names_ : list of str
        Names of the free labels.
    calibration_ : Calibration
        Comparison with held-out mock spectra: `probability`, marginal distribution
        functions at the true values, and ``coverage(part)``.
    history_ : list of dict
        Losses of training and held-out spectra by step: minus the mean logarithm of the
        density.
    n_steps_ : int
        Number of training steps taken.

    See Also
    --------
    sk_payne.AbundanceRegressor : Least-squares fits, with a posterior as `start`.

    Notes
    -----
    The input of the network is computed in four steps:

    1. The spectrum is divided by its continuum: polynomials of the degree
       `continuum_degree` of the observation times the mean model spectrum, fitted with
       inverse variances as weights.
    2. It is rebinned to the sampling of the emulator in log wavelength. The flux of a
       bin is the mean of its pixels, weighted with their inverse variances.
    3. It is shifted to rest by the velocity at which a mean spectrum of slow, medium or
       fast rotators matches best.
    4. The mean model spectrum is subtracted.

    The network gets these residuals and their variances: noise and missing bins differ
    between stars. Pixels are used if their flux is from inside the range of the
    emulator at every velocity that the observation allows.

    Training spectra include the error of the emulator, runs of bad pixels, and continua
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

    @classmethod
    def of(cls, regressor, **options):
        """Make the posterior from which the fits of a regressor can start.

        Parameters
        ----------
        regressor : AbundanceRegressor
            Regressor with a fitted emulator; not changed.
        **options : dict
            Further arguments, such as `max_steps`.

        Returns
        -------
        posterior : NeuralPosterior
            Unfitted posterior with emulator, observation, medium, bounds, priors and
            fixed values of the regressor.

        Examples
        --------
        >>> from sk_payne import AbundanceRegressor, load
        >>> from sk_payne.neural_posterior import NeuralPosterior
        >>> regressor = AbundanceRegressor(load("dwarfs-4500-4600"))
        >>> posterior = NeuralPosterior.of(regressor, max_steps=1000)
        >>> posterior.emulator is regressor.emulator, posterior.max_steps
        (True, 1000)
        """
        shared = {name: getattr(regressor, name) for name in _OF_REGRESSOR}
        observation = regressor.observation
        return cls(emulator_of(regressor), observation, **shared, **options)

    def cost(self, X=None):
        """Compute the cost of the training, and check its arguments.

        Parameters
        ----------
        X : spectra, default=None
            The same spectra as in :meth:`fit`.

        Returns
        -------
        cost : dict of str to int
            "n_spectra", the number of mock spectra of all training steps, and
            "n_bytes", the size of the file that :meth:`save` writes, up to a few
            percent.

        Raises
        ------
        ImportError, NotFittedError, ValueError
            As in :meth:`fit`.
        """
        return training_cost(self, self._read_training(X))

    def fit(self, X=None, y=None):
        """Train on mock spectra.

        Parameters
        ----------
        X : spectra, default=None
            Spectra of observed stars, in any form that
            :class:`~sk_payne.AbundanceRegressor` accepts. Training spectra have the
            pixels, arms, resolving powers, relative errors and masks of these stars, or
            of 64 of them if there are more. If None, training spectra are on the grid
            of the emulator, with the same error at every pixel.
        y : None
            Not used.

        Returns
        -------
        self : NeuralPosterior
            The fitted estimator.

        Raises
        ------
        ImportError
            If zuko is not installed.
        NotFittedError
            If the emulator is not fitted.
        ValueError
            If an argument is invalid, no star has usable pixels, the checkpoint is of
            another training, or training diverges.

        Warns
        -----
        TrainingInterruptedWarning
            If training was interrupted by Ctrl-C; :meth:`partial_fit` continues it.
        """
        self.trained_ = run_training(self, self._read_training(X))
        return self

    def partial_fit(self, X=None, y=None):
        """Continue an interrupted training; the result is that of one training.

        Parameters
        ----------
        X : spectra, default=None
            The same spectra as in :meth:`fit`.
        y : None
            Not used.

        Returns
        -------
        self : NeuralPosterior
            The fitted estimator. An unfitted one is fitted from the start; a finished
            training is not changed.

        Raises
        ------
        ValueError
            If spectra or arguments differ from those of the earlier training, or the
            posterior was loaded from a file.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(X)
        state = self.trained_.state
        if state is None:
            raise ValueError(
                "`partial_fit` continues an interrupted training, but a loaded "
                "posterior has no state of a training. Use `fit` to start again."
            )
        if state["n_steps"] < self.max_steps:
            self.trained_ = run_training(self, self._read_training(X), state)
        return self

    def save(self, path):
        """Write the posterior to a file that :func:`load_posterior` reads.

        Parameters
        ----------
        path : str or path-like
            Name of the file, of tensors (safetensors) and JSON. An existing file is
            replaced. The file has a digest of the emulator, not the emulator itself.

        Raises
        ------
        NotFittedError
            If the posterior is not fitted.
        FileNotFoundError
            If the folder of `path` does not exist.
        """
        save_posterior(self._trained(), path, self._described())

    def load(self, path):
        """Read the training from a file that :meth:`save` wrote, instead of `fit`.

        Parameters
        ----------
        path : str or path-like
            Name of the file.

        Returns
        -------
        self : NeuralPosterior
            The fitted estimator.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        FileFormatError
            If the file is damaged, of another kind or of a newer format.
        ValueError
            If an argument differs from that of the training.
        """
        trained, arguments = read_training(path, self.emulator, self.observation)
        found = difference(
            arguments | {"snr": list(trained.snr)},
            self._described() | {"snr": list(check_arguments(self))},
        )
        if found is not None:
            raise ValueError(
                f"The posterior in '{path}' was trained with another {found}. Use "
                "load_posterior, which sets the arguments to those of the training."
            )
        self.trained_ = trained
        return self

    def _described(self):
        """Arguments that a file stores, as values that JSON can represent."""
        kept = {name: getattr(self, name) for name in (*KEPT, *_OF_REGRESSOR)}
        kept["observation"] = self.observation or Observation()
        return describe(kept)

    def _read_training(self, X):
        if X is None:
            return None
        return as_spectra(X, medium=self.medium)
