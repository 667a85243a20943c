"""Fitted emulators out of weights that are there already.

It is here for loading, and for networks that other codes have trained.
"""

import numpy as np
import torch

from sk_payne.emulators._domain import Domain
from sk_payne.emulators._emulator import SpectrumEmulator
from sk_payne.emulators._grid import check_grid, check_resolving_power, log_grid
from sk_payne.emulators._labels import resolve_label_names, resolve_label_units
from sk_payne.emulators._recipe import resolve_recipe
from sk_payne.emulators._scaling import Scaling
from sk_payne.emulators._torch import rebuild
from sk_payne.networks import build_network, resolve_network

__all__ = ["assemble", "from_weights"]


def from_weights(
    arch,
    weights,
    *,
    wavelength,
    medium,
    label_low,
    label_high,
    arch_params=None,
    label_names=None,
    label_units=None,
    label_center=None,
    label_half_width=None,
    flux_offset=0.0,
    flux_scale=1.0,
    resolving_power=None,
    provenance=None,
):
    """Make a fitted emulator of a network that was trained elsewhere.

    The network is given ``(P - label_center) / label_half_width``, and the flux is
    ``flux_offset + flux_scale * output``.

    Parameters
    ----------
    arch : str or type
        As in :class:`SpectrumEmulator`.
    weights : dict of str to array-like
        What the ``state_dict`` of the network is to be.
    wavelength : array-like of shape (n_wavelengths,)
        Å, increasing.
    medium : {"air", "vacuum"}
        What `wavelength` is measured in.
    label_low, label_high : array-like of shape (n_labels,)
        Box of the labels that the network was trained on; beyond it, `predict` warns.
    arch_params : dict, default=None
        Options of the architecture.
    label_names : sequence of str, default=None
        Names of the labels; if None, "label_0" ...
    label_units : sequence of str or dict, default=None
        Their astropy units.
    label_center, label_half_width : array-like of shape (n_labels,), default=None
        Scale of the labels; if None, that of the box, which becomes -1 to 1.
    flux_offset : float or array-like of shape (n_wavelengths,), default=0.0
        Of the flux, also for each wavelength unless the network takes wavelengths.
    flux_scale : float, default=1.0
        Of the flux.
    resolving_power : float, default=None
        Of the training spectra.
    provenance : dict, default=None
        What is known of the training; it becomes `provenance_`.

    Returns
    -------
    emulator : SpectrumEmulator
        Fitted, on the CPU, in single precision. It knows of no training spectra, so
        that `held_out_mae_` is None and `n_training_` is 0.

    Raises
    ------
    ValueError
        If shapes do not fit each other or the architecture, or a value is not finite.

    See Also
    --------
    sk_payne.exchange.read_the_payne : Reads a network of The_Payne.

    Examples
    --------
    >>> from sk_payne.emulators import from_weights
    >>> emulator = from_weights(
    ...     "cannon",
    ...     {"polynomial.weight": [[-0.1, 0.0], [-0.2, 0.1]],
    ...      "polynomial.bias": [1.0, 0.5]},
    ...     wavelength=[4500.0, 4501.0], medium="air",
    ...     label_low=[4000.0], label_high=[6000.0], label_names=["teff"],
    ... )
    >>> emulator.predict([[5000.0], [6000.0]]).round(3)
    array([[1. , 0.5], [0.9, 0.4]])
    """
    low, high = _check_box(label_low, label_high)
    if wavelength is None:
        raise ValueError("`wavelength` must be given, one value for each flux.")
    wavelength, medium = check_grid(wavelength, medium, np.size(wavelength))
    names = resolve_label_names(label_names, None, len(low))
    if label_center is None:
        label_center = (low + high) / 2
    if label_half_width is None:
        label_half_width = np.where(high > low, (high - low) / 2, 1.0)
    scaling = Scaling(
        np.array(label_center, np.float64),
        np.array(label_half_width, np.float64),
        np.atleast_1d(np.array(flux_offset, np.float64)),
        float(flux_scale),
    )
    weights = {name: np.asarray(w, np.float32) for name, w in weights.items()}
    per_wavelength = not getattr(resolve_network(arch), "takes_wavelength", False)
    _check_scaling(scaling, len(low), len(wavelength) if per_wavelength else 1)
    _check_finite(vars(scaling) | weights)
    with torch.random.fork_rng(devices=[]):
        _, arch_params = build_network(
            arch, len(low), log_grid(wavelength, len(wavelength)), arch_params
        )
    attributes = {
        "arch_params_": arch_params,
        "wavelength_": wavelength,
        "medium_": medium,
        "resolving_power_": check_resolving_power(resolving_power),
        "label_names_": names,
        "label_units_": resolve_label_units(label_units, names),
        "held_out_mae_": None,
        "held_out_rms_": None,
        "held_out_label_edges_": None,
        "held_out_label_mae_": None,
        "n_features_in_": len(low),
        "n_outputs_": len(wavelength),
        "n_training_": 0,
        "n_held_out_": 0,
        "n_steps_": 0,
        "history_": [],
        "provenance_": dict(provenance or {}),
    }
    try:
        return assemble(
            arch,
            attributes,
            weights,
            scaling,
            Domain.from_box(low, high, names),
            recipe=resolve_recipe(arch, resolve_network(arch)),
        )
    except RuntimeError as error:
        raise ValueError(
            f"`weights` must be those of {arch!r} with {arch_params} for {len(low)} "
            f"labels and {len(wavelength)} wavelengths: {error}"
        ) from error


def assemble(
    arch,
    attributes,
    weights,
    scaling,
    domain,
    *,
    recipe,
    errors=None,
    constructor=None,
):
    """Put a fitted emulator together.

    Parameters
    ----------
    arch : str or type
        Of the network.
    attributes : dict
        Fitted attributes by name.
    weights : dict of str to ndarray
        Of the network.
    scaling : Scaling
        Of labels and flux.
    domain : Domain
        Of the labels.
    recipe : Recipe
        How it was trained, or would be trained again.
    errors : ErrorModel, default=None
        If it is known.
    constructor : dict, default=None
        Arguments of the constructor that do not follow from the attributes.

    Returns
    -------
    emulator : SpectrumEmulator
        Fitted, on the CPU.
    """
    described = ("arch_params", "wavelength", "medium", "resolving_power")
    described = (*described, "label_names", "label_units")
    emulator = SpectrumEmulator(
        arch=arch,
        recipe=recipe.to_dict(),
        **{name: attributes[f"{name}_"] for name in described},
        **(constructor or {}),
    )
    for name, value in attributes.items():
        setattr(emulator, name, value)
    emulator.arch_, emulator.recipe_ = arch, recipe
    emulator._scaling, emulator._domain, emulator._errors = scaling, domain, errors
    emulator._training = None
    emulator.label_low_, emulator.label_high_ = domain.low, domain.high
    emulator.device_ = "cpu"
    emulator._module = rebuild(
        arch,
        emulator.arch_params_,
        scaling,
        emulator.wavelength_,
        log_grid(emulator.wavelength_, emulator.n_outputs_),
        weights,
    )
    return emulator


def _check_box(label_low, label_high):
    low, high = (
        np.array(ends, dtype=np.float64, ndmin=1) for ends in (label_low, label_high)
    )
    if low.ndim != 1 or low.shape != high.shape or not len(low):
        raise ValueError(
            "`label_low` and `label_high` must have one value for each label; got "
            f"shapes {low.shape} and {high.shape}."
        )
    if not (np.isfinite([low, high]).all() and (low <= high).all()):
        raise ValueError(
            "`label_low` and `label_high` must be finite and in this order; got "
            f"{low.tolist()} and {high.tolist()}."
        )
    return low, high


def _check_scaling(scaling, n_labels, n_wavelengths):
    for name in ("label_center", "label_half_width"):
        if getattr(scaling, name).shape != (n_labels,):
            raise ValueError(
                f"`{name}` must have one value for each of {n_labels} labels; got "
                f"shape {getattr(scaling, name).shape}."
            )
    if scaling.flux_offset.shape not in ((1,), (n_wavelengths,)):
        raise ValueError(
            f"`flux_offset` must be one number or {n_wavelengths}; got shape "
            f"{scaling.flux_offset.shape}."
        )
    if not ((scaling.label_half_width > 0).all() and scaling.flux_scale > 0):
        raise ValueError(
            "`label_half_width` and `flux_scale` must be positive; got "
            f"{scaling.label_half_width.tolist()} and {scaling.flux_scale}."
        )


def _check_finite(arrays):
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise ValueError(f"`{name}` must be finite; got NaN or infinity.")
