"""An emulator as the fit sees it: a box of labels, names, a grid, and a flux.

It is here so that our emulators and any other regressor are inverted by one code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from sk_payne.abundances._label_bounds import label_bounds
from sk_payne.abundances._starts import template_flux
from sk_payne.inputs import is_table
from sk_payne.networks import float64_device

__all__ = [
    "FittedEmulator",
    "TrainingRecord",
    "as_fitted_emulator",
    "fitted_emulator_of",
    "is_fitted",
]


@dataclass
class TrainingRecord:
    """What a regressor saw in training, for emulators that do not keep it.

    Attributes
    ----------
    box : ndarray of shape (n_labels, 2)
        Smallest and largest value of each label.
    label_names, label_units : list of str or None
        Of the labels.
    wavelength : ndarray of shape (n_pixels,) or None
        In Å.
    medium : str or None
        Of the wavelengths.
    """

    box: np.ndarray
    label_names: list | None = None
    label_units: list | None = None
    wavelength: np.ndarray | None = None
    medium: str | None = None

    @classmethod
    def of(cls, table, spectra):
        """Record training labels and spectra.

        Parameters
        ----------
        table : LabelTable
            Labels of n spectra.
        spectra : SpectrumSet
            The spectra.

        Returns
        -------
        record : TrainingRecord
            The record.
        """
        labels = table.values.reshape(len(table.values), -1)
        box = np.stack([labels.min(axis=0), labels.max(axis=0)], axis=1)
        return cls(box, table.names, table.units, spectra.wavelength, spectra.medium)


@dataclass
class FittedEmulator:
    """What the fit needs to know of an emulator.

    Attributes
    ----------
    center, half_width : ndarray of shape (n_labels,)
        Labels are ``center + half_width * parameters``.
    low, high : ndarray of shape (n_labels,)
        Bounds of the labels, in their units.
    label_names, label_units : list of str
        Of the labels.
    n_pixels : int
        Wavelengths of the emulator.
    wavelength : ndarray of shape (n_pixels,) or None
        In Å; None if the emulator cannot be evaluated at others.
    medium : str or None
        Of the wavelengths.
    pixels : ndarray of shape (n_pixels,) or None
        Wavelengths in Å of an emulator that cannot be evaluated at others, if known.
    pixels_medium : str or None
        Of these.
    resolving_power : float, ndarray of shape (n_pixels,) or None
        Of the spectra it was trained on.
    error_model : ErrorModel or None
        1 sigma error of the flux; None if it is not known.
    label_errors : LabelErrors or None
        What this error makes of fitted labels; None if it is not known.
    estimator : estimator
        The emulator itself.
    source : TorchEmulator or estimator
        What gives flux.
    single : TorchEmulator or None
        What gives derivatives, in single precision; None for other estimators.
    """

    center: np.ndarray
    half_width: np.ndarray
    low: np.ndarray
    high: np.ndarray
    label_names: list
    label_units: list
    n_pixels: int
    wavelength: np.ndarray | None
    medium: str | None
    pixels: np.ndarray | None
    pixels_medium: str | None
    resolving_power: float | None
    error_model: Any
    label_errors: Any
    estimator: Any
    source: Any
    single: Any

    @property
    def device(self):
        """Where to compute."""
        if isinstance(self.source, torch.nn.Module):
            return self.source.label_center.device
        return torch.device("cpu")

    @property
    def dtype(self):
        """Precision of flux: float64 wherever it is fast enough."""
        return torch.float64 if self.device.type == "cpu" else torch.float32

    @cached_property
    def template_flux(self):
        """Model spectra of labels all over the box, a Tensor of shape (M, n_pixels)."""
        return template_flux(self)


def fitted_emulator_of(regressor):
    """Look at the fitted emulator of a regressor, within its bounds.

    Parameters
    ----------
    regressor : AbundanceRegressor
        Fitted, or around a fitted emulator.

    Returns
    -------
    fitted : FittedEmulator
        The view.

    Examples
    --------
    >>> from sk_payne import AbundanceRegressor, Observation, load
    >>> from sk_payne.abundances import fitted_emulator_of
    >>> emulator = load("dwarfs-4500-4600")
    >>> fitted = fitted_emulator_of(AbundanceRegressor(emulator))
    >>> list(fitted.label_names)[:2]
    ['teff', 'logg']
    """
    emulator = getattr(regressor, "emulator_", regressor.emulator)
    trained = getattr(regressor, "_trained", None)
    return as_fitted_emulator(emulator, regressor.bounds, trained=trained)


def as_fitted_emulator(emulator, bounds=None, *, trained=None):
    """Look at a fitted emulator, ours or another, the way the fit does.

    Parameters
    ----------
    emulator : estimator
        Fitted; a `FrozenEstimator` and the search for the best parameters are opened.
    bounds : array-like of shape (n_labels, 2) or mapping, default=None
        Smallest and largest label values, of all labels or of those that are named.
        If None, those the emulator knows.
    trained : TrainingRecord, default=None
        What stands for what the emulator does not know of its training.

    Returns
    -------
    fitted : FittedEmulator
        The view.

    Raises
    ------
    ValueError
        If bounds are needed but not given, or are of another shape or order.

    Warns
    -----
    ExtrapolationWarning
        If bounds lie far outside the range that the emulator was trained on.
    """
    emulator = _opened(emulator)
    own = hasattr(emulator, "to_torch")
    known = None if trained is None else trained.box
    if hasattr(emulator, "label_low_"):
        known = np.stack([emulator.label_low_, emulator.label_high_], axis=1)
    by_name = isinstance(bounds, Mapping) or is_table(bounds)
    every = known if bounds is None or by_name else bounds
    if every is None:
        raise ValueError(
            f"`bounds` must be given: {type(emulator).__name__} does not know the "
            "range of its labels. Pass an array of shape (n_labels, 2)."
        )
    n_labels = getattr(emulator, "n_features_in_", len(every))
    names = _told(emulator, trained, "label_names", n_labels)
    if names is None:
        names = [f"label_{i}" for i in range(n_labels)]
    units = _told(emulator, trained, "label_units", n_labels) or [""] * n_labels
    low, high = label_bounds(bounds, known, names, units)
    if own:
        # parameters and wavelengths of the fit are in float64, so the rest joins them
        device = float64_device(emulator.device_)
        source = single = emulator.to_torch(device=device)
        if device.type == "cpu":
            source = emulator.to_torch(dtype=torch.float64, device=device)
        # as the module itself rounds them
        center = source.label_center.double().cpu().numpy()
        half_width = source.label_half_width.double().cpu().numpy()
        n_pixels = emulator.n_outputs_
    else:
        source, single = emulator, None
        center = (high + low) / 2
        half_width = np.where(high > low, (high - low) / 2, 1.0)
        n_pixels = np.size(emulator.predict(center[None]))
    held_out = emulator.trained_.held_out if own else None
    wavelength = emulator.wavelength_ if own else None
    pixels = None, None
    if wavelength is None:
        pixels = _pixels(emulator, trained, n_pixels)
    return FittedEmulator(
        center=center,
        half_width=half_width,
        low=low,
        high=high,
        label_names=names,
        label_units=units,
        n_pixels=n_pixels,
        wavelength=wavelength,
        medium=emulator.medium_ if own else None,
        pixels=pixels[0],
        pixels_medium=pixels[1],
        resolving_power=emulator.resolving_power_ if own else None,
        error_model=None if held_out is None else held_out.model,
        label_errors=None if held_out is None else held_out.label_errors,
        estimator=emulator,
        source=source,
        single=single,
    )


def _opened(emulator):
    """Return the emulator inside of what predicts with it unchanged."""
    while True:
        if isinstance(emulator, FrozenEstimator):
            emulator = emulator.estimator
        elif hasattr(emulator, "best_estimator_"):
            emulator = emulator.best_estimator_
        else:
            return emulator


def _told(emulator, trained, name, n_labels):
    """Names or units of the labels, as the emulator or its training tells them."""
    for values in (getattr(emulator, f"{name}_", None), getattr(trained, name, None)):
        if values is not None and len(values) == n_labels:
            return list(values)
    return None


def _pixels(emulator, trained, n_pixels):
    """Wavelengths and medium of what an emulator gives, as far as they are known."""
    found = [(getattr(trained, "wavelength", None), getattr(trained, "medium", None))]
    inner = emulator
    while inner is not None:
        wavelength = getattr(inner, "wavelength_", None)
        found.append((wavelength, getattr(inner, "medium_", None)))
        inner = _inside(inner)
    for wavelength, medium in found:
        if wavelength is not None and len(wavelength) == n_pixels:
            return wavelength, medium
    return None, None


def _inside(emulator):
    """Return what gives flux inside of a pipeline or another estimator, or None."""
    inner = _opened(emulator)
    if inner is not emulator:
        return inner
    if hasattr(emulator, "steps"):
        return emulator.steps[-1][1]
    return getattr(emulator, "regressor_", None)


def is_fitted(estimator):
    """Tell whether an estimator is fitted."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True
