"""An emulator as the fit sees it: a box of labels, names, a grid, and a flux.

It is here so that our emulators and any other regressor are inverted by one code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator

from sk_payne.abundances._models import EmulatorModel, PredictModel
from sk_payne.exceptions import did_you_mean
from sk_payne.networks import float64_device

__all__ = ["Inverted", "as_inverted"]


@dataclass
class Inverted:
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
        In Å.
    medium : str or None
        Of the wavelengths.
    resolving_power : float or None
        Of the spectra it was trained on.
    error : ndarray of shape (n_pixels,) or None
        Held-out error of the flux at each wavelength.
    emulator : estimator
        Itself.
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
    resolving_power: float | None
    error: np.ndarray | None
    emulator: Any
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

    def model(
        self,
        wavelength=None,
        *,
        with_velocity=False,
        broadening=None,
        sampling=None,
        arm=None,
        n_offsets=0,
    ):
        """Flux as a function of parameters, for stars at their own wavelengths.

        Parameters
        ----------
        wavelength : Tensor of shape (B, P), float64, default=None
            In Å and in the medium of the emulator; None for its own grid.
        with_velocity : bool, default=False
            Whether velocity is the last parameter.
        broadening : Broadening, default=None
            What smears flux over wavelengths, which then must be given.
        sampling : Sampling, default=None
            How pixels see flux; None if they see points.
        arm : Tensor of shape (B, P), int64, default=None
            Arm of every pixel, if arms have velocity offsets.
        n_offsets : int, default=0
            Offsets of arms after the first.

        Returns
        -------
        model : EmulatorModel or PredictModel
            For `fit_least_squares`.
        """
        if isinstance(self.source, torch.nn.Module):
            return EmulatorModel(
                self.source,
                self.single,
                self.wavelength,
                wavelength,
                with_velocity,
                broadening,
                sampling,
                arm,
                n_offsets,
            )
        return PredictModel(self.source, self.center, self.half_width)


def as_inverted(emulator, bounds=None, *, training_box=None):
    """Look at a fitted emulator, ours or another, the way the fit does.

    Parameters
    ----------
    emulator : estimator
        Fitted; a `FrozenEstimator` is opened.
    bounds : array-like of shape (n_labels, 2) or mapping, default=None
        Smallest and largest label values, of all labels or of those that are named.
        If None, those the emulator knows.
    training_box : array-like of shape (n_labels, 2), default=None
        What stands for them if the emulator knows none.

    Returns
    -------
    inverted : Inverted
        The view.

    Raises
    ------
    ValueError
        If bounds are needed but not given, or are of another shape or order.
    """
    while isinstance(emulator, FrozenEstimator):
        emulator = emulator.estimator
    own = hasattr(emulator, "to_torch")
    low, high = _box(emulator, bounds, training_box)
    names = getattr(emulator, "label_names_", [f"label_{i}" for i in range(len(low))])
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
    return Inverted(
        center=center,
        half_width=half_width,
        low=low,
        high=high,
        label_names=list(names),
        label_units=list(getattr(emulator, "label_units_", [""] * len(low))),
        n_pixels=n_pixels,
        wavelength=emulator.wavelength_ if own else None,
        medium=emulator.medium_ if own else None,
        resolving_power=emulator.resolving_power_ if own else None,
        error=emulator.held_out_rms_ if own else None,
        emulator=emulator,
        source=source,
        single=single,
    )


def _box(emulator, bounds, training_box):
    known = training_box
    if hasattr(emulator, "label_low_"):
        known = np.stack([emulator.label_low_, emulator.label_high_], axis=1)
    if isinstance(bounds, Mapping):
        bounds = _named_bounds(emulator, bounds, known)
    bounds = known if bounds is None else bounds
    if bounds is None:
        raise ValueError(
            f"`bounds` must be given: {type(emulator).__name__} does not know the "
            "range of its labels. Pass an array of shape (n_labels, 2)."
        )
    bounds = np.array(bounds, dtype=np.float64)
    n_labels = getattr(emulator, "n_features_in_", len(bounds))
    good = bounds.shape == (n_labels, 2) and np.isfinite(bounds).all()
    if not good or (bounds[:, 0] > bounds[:, 1]).any():
        raise ValueError(
            f"`bounds` must have the shape ({n_labels}, 2), smallest and largest value "
            f"of each label, both finite; got {bounds.tolist()}."
        )
    return bounds[:, 0], bounds[:, 1]


def _named_bounds(emulator, named, known):
    """Replace the bounds of the labels that are named."""
    names = list(getattr(emulator, "label_names_", []))
    bounds = None if known is None else np.array(known, dtype=np.float64)
    for name, limits in named.items():
        if bounds is None or name not in names:
            raise ValueError(
                f"`bounds` must name labels of the emulator, {names}; got {name!r}."
                f"{did_you_mean(str(name), names)}"
            )
        if np.shape(limits) != (2,):
            raise ValueError(
                f"`bounds[{name!r}]` must be a smallest and a largest value; got "
                f"{limits!r}."
            )
        bounds[names.index(name)] = limits
    return bounds
