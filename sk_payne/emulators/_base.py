"""What every emulator of spectra does, however it was trained.

It is here as the door to every network: it validates, scales, trains and predicts.
"""

import copy
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from sk_payne.emulators._device import resolve_device
from sk_payne.emulators._domain import CATEGORIES, Domain, warn_outside
from sk_payne.emulators._errors import ErrorModel, error_by_quartile
from sk_payne.emulators._flux import StreamedFlux, is_streamed, row_blocks
from sk_payne.emulators._grid import (
    check_flux,
    check_query,
    log_grid,
    name_bad_rows,
)
from sk_payne.emulators._held_out import choose_held_out, measure_held_out
from sk_payne.emulators._processes import check_agreement, from_first, is_first
from sk_payne.emulators._saving import arch_name, save_emulator
from sk_payne.emulators._scores import r2_in_blocks
from sk_payne.emulators._source import describe, open_source
from sk_payne.emulators._state import check_same, fingerprint, read_state, to_cpu
from sk_payne.emulators._torch import double_twin, rebuild
from sk_payne.emulators._training import read_history, train_network
from sk_payne.exceptions import TrainingInterruptedWarning
from sk_payne.networks import fast_products
from sk_payne.spectra import to_spectrum


class BaseEmulator(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Stellar parameters P to flux F: all but where the training starts from.

    A subclass has a constructor and a method ``_plan(X, y, description)``, which sets
    `wavelength_`, `medium_`, `label_names_`, `label_units_`, `arch_`, `arch_params_`,
    `recipe_`, `provenance_` and `_scaling`. It returns a function from number of labels
    and log10 of the wavelengths to the network to train, and all options of that; and
    labels and flux of all spectra to train on, of which the given ones come first.
    """

    def fit(self, X, y=None):
        """Train the emulator.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels), or StoredGrid
            Stellar parameters P; or a grid that :func:`sk_payne.grids.open_grid`
            opened, which knows the flux, the wavelengths and the labels, too.
        y : array-like of shape (n_spectra, n_wavelengths)
            Flux F, normalised or not; float32 is neither copied nor converted. A
            `numpy.memmap`, the `target` of a stored grid, a
            :class:`sk_payne.grids.RowView` and arrays of h5py or Zarr stay on disk:
            batches are read while the network is trained.

        Returns
        -------
        self : estimator
            Fitted.

        Raises
        ------
        ValueError
            If shapes do not fit, values are not finite, there are fewer than two
            spectra, a constructor argument is not allowed or contradicts the grid,
            training diverges, or the checkpoint is of another training.

        Warns
        -----
        TrainingInterruptedWarning
            If training was stopped by Ctrl-C; :meth:`partial_fit` goes on.
        """
        X, y, grid = open_source(X, y)
        X, y = self._validate(X, y, reset=True)
        plan = self._plan(X, y, describe(self, grid))
        identity = self._identify(X, y)
        start = from_first(lambda: self._begin(len(X)))
        if "network" in start:
            check_same(start, identity, f"the training in '{self.checkpoint}'")
        return self._train(*plan, X, y, start | identity)

    def partial_fit(self, X, y=None):
        """Go on with a training that was interrupted, as if it had not been.

        On a CPU, the result is the same to the last bit. Callbacks of your own start
        anew; early stopping goes on. An emulator that is not fitted is fitted; one
        whose training is finished stays as it is.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels), or StoredGrid
            The same stellar parameters, or the same grid.
        y : array-like of shape (n_spectra, n_wavelengths)
            The same flux.

        Returns
        -------
        self : estimator
            Fitted.

        Raises
        ------
        ValueError
            If spectra, recipe or network are not those of the training before.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(X, y)
        kept = dict(vars(self))
        try:
            X, y, grid = open_source(X, y)
            X, y = self._validate(X, y, reset=False)
            if self._training is None:
                raise ValueError(
                    "`partial_fit` goes on with an interrupted training, but a loaded "
                    "emulator knows of none. Use FineTunedEmulator to train on, or "
                    "`fit` to start again."
                )
            plan = self._plan(X, y, describe(self, grid))
            interrupted = "network" in self._training
            what = "interrupted" if interrupted else "finished"
            check_same(self._training, self._identify(X, y), f"the {what} training")
        except Exception:
            # the emulator predicts as before, so it must describe itself as before
            vars(self).clear()
            vars(self).update(kept)
            raise
        if not interrupted:
            vars(self).update(kept)
            return self
        return self._train(*plan, X, y, self._training)

    def predict(self, X, *, wavelength=None, return_std=False):
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
        return_std : bool, default=False
            Whether to return the error of the flux, too.

        Returns
        -------
        F : ndarray of shape (n_spectra, n_wavelengths)
            Flux, in the precision of `X` (see Notes of the class).
        std : ndarray of shape (n_spectra, n_wavelengths)
            Only if `return_std`: what 68 % of the errors of the flux lie within. It
            was learned from the held-out spectra, as an error of each wavelength
            times a factor of each star, which grows towards the edges of the box and
            wherever else spectra are hard to emulate.

        Raises
        ------
        NotFittedError
            If the emulator is not fitted.
        ValueError
            If `return_std` and no spectra were held out.
        WavelengthMismatchError
            If a wavelength is outside the range of the emulator.

        Warns
        -----
        ExtrapolationWarning
            If rows of `X` are outside the domain, see :meth:`domain`.
        """
        X = self._check_labels(X)
        if return_std and self._errors is None:
            raise ValueError(
                "`return_std` must be False for an emulator that was trained with "
                "`validation_fraction`=0 or on too few spectra: it does not know its "
                "error. Hold some spectra out."
            )
        warn_outside(X, self._domain)
        if wavelength is not None:
            wavelength = check_query(wavelength, self.wavelength_)
        flux = self._predict(X, wavelength)
        if not return_std:
            return flux
        return flux, self._errors.std(X, self.wavelength_, wavelength)

    def domain(self, X):
        """Say whether stars are among those that the emulator was trained on.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels)
            Stellar parameters P.

        Returns
        -------
        category : ndarray of shape (n_spectra,), str
            - "inside": in the training box, and for each pair of labels near training
              spectra;
            - "edge": just beyond the outermost spectra, or at the rim of a corner of
              the box that holds none for some pair of labels;
            - "outside": farther out, or in such a corner. `predict` warns.

        Raises
        ------
        NotFittedError
            If the emulator is not fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_payne import SpectrumEmulator
        >>> from sk_payne.datasets import make_spectra
        >>> grid = make_spectra(1000, random_state=0)
        >>> seen = grid.data[:, 0] / 1000 + grid.data[:, 1] < 10  # no hot compact stars
        >>> emulator = SpectrumEmulator(arch="payne", max_steps=10, random_state=0)
        >>> emulator = emulator.fit(grid.data[seen], grid.target[seen])
        >>> P = [[5000, 4.4, 0, 0, 0], [5900, 4.9, 0, 0, 0], [5000, 6, 0, 0, 0]]
        >>> emulator.domain(P)
        array(['inside', 'outside', 'outside'], dtype='<U7')
        """
        return np.array(CATEGORIES)[self._domain.classify(self._check_labels(X))]

    def score(self, X, y, sample_weight=None):
        """R² of all flux values together.

        The mean R² of single wavelengths, scikit-learn's default, is ruled by
        continuum pixels that hardly vary; here each wavelength counts by its variance.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels)
            Stellar parameters P.
        y : array-like of shape (n_spectra, n_wavelengths)
            True flux. If it is on disk, it is read in blocks.
        sample_weight : array-like of shape (n_spectra,), default=None
            Weights of the spectra.

        Returns
        -------
        score : float
            1 is perfect, 0 is as good as the mean spectrum.
        """
        if is_streamed(y):
            labels = self._check_labels(X)
            warn_outside(labels, self._domain)
            return r2_in_blocks(
                lambda rows: self._predict(labels[rows], None), y, sample_weight
            )
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
        """Write the emulator to what :func:`sk_payne.load` reads.

        Parameters
        ----------
        path : str or path-like
            If it ends in ".safetensors", one file: tensors, and JSON in its header.
            Else a folder to share: that file, a model card (``README.md``), predictions
            that tell whether another machine predicts the same (``fingerprint.json``)
            and the SHA-256 of each (``SHA256SUMS``). What ``save`` wrote before is
            replaced, once the new one is complete.
        provenance : dict, default=None
            What a stranger should know of the training grid; plain values. The card
            shows all, and has places for "title", "description", "license",
            "citation" and "solar_scale". What a loaded emulator knows is kept, and
            the date and the versions of the libraries are added.

        Raises
        ------
        NotFittedError
            If the emulator is not fitted.
        TypeError
            If the provenance is not plain values.
        FileExistsError
            If the folder holds other files, or is a file.
        FileNotFoundError
            If `path` lies in no folder.
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
            state["_training"] = to_cpu(self._training)
            state["device_"] = "cpu"
        return state

    def __setstate__(self, state):
        network_state = state.pop("_network_state", None)
        super().__setstate__(state)
        if network_state is not None:
            self._module = rebuild(
                self.arch_,
                self.arch_params_,
                self._scaling,
                self.wavelength_,
                log_grid(self.wavelength_, self.n_outputs_),
                network_state,
            )

    def _check_labels(self, X):
        check_is_fitted(self)
        return validate_data(self, X, reset=False, dtype=(np.float64, np.float32))

    def _validate(self, X, y, *, reset):
        rules = {"ensure_min_samples": 2, "dtype": (np.float64, np.float32)}
        if is_streamed(y):
            X = validate_data(self, X, reset=reset, **rules)
            check_consistent_length(X, y)
            y = StreamedFlux(y)
        else:
            rules |= {"multi_output": True, "y_numeric": True}
            try:
                X, y = validate_data(self, X, y, reset=reset, **rules)
            except ValueError as error:
                name_bad_rows(y, error)
                raise
            check_flux(y)
            if y.dtype not in (np.float32, np.float64):
                y = y.astype(np.float64)
        self.n_outputs_ = y.shape[1]
        return X, y

    def _begin(self, n_spectra):
        """Read the checkpoint, or draw the seed and the held-out spectra."""
        if self.checkpoint is not None and Path(self.checkpoint).exists():
            return read_state(self.checkpoint)
        random_state = check_random_state(self.random_state)
        seed = int(random_state.randint(2**31 - 1))
        held_out = choose_held_out(
            n_spectra, self.validation_fraction, random_state, self.recipe_
        )
        return {"seed": seed, "held_out": held_out.tolist()}

    def _identify(self, X, y):
        """Tell this training from all others."""
        return {"spectra": fingerprint(X, y), "settings": self._settings()}

    def _settings(self):
        wavelength = () if self.wavelength_ is None else self.wavelength_
        return {
            "arch": arch_name(self.arch_),
            "arch_params": repr(self.arch_params_),
            "recipe": repr(self.recipe_),
            "wavelength": fingerprint(np.asarray(wavelength)),
        }

    def _train(self, build, spectra, X, y, start):
        """Train from a start: a seed and held-out rows, or a whole state."""
        self.device_ = resolve_device(self.device)
        self._domain = Domain.from_training(X, self.label_names_)
        self.label_low_, self.label_high_ = self._domain.low, self._domain.high
        identity = {name: start[name] for name in ("spectra", "settings")}
        check_agreement(identity)
        held_out = np.array(start["held_out"], dtype=np.int64)
        self.n_training_, self.n_held_out_ = len(X) - len(held_out), len(held_out)
        self._module, self.arch_params_, self.net_ = train_network(
            build,
            *spectra,
            start,
            scaling=self._scaling,
            wavelength=self.wavelength_,
            recipe=self.recipe_,
            device=self.device_,
            callbacks=list(self.callbacks or []),
            verbose=self.verbose,
            checkpoint=self.checkpoint,
        )
        self.history_, self.n_steps_ = read_history(self.net_), self.net_.n_steps
        self._measure_held_out(X[held_out], y, held_out)
        self._training = identity | {"n_steps": self.n_steps_}
        if self.net_.is_interrupted:
            self._training = self.net_.state_
            warnings.warn(
                f"Training was stopped after {self.n_steps_} of "
                f"{self.recipe_.max_steps} steps; the emulator is less accurate than "
                "it could be. `partial_fit` with the same spectra goes on.",
                TrainingInterruptedWarning,
                stacklevel=3,
            )
        elif self.checkpoint is not None and is_first():
            Path(self.checkpoint).unlink(missing_ok=True)
        return self

    def _measure_held_out(self, labels, y, rows):
        """Learn from the held-out spectra how large errors are."""
        self.held_out_mae_ = self.held_out_rms_ = self._errors = None
        self.held_out_label_edges_ = self.held_out_label_mae_ = None
        if len(rows):
            self.held_out_mae_, self.held_out_rms_, kept, residuals = measure_held_out(
                lambda labels: self._predict(labels, None), labels, y, rows
            )
            self._errors = ErrorModel.from_held_out(
                labels[kept], residuals, self.label_low_, self.label_high_
            )
            self.held_out_label_edges_, self.held_out_label_mae_ = error_by_quartile(
                labels[kept], residuals
            )

    @fast_products()
    @torch.inference_mode()
    def _predict(self, X, wavelength):
        single = X.dtype == np.float32 or self.device_ != "cpu"
        module = self._module if single else double_twin(self._module)
        if wavelength is None:
            n_wavelengths = len(module.log_wavelength)
        else:
            wavelength = torch.from_numpy(wavelength).to(self.device_)
            n_wavelengths = len(wavelength)

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
