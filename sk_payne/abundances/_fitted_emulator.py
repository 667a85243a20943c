"""Emulator as the fit uses it: box of labels, names, grid of wavelengths, flux.

Emulators of sk_payne and any other regressor are inverted by the same code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from sk_payne.spectra import grid_segments

__all__ = [
    "FittedEmulator",
    "TrainingRecord",
    "as_fitted_emulator",
    "emulator_of",
    "fitted_emulator_of",
    "is_fitted",
]


# Smallest number of pixels of a block of the grid. Emulators of less than two blocks
# are always evaluated at all wavelengths.
_BLOCK = 1024

# Pixels beyond which the ends of the grid do not change a spline.
_MARGIN = 50


@dataclass
class TrainingRecord:
    """Training box, names and wavelengths, for emulators that do not keep them.

    Attributes
    ----------
    box : ndarray of shape (n_labels, 2)
        Smallest and largest value of each label.
    label_names, label_units : list of str or None
        Names and units of the labels.
    wavelength : ndarray of shape (n_pixels,) or None
        Wavelengths in Å.
    medium : str or None
        Medium of the wavelengths.
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
    """Properties of an emulator that the fit needs.

    Attributes
    ----------
    center, half_width : ndarray of shape (n_labels,)
        Labels are ``center + half_width * parameters``.
    low, high : ndarray of shape (n_labels,)
        Bounds of the labels, in their units.
    label_names, label_units : list of str
        Names and units of the labels.
    n_pixels : int
        Number of wavelengths of the emulator.
    wavelength : ndarray of shape (n_pixels,) or None
        Wavelengths in Å; None if the emulator cannot be evaluated at others.
    medium : str or None
        Medium of `wavelength`.
    pixels : ndarray of shape (n_pixels,) or None
        Wavelengths in Å of an emulator that cannot be evaluated at others, if known.
    pixels_medium : str or None
        Medium of `pixels`.
    resolving_power : float, ndarray of shape (n_pixels,) or None
        Resolving power of the training spectra.
    error_model : ErrorModel or None
        1 sigma error of the flux; None if unknown.
    label_errors : LabelErrors or None
        Errors of fitted labels due to it; None if unknown.
    fraction : float
        Fraction of the wavelengths of the training that it has, below 1 for a part.
    estimator : estimator
        The emulator itself.
    source : TorchEmulator or estimator
        Module or estimator that computes flux.
    single : TorchEmulator or None
        Module in single precision for derivatives; None for other estimators.
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
    fraction: float
    estimator: Any
    source: Any
    single: Any

    @property
    def device(self):
        """Device of all computations."""
        if isinstance(self.source, torch.nn.Module):
            return self.source.label_center.device
        return torch.device("cpu")

    @property
    def dtype(self):
        """Precision of flux: float64 wherever it is fast enough."""
        return torch.float64 if self.device.type == "cpu" else torch.float32

    def pixels_of(self, lowest, highest):
        """Find a part of the grid that has all that a range of wavelengths needs.

        Parts consist of blocks of the grid, so that spectra of about the same range
        have the same part. A grid with gaps is one block: what counts as a gap depends
        on the steps of all of it.

        Parameters
        ----------
        lowest, highest : float
            Range of rest wavelengths in Å.

        Returns
        -------
        first, end : tuple of int
            First pixel of the part, and the first after it.
        """
        edges = self._block_edges
        first, last = np.searchsorted(self.wavelength, (lowest, highest))
        first, last = first - _MARGIN, last + _MARGIN
        start = np.searchsorted(edges, first, side="right") - 1
        end = np.searchsorted(edges, last)
        return int(edges[max(start, 0)]), int(edges[min(end, len(edges) - 1)])

    @cached_property
    def _block_edges(self):
        """First pixel of each block of the grid, and the number of pixels."""
        n_blocks = max(1, self.n_pixels // _BLOCK)
        if n_blocks > 1 and len(grid_segments(self.wavelength)) > 1:
            n_blocks = 1
        return np.linspace(0, self.n_pixels, n_blocks + 1).astype(int)

    def slice_grid(self, first, end):
        """Return the emulator of a part of its wavelengths.

        Parameters
        ----------
        first, end : int
            First pixel of the part, and the first after it.

        Returns
        -------
        part : FittedEmulator
            Emulator that computes no other wavelengths; itself for all of them.
        """
        if end - first == self.n_pixels:
            return self
        pixels, power = slice(first, end), self.resolving_power
        model = self.error_model
        return replace(
            self,
            n_pixels=end - first,
            wavelength=self.wavelength[pixels],
            resolving_power=power[pixels] if np.ndim(power) else power,
            error_model=None if model is None else model.slice_grid(pixels),
            fraction=self.fraction * (end - first) / self.n_pixels,
            source=self.source.slice_grid(pixels),
            single=self.single.slice_grid(pixels),
        )

    @cached_property
    def template_flux(self):
        """Model spectra throughout the box of labels, Tensor of shape (M, n_pixels)."""
        return template_flux(self)


def fitted_emulator_of(regressor):
    """Return the emulator of a regressor as the fit uses it, with its bounds.

    Parameters
    ----------
    regressor : AbundanceRegressor
        Fitted, or around a fitted emulator.

    Returns
    -------
    fitted : FittedEmulator
        Properties of the emulator.

    Examples
    --------
    >>> from sk_payne import AbundanceRegressor, Observation, load
    >>> from sk_payne.abundances import fitted_emulator_of
    >>> emulator = load("dwarfs-4500-4600")
    >>> fitted = fitted_emulator_of(AbundanceRegressor(emulator))
    >>> list(fitted.label_names)[:2]
    ['teff', 'logg']
    """
    trained = getattr(regressor, "_trained", None)
    return as_fitted_emulator(emulator_of(regressor), regressor.bounds, trained=trained)


def emulator_of(regressor):
    """Return the emulator that a regressor measures with.

    Parameters
    ----------
    regressor : AbundanceRegressor
        Fitted, or around a fitted emulator.

    Returns
    -------
    emulator : estimator
        `emulator_` of a fitted regressor, `emulator` otherwise.

    Examples
    --------
    >>> from sk_payne import AbundanceRegressor, load
    >>> from sk_payne.abundances import emulator_of
    >>> emulator = load("dwarfs-4500-4600")
    >>> emulator_of(AbundanceRegressor(emulator)) is emulator
    True
    """
    return getattr(regressor, "emulator_", regressor.emulator)


def as_fitted_emulator(emulator, bounds=None, *, trained=None):
    """Collect the properties of any fitted emulator that the fit needs.

    Parameters
    ----------
    emulator : estimator
        Fitted; a `FrozenEstimator` and the search for the best parameters are opened.
    bounds : array-like of shape (n_labels, 2) or mapping, default=None
        Smallest and largest values of all labels or of the named ones; the training
        box if None.
    trained : TrainingRecord, default=None
        Properties of the training that the emulator does not keep.

    Returns
    -------
    fitted : FittedEmulator
        Properties of the emulator.

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
    is_ours = hasattr(emulator, "to_torch")
    trained_box = None if trained is None else trained.box
    if hasattr(emulator, "label_low_"):
        trained_box = np.stack([emulator.label_low_, emulator.label_high_], axis=1)
    by_name = isinstance(bounds, Mapping) or is_table(bounds)
    box = trained_box if bounds is None or by_name else bounds
    if box is None:
        raise ValueError(
            f"`bounds` must be given: {type(emulator).__name__} does not know the "
            "range of its labels. Pass an array of shape (n_labels, 2)."
        )
    n_labels = getattr(emulator, "n_features_in_", len(box))
    names = _label_metadata(emulator, trained, "label_names", n_labels)
    if names is None:
        names = [f"label_{i}" for i in range(n_labels)]
    units = (
        _label_metadata(emulator, trained, "label_units", n_labels) or [""] * n_labels
    )
    low, high = label_bounds(bounds, trained_box, names, units)
    if is_ours:
        # the fit needs a device with float64, for parameters and wavelengths
        device = float64_device(emulator.device_)
        source = single = emulator.to_torch(device=device)
        if device.type == "cpu":
            source = emulator.to_torch(dtype=torch.float64, device=device)
        # rounded like those of the module
        center = source.label_center.double().cpu().numpy()
        half_width = source.label_half_width.double().cpu().numpy()
        n_pixels = emulator.n_outputs_
    else:
        source, single = emulator, None
        center = (high + low) / 2
        half_width = np.where(high > low, (high - low) / 2, 1.0)
        n_pixels = np.size(emulator.predict(center[None]))
    held_out = emulator.trained_.held_out if is_ours else None
    wavelength = emulator.wavelength_ if is_ours else None
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
        medium=emulator.medium_ if is_ours else None,
        pixels=pixels[0],
        pixels_medium=pixels[1],
        resolving_power=emulator.resolving_power_ if is_ours else None,
        error_model=None if held_out is None else held_out.model,
        label_errors=None if held_out is None else held_out.label_errors,
        fraction=1.0,
        estimator=emulator,
        source=source,
        single=single,
    )


def _opened(emulator):
    """Return the emulator inside frozen estimators and searches for parameters."""
    while True:
        if isinstance(emulator, FrozenEstimator):
            emulator = emulator.estimator
        elif hasattr(emulator, "best_estimator_"):
            emulator = emulator.best_estimator_
        else:
            return emulator


def _label_metadata(emulator, trained, name, n_labels):
    """Names or units of labels from the emulator or its training; None if unknown."""
    for values in (getattr(emulator, f"{name}_", None), getattr(trained, name, None)):
        if values is not None and len(values) == n_labels:
            return list(values)
    return None


def _pixels(emulator, trained, n_pixels):
    """Wavelengths and medium of the flux of an emulator; None if unknown."""
    candidates = [
        (getattr(trained, "wavelength", None), getattr(trained, "medium", None))
    ]
    inner = emulator
    while inner is not None:
        wavelength = getattr(inner, "wavelength_", None)
        candidates.append((wavelength, getattr(inner, "medium_", None)))
        inner = _inside(inner)
    for wavelength, medium in candidates:
        if wavelength is not None and len(wavelength) == n_pixels:
            return wavelength, medium
    return None, None


def _inside(emulator):
    """Return the estimator inside a pipeline or another estimator, or None."""
    inner = _opened(emulator)
    if inner is not emulator:
        return inner
    if hasattr(emulator, "steps"):
        return emulator.steps[-1][1]
    return getattr(emulator, "regressor_", None)


def is_fitted(estimator):
    """Check whether an estimator is fitted."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True
