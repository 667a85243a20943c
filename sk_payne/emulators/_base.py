"""BaseEmulator: training, prediction and scores of every emulator."""

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_payne.emulators._attributes import ConstructorParameters, FittedAttributes
from sk_payne.emulators._conversions import Conversions
from sk_payne.emulators._flux import is_streamed
from sk_payne.emulators._scores import r2_in_blocks
from sk_payne.emulators._training import begin, train
from sk_payne.emulators._training_set import read_training_set
from sk_payne.inputs import is_table, read_flux, read_labels
from sk_payne.trained import CATEGORIES, warn_outside

_FLOATS = (np.float64, np.float32)


class BaseEmulator(
    ConstructorParameters,
    FittedAttributes,
    Conversions,
    MultiOutputMixin,
    RegressorMixin,
    BaseEstimator,
):
    """Stellar parameters P to flux F.

    A subclass has a constructor and a method ``_plan(spectra)``, which returns the
    :class:`Plan` of a training on a :class:`TrainingSet`. The attribute `trained_`
    holds the result of the training; `fit` sets it once, at its end. Other fitted
    attributes are views of it.
    """

    def fit(self, X, y=None, *, uncertainty=None, mask=None):
        """Train the emulator.

        Parameters
        ----------
        X : array-like or table of shape (n_spectra, n_labels), or StoredGrid
            Stellar parameters P. Columns of a table (a DataFrame of pandas or polars,
            a Table or QTable of astropy, an xarray) are found by name if `label_names`
            are given, and converted to `label_units` if these are given. A grid that
            :func:`sk_payne.grids.open_grid` opened brings the flux, the wavelengths
            and the labels, too.
        y : array-like of shape (n_spectra, n_wavelengths)
            Flux F, normalised or not; float32 is neither copied nor converted. A
            `numpy.memmap`, the `target` of a stored grid, a
            :class:`sk_payne.grids.RowView` and arrays of h5py or Zarr stay on disk:
            batches are read while the network is trained. Masked values count as bad
            pixels.
        uncertainty : array-like of shape (n_spectra, n_wavelengths), default=None
            1 sigma error of the flux, in its unit. The residual of each pixel is
            divided by it in the loss. NaN and infinity mean a bad pixel.
        mask : array-like of shape (n_spectra, n_wavelengths), default=None
            True for bad pixels. They do not count in the training; their flux may have
            any value.

        Returns
        -------
        self : estimator
            Fitted. If `fit` fails, the estimator stays as it was.

        Raises
        ------
        ValueError
            If shapes do not fit, values are not finite, there are fewer than two
            spectra, a constructor argument is not allowed or contradicts the grid,
            training diverges, or the checkpoint belongs to another training.

        Warns
        -----
        TrainingInterruptedWarning
            If training was stopped by Ctrl-C; :meth:`partial_fit` continues it.
        """
        spectra = read_training_set(self, X, y, uncertainty, mask)
        plan = self._plan(spectra)
        return self._become(*train(plan, begin(plan, self), self))

    def partial_fit(self, X, y=None, *, uncertainty=None, mask=None):
        """Continue an interrupted training; the result is that of one training.

        On a CPU, the result is the same to the last bit. Callbacks of the user start
        again; early stopping continues. An emulator that is not fitted is fitted; a
        finished training is left as it is.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels), or StoredGrid
            The same stellar parameters, or the same grid.
        y : array-like of shape (n_spectra, n_wavelengths)
            The same flux.
        uncertainty, mask : array-like of shape (n_spectra, n_wavelengths), default=None
            The same uncertainty and mask.

        Returns
        -------
        self : estimator
            Fitted.

        Raises
        ------
        ValueError
            If spectra, recipe or network differ from those of the earlier training.
        """
        if not self.__sklearn_is_fitted__():
            return self.fit(X, y, uncertainty=uncertainty, mask=mask)
        state = self.trained_.training.state
        if state is None:
            raise ValueError(
                "`partial_fit` goes on with an interrupted training, but a loaded "
                "emulator knows of none. Use FineTunedEmulator to train on, or `fit` "
                "to start again."
            )
        spectra = read_training_set(self, X, y, uncertainty, mask)
        if spectra.labels.shape[1] != self.n_features_in_:
            # in the words of scikit-learn
            raise ValueError(
                f"X has {spectra.labels.shape[1]} features, but {type(self).__name__} "
                f"is expecting {self.n_features_in_} features as input. Pass the "
                "labels of the training before."
            )
        plan = self._plan(spectra)
        start = begin(plan, self, state)
        if "network" not in start:
            return self
        return self._become(*train(plan, start, self))

    def calibrate(self, X, y=None, *, uncertainty=None, mask=None):
        """Learn the errors of the emulator from spectra that it was not trained on.

        `fit` learns them from the spectra that it holds out. Call this method if fewer
        than ten were held out, if the emulator was trained elsewhere, or for stars
        unlike the held-out ones.

        Parameters
        ----------
        X : array-like or table of shape (n_spectra, n_labels), or StoredGrid
            Stellar parameters of at least ten spectra; a hundred or more show how
            errors depend on the star.
        y : array-like of shape (n_spectra, n_wavelengths)
            Flux.
        uncertainty, mask : array-like of shape (n_spectra, n_wavelengths), default=None
            As in :meth:`fit`.

        Returns
        -------
        self : estimator
            The emulator with new errors; it predicts the same flux.

        Raises
        ------
        NotFittedError
            If the emulator is not fitted.
        ValueError
            If there are fewer than ten spectra, or shapes do not fit.

        Examples
        --------
        >>> from sk_payne import SpectrumEmulator
        >>> from sk_payne.datasets import make_spectra
        >>> grid = make_spectra(120, random_state=0)
        >>> emulator = SpectrumEmulator(
        ...     arch="payne", validation_fraction=0, max_steps=50, random_state=0
        ... ).fit(grid.data[:80], grid.target[:80])
        >>> emulator = emulator.calibrate(grid.data[80:], grid.target[80:])
        >>> _, std = emulator.predict(grid.data[:1], return_std=True)
        >>> bool((std > 0).all())
        True
        """
        check_is_fitted(self)
        spectra = read_training_set(self, X, y, uncertainty, mask)
        trained = self.trained_.calibrated(spectra.labels, spectra.flux)
        return self._become(trained, vars(self).get("net_"))

    def _become(self, trained, net=None):
        """Set all fitted attributes at once."""
        vars(self).pop("net_", None)
        vars(self).update({"trained_": trained} | ({"net_": net} if net else {}))
        return self

    def predict(self, X, *, wavelength=None, return_std=False):
        """Flux of stars.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels)
            Stellar parameters P.
        wavelength : array-like of shape (n,), default=None
            Wavelengths in Å, in the medium of the emulator and within its range. If
            None, the training grid. A transformer is evaluated at any wavelength; flux
            of other networks is interpolated by the spline of
            :class:`sk_payne.spectra.GridInterpolator`.
        return_std : bool, default=False
            Whether to return the 1 sigma error of the flux, too.

        Returns
        -------
        F : ndarray of shape (n_spectra, n_wavelengths)
            Flux, in the precision of `X` (see Notes of the class).
        std : ndarray of shape (n_spectra, n_wavelengths)
            Only if `return_std`: 1 sigma error of the flux, learned from the held-out
            spectra. It is an error of each wavelength times a factor of each star; the
            factor grows towards the edges of the box and wherever spectra are hard to
            emulate.

        Raises
        ------
        NotFittedError
            If the emulator is not fitted.
        ValueError
            If `return_std` is True and no spectra were held out.
        WavelengthMismatchError
            If a wavelength is outside the range of the emulator.

        Warns
        -----
        ExtrapolationWarning
            If rows of `X` are outside the domain, see :meth:`domain`.
        """
        trained = self._trained()
        X = self._check_labels(X)
        if return_std:
            trained.require_errors()
        warn_outside(X, trained.domain)
        if wavelength is not None:
            wavelength = trained.description.check_query(wavelength)
        flux = trained.predict(X, wavelength)
        return (flux, trained.std(X, wavelength)) if return_std else flux

    def domain(self, X):
        """Classify stars as inside, at the edge of, or outside the training set.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels)
            Stellar parameters P.

        Returns
        -------
        category : ndarray of shape (n_spectra,), str
            - "inside": in the training box and, for each pair of labels, near training
              spectra;
            - "edge": just beyond the outermost spectra or, for some pair of labels, at
              the rim of an empty corner of the box;
            - "outside": farther out, or in an empty corner. `predict` warns.

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
        domain = self._trained().domain
        return np.array(CATEGORIES)[domain.classify(self._check_labels(X))]

    def score(self, X, y, sample_weight=None):
        """R² of all flux values together.

        Each wavelength is weighted by its variance. In the mean R² of single
        wavelengths, scikit-learn's default, continuum pixels that hardly vary dominate.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels)
            Stellar parameters P.
        y : array-like of shape (n_spectra, n_wavelengths)
            True flux. Flux on disk is read in blocks. Masked values do not count.
        sample_weight : array-like of shape (n_spectra,), default=None
            Weights of the spectra.

        Returns
        -------
        score : float
            1 is perfect, 0 is as good as the mean spectrum.
        """
        trained, mask = self._trained(), None
        if not is_streamed(y):
            given = read_flux(y, unit="")
            y, mask = given.values, given.mask
        if is_streamed(y) or mask is not None:
            labels = self._check_labels(X)
            warn_outside(labels, trained.domain)
            return r2_in_blocks(
                lambda rows: trained.predict(labels[rows]), y, sample_weight, mask
            )
        return r2_score(
            y,
            self.predict(X),
            sample_weight=sample_weight,
            multioutput="variance_weighted",
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = False
        tags.target_tags.two_d_labels = True
        return tags

    def __sklearn_is_fitted__(self):
        return "trained_" in vars(self)

    def __getstate__(self):
        """State for pickling, without the skorch net and its optimiser."""
        state = dict(super().__getstate__())
        state.pop("net_", None)
        return state

    def _trained(self):
        check_is_fitted(self)
        return self.trained_

    def _check_labels(self, X):
        """Labels as an array, in the order and the units of the training."""
        description = self._trained().description
        if _is_ready(X, description):
            return X
        table = read_labels(
            X, names=description.label_names, units=description.label_units
        )
        if is_table(X):
            return check_array(table.values, dtype=_FLOATS, estimator=self)
        return validate_data(self, table.values, reset=False, dtype=_FLOATS)


def _is_ready(X, description):
    """Fast check whether labels need no conversion and are valid."""
    return (
        type(X) is np.ndarray
        and X.dtype in _FLOATS
        and X.flags.c_contiguous
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == len(description.label_names)
        and not description.has_feature_names
        and bool(np.isfinite(X).all())
    )
