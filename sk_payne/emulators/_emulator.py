"""SpectrumEmulator: stellar parameters to flux, as a scikit-learn estimator.

It is here as the door to every network: it validates, scales, trains and predicts.
"""

import copy
import warnings

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_payne.emulators._device import resolve_device
from sk_payne.emulators._domain import warn_outside
from sk_payne.emulators._grid import check_flux, check_grid, check_query, log_grid
from sk_payne.emulators._labels import resolve_label_names, resolve_label_units
from sk_payne.emulators._net import has_stopped_early
from sk_payne.emulators._recipe import resolve_recipe
from sk_payne.emulators._saving import save_emulator
from sk_payne.emulators._scaling import Scaling
from sk_payne.emulators._torch import double_twin, rebuild
from sk_payne.emulators._training import (
    choose_held_out,
    read_history,
    row_blocks,
    train_network,
)
from sk_payne.exceptions import TrainingInterruptedWarning
from sk_payne.networks import resolve_network
from sk_payne.spectra import to_spectrum


class SpectrumEmulator(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Neural emulator of stellar spectra: stellar parameters P to flux F.

    Call it as ``emulator.fit(P, F)`` and ``emulator.predict(P)``. Labels and flux are
    scaled inside. Part of the spectra is held out, to know the error of the emulator
    at each wavelength.

    Parameters
    ----------
    arch : str or type, default="transformer"
        - "transformer": TransformerPayne. The most accurate for its number of training
          spectra, at any wavelengths; slow to train on a CPU.
        - "bigpayne": a large dense network. Minutes to train, fast to predict.
        - "payne": The Payne, a small dense network. The fastest, the least accurate.
        - "convolutional": a dense stem and transposed convolutions.
        - an ``nn.Module`` class, see :mod:`sk_payne.networks`.
    arch_params : dict, default=None
        Options of the architecture, such as ``{"width": 256}``.
    wavelength : array-like of shape (n_wavelengths,), default=None
        Wavelengths of the columns of F in Å, increasing. If None, columns are just
        pixels, and whatever needs a wavelength is an error.
    medium : {"air", "vacuum"}, default=None
        What `wavelength` is measured in; must be given with it.
    label_names : sequence of str, default=None
        Names of the columns of P. If None, those of a DataFrame, else "label_0" ...
    label_units : sequence of str or dict, default=None
        astropy units of the labels, such as "K" and "dex", for all or by name.
    max_steps : int, default=None
        Optimisation steps; if None, as the recipe says.
    recipe : Recipe or dict, default=None
        Entries of the :class:`Recipe` to change, such as ``{"lr": 3e-4}``.
    validation_fraction : float, default=0.1
        Part of the spectra that is held out from training, drawn at random.
    callbacks : list, default=None
        Further skorch callbacks, such as ``skorch.callbacks.Checkpoint``.
    device : str, default="auto"
        "auto" is an accelerator if there is one, else the CPU.
    random_state : int, RandomState instance or None, default=None
        Of the first weights, the held-out spectra and the batches.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    label_names_, label_units_ : list of str
        Of the columns of P.
    wavelength_ : ndarray of shape (n_wavelengths,) or None
        Training grid in Å.
    medium_ : {"air", "vacuum"} or None
        Its medium.
    label_low_, label_high_ : ndarray of shape (n_labels,)
        The training box.
    held_out_mae_, held_out_rms_ : ndarray of shape (n_wavelengths,) or None
        Mean absolute and root mean square error of the flux at each wavelength on the
        held-out spectra; None if nothing was held out.
    n_outputs_ : int
        Number of wavelengths.
    n_training_, n_held_out_ : int
        Spectra trained on and held out.
    n_steps_ : int
        Optimisation steps taken.
    history_ : list of dict
        Losses of scaled flux after every ``validate_every`` steps.
    arch_params_ : dict
        All options that the network was built with.
    recipe_ : Recipe
        The recipe in full.
    device_ : str
        Where the network is.
    net_ : skorch.NeuralNet
        The trained net; not kept by pickling or saving.
    n_features_in_ : int
        Number of labels.
    feature_names_in_ : ndarray of str
        Columns of P, if it was a DataFrame.

    See Also
    --------
    AbundanceRegressor : Measures stars with an emulator.

    Notes
    -----
    `predict` works in the precision of P: float64 by default, with which numerical
    derivatives are safe and a star gets the same flux in any batch, or float32, which
    is twice as fast. Accelerators always compute in float32.

    References
    ----------
    .. [1] Różański, Ting & Jabłońska, "TransformerPayne", arXiv:2407.05751.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> grid = make_spectra(200, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
    ...     label_names=grid.label_names, max_steps=200, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> emulator.predict(grid.data[:3]).shape
    (3, 257)
    >>> bool(emulator.held_out_mae_.mean() < 0.1)
    True
    """

    def __init__(
        self,
        arch="transformer",
        *,
        arch_params=None,
        wavelength=None,
        medium=None,
        label_names=None,
        label_units=None,
        max_steps=None,
        recipe=None,
        validation_fraction=0.1,
        callbacks=None,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.arch = arch
        self.arch_params = arch_params
        self.wavelength = wavelength
        self.medium = medium
        self.label_names = label_names
        self.label_units = label_units
        self.max_steps = max_steps
        self.recipe = recipe
        self.validation_fraction = validation_fraction
        self.callbacks = callbacks
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y):
        """Train the emulator.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels)
            Stellar parameters P.
        y : array-like of shape (n_spectra, n_wavelengths)
            Flux F, normalised or not; float32 is neither copied nor converted.

        Returns
        -------
        self : SpectrumEmulator
            Fitted.

        Raises
        ------
        ValueError
            If shapes do not fit, values are not finite, there are fewer than two
            spectra, a constructor argument is not allowed, or training diverges.

        Warns
        -----
        TrainingInterruptedWarning
            If training was stopped by Ctrl-C; the emulator is what it had become.
        """
        X, y = self._validate(X, y)
        network = resolve_network(self.arch)
        self.recipe_ = resolve_recipe(self.arch, network, self.recipe, self.max_steps)
        self.device_ = resolve_device(self.device)
        random_state = check_random_state(self.random_state)
        seed = int(random_state.randint(2**31 - 1))
        held_out = choose_held_out(
            len(X), self.validation_fraction, random_state, self.recipe_
        )
        takes_wavelength = getattr(network, "takes_wavelength", False)
        self._scaling = Scaling.from_training(X, y, per_wavelength=not takes_wavelength)
        self.label_low_ = self._scaling.label_low
        self.label_high_ = self._scaling.label_high
        self.n_training_, self.n_held_out_ = len(X) - len(held_out), len(held_out)
        self._train(X, y, held_out, seed)
        self._measure_held_out(X[held_out], y, held_out)
        return self

    def predict(self, X, *, wavelength=None):
        """Flux of stars.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels)
            Stellar parameters P.
        wavelength : array-like of shape (n,), default=None
            Å, in the medium of the emulator and within its range. If None, the
            training grid. A transformer is evaluated there; the flux of the other
            networks is interpolated by the spline of
            :class:`sk_payne.spectra.GridInterpolator`.

        Returns
        -------
        F : ndarray of shape (n_spectra, n_wavelengths)
            Flux, in the precision of `X` (see Notes of the class).

        Raises
        ------
        NotFittedError
            If the emulator is not fitted.
        WavelengthMismatchError
            If a wavelength is outside the range of the emulator.

        Warns
        -----
        ExtrapolationWarning
            If rows of `X` are outside the training box, by more than the margin that
            its being known from a sample leaves.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        warn_outside(
            X,
            self.label_low_,
            self.label_high_,
            self.label_names_,
            n_training=self.n_training_ + self.n_held_out_,
        )
        if wavelength is not None:
            wavelength = check_query(wavelength, self.wavelength_)
        return self._predict(X, wavelength)

    def score(self, X, y, sample_weight=None):
        """R² of all flux values together.

        The mean R² of single wavelengths, scikit-learn's default, is ruled by
        continuum pixels that hardly vary; here each wavelength counts by its variance.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels)
            Stellar parameters P.
        y : array-like of shape (n_spectra, n_wavelengths)
            True flux.
        sample_weight : array-like of shape (n_spectra,), default=None
            Weights of the spectra.

        Returns
        -------
        score : float
            1 is perfect, 0 is as good as the mean spectrum.
        """
        return r2_score(
            y,
            self.predict(X),
            sample_weight=sample_weight,
            multioutput="variance_weighted",
        )

    def to_spectra(self, X, *, wavelength=None):
        """Flux of stars as a specutils spectrum.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels)
            Stellar parameters P.
        wavelength : array-like of shape (n,), default=None
            As in :meth:`predict`.

        Returns
        -------
        spectra : specutils.Spectrum
            Dimensionless flux of shape (n_spectra, n_wavelengths) on one spectral
            axis in Å, with ``meta["medium"]``.

        Raises
        ------
        ValueError
            If the emulator knows no wavelengths.
        """
        check_is_fitted(self)
        if self.wavelength_ is None:
            raise ValueError(
                "`to_spectra` needs wavelengths, but the emulator was trained without; "
                "pass `wavelength=` and `medium=` to SpectrumEmulator."
            )
        flux = self.predict(X, wavelength=wavelength)
        grid = self.wavelength_ if wavelength is None else np.asarray(wavelength)
        return to_spectrum(flux, grid, self.medium_)

    def to_torch(self, *, dtype=torch.float32, device=None):
        """Give the emulator as a differentiable torch module.

        Parameters
        ----------
        dtype : torch.dtype, default=torch.float32
            Precision.
        device : str or torch.device, default=None
            If None, where the emulator is.

        Returns
        -------
        module : TorchEmulator
            An independent copy without gradients on its weights:
            ``module(P, wavelength=None)`` is the flux, differentiable in both.

        Examples
        --------
        >>> import torch
        >>> from sk_payne import SpectrumEmulator
        >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
        >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
        >>> P = torch.tensor([[0.3]], requires_grad=True)
        >>> emulator.to_torch()(P).sum().backward()
        >>> P.grad.shape
        torch.Size([1, 1])
        """
        check_is_fitted(self)
        module = copy.deepcopy(self._module)
        return module.to(device=device or self.device_, dtype=dtype)

    def save(self, path, *, provenance=None):
        """Write the emulator to a file that :func:`sk_payne.load` reads.

        Parameters
        ----------
        path : str or path-like
            A safetensors file: tensors, and JSON in its header. Replaced if it
            exists, once the new one is complete.
        provenance : dict, default=None
            What a stranger should know of the training grid; plain values. The date
            and the versions of the libraries are added.

        Raises
        ------
        NotFittedError
            If the emulator is not fitted.
        """
        check_is_fitted(self)
        save_emulator(self, path, provenance)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = False
        tags.target_tags.two_d_labels = True
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_module")

    def __getstate__(self):
        """Weights as plain arrays; neither optimiser nor device."""
        state = dict(super().__getstate__())
        state.pop("net_", None)
        if state.pop("_module", None) is not None:
            state["_network_state"] = self._network_state()
            state["device_"] = "cpu"
        return state

    def __setstate__(self, state):
        network_state = state.pop("_network_state", None)
        super().__setstate__(state)
        if network_state is not None:
            self._module = rebuild(
                self.arch,
                self.arch_params_,
                self._scaling,
                self.wavelength_,
                log_grid(self.wavelength_, self.n_outputs_),
                network_state,
            )

    def _validate(self, X, y):
        X, y = validate_data(
            self,
            X,
            y,
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=2,
            dtype=(np.float64, np.float32),
        )
        check_flux(y)
        if y.dtype not in (np.float32, np.float64):
            y = y.astype(np.float64)
        self.n_outputs_ = y.shape[1]
        self.wavelength_, self.medium_ = check_grid(
            self.wavelength, self.medium, y.shape[1]
        )
        columns = getattr(self, "feature_names_in_", None)
        self.label_names_ = resolve_label_names(self.label_names, columns, X.shape[1])
        self.label_units_ = resolve_label_units(self.label_units, self.label_names_)
        return X, y

    def _train(self, X, y, held_out, seed):
        self._module, self.arch_params_, self.net_ = train_network(
            self.arch,
            self.arch_params,
            X,
            y,
            held_out,
            scaling=self._scaling,
            wavelength=self.wavelength_,
            recipe=self.recipe_,
            seed=seed,
            device=self.device_,
            callbacks=list(self.callbacks or []),
            verbose=self.verbose,
        )
        self.history_, self.n_steps_ = read_history(self.net_)
        unfinished = self.n_steps_ < self.recipe_.max_steps
        if unfinished and not has_stopped_early(self.net_):
            warnings.warn(
                f"Training was stopped after {self.n_steps_} of "
                f"{self.recipe_.max_steps} steps; the emulator is less accurate than "
                "it could be.",
                TrainingInterruptedWarning,
                stacklevel=3,
            )

    def _measure_held_out(self, labels, y, rows):
        self.held_out_mae_ = self.held_out_rms_ = None
        if not len(rows):
            return
        absolute = np.zeros(y.shape[1])
        square = np.zeros(y.shape[1])
        for block in row_blocks(len(rows), y.shape[1]):
            predicted = self._predict(labels[block].astype(np.float32), None)
            error = predicted - y[rows[block]].astype(np.float64)
            absolute += np.abs(error).sum(axis=0)
            square += (error**2).sum(axis=0)
        self.held_out_mae_ = absolute / len(rows)
        self.held_out_rms_ = np.sqrt(square / len(rows))

    @torch.inference_mode()
    def _predict(self, X, wavelength):
        single = X.dtype == np.float32 or self.device_ != "cpu"
        module = self._module if single else double_twin(self._module)
        if wavelength is None:
            n_wavelengths = len(module.log_wavelength)
        else:
            wavelength = torch.from_numpy(wavelength).to(self.device_)
            n_wavelengths = len(wavelength)
        blocks = row_blocks(len(X), n_wavelengths)

        def flux_of(rows):
            # a copy, as tensors may not share read-only memory
            labels = torch.tensor(X[rows], device=self.device_)
            return module(labels, wavelength).cpu().numpy()

        blocks = row_blocks(len(X), n_wavelengths)
        if len(blocks) == 1:
            # copying would cost as much as a small network
            return flux_of(blocks[0]).astype(X.dtype, copy=False)
        flux = np.empty((len(X), n_wavelengths), X.dtype)
        for rows in blocks:
            flux[rows] = flux_of(rows)
        return flux

    def _network_state(self):
        state = self._module.network.state_dict()
        return {name: tensor.cpu().numpy().copy() for name, tensor in state.items()}
