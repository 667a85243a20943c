"""Plan of a training, with everything that is decided before the first step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from sk_payne.emulators._flux import StackedFlux, TrainingFlux, fingerprint
from sk_payne.networks import Recipe
from sk_payne.spectra import resolve_resolving_power
from sk_payne.trained import (
    Description,
    Scaling,
    check_grid,
    resolve_label_names,
    resolve_label_units,
)

__all__ = ["Plan", "describe", "identify"]


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that is decided before the first step of a training.

    Parameters
    ----------
    arch : str or type
        Architecture, as given by the user.
    arch_params : dict or None
        Options of the architecture, as given by the user.
    description : Description
        Columns of P and F.
    scaling : Scaling
        Scaling of labels and flux.
    recipe : Recipe
        Recipe in full.
    build : callable
        Function without arguments that returns a network with its first weights, and
        all options of it.
    labels : ndarray of shape (n_all, n_labels)
        Stellar parameters of all spectra: the new ones, then the rehearsed ones.
    flux : TrainingFlux or StackedFlux of shape (n_all, n_wavelengths)
        Flux of all spectra.
    new : TrainingFlux of shape (n_new, n_wavelengths)
        Flux of the new spectra alone, of which some may be held out.
    identity : dict
        Fingerprint of the "spectra", and "settings": training continues from a state
        only if both are the same.
    provenance : dict
        Provenance of the trained emulator.
    """

    arch: str | type
    arch_params: Mapping | None
    description: Description
    scaling: Scaling
    recipe: Recipe
    build: Callable
    labels: np.ndarray
    flux: TrainingFlux | StackedFlux
    new: TrainingFlux
    identity: Mapping
    provenance: Mapping


def describe(spectra, resolving_power):
    """Describe the columns of a training set.

    Parameters
    ----------
    spectra : TrainingSet
        Labels and flux.
    resolving_power : float, array-like or None
        Resolving power of the spectra, as given by the user.

    Returns
    -------
    description : Description
        Description, checked.

    Raises
    ------
    TypeError, ValueError
        If names, units, wavelengths, medium or resolving power are not allowed.
    """
    n_wavelengths = spectra.flux.shape[1]
    names = resolve_label_names(spectra.label_names, spectra.labels.shape[1])
    units = resolve_label_units(spectra.label_units, names)
    wavelength, medium = check_grid(spectra.wavelength, spectra.medium, n_wavelengths)
    power = resolve_resolving_power(resolving_power, wavelength)
    return Description(
        names,
        units,
        n_wavelengths,
        wavelength,
        medium,
        power,
        spectra.has_feature_names,
    )


def identify(emulator, spectra, description, recipe, **further):
    """Identity of a training, to check before it continues from a state.

    Parameters
    ----------
    emulator : BaseEmulator
        Its `validation_fraction` is read.
    spectra : TrainingSet
        Labels and flux.
    description : Description
        Columns of P and F.
    recipe : Recipe
        Recipe in full.
    **further : str
        More settings by name.

    Returns
    -------
    identity : dict
        Fingerprint of the "spectra", and "settings" of plain values.
    """
    wavelength = () if description.wavelength is None else description.wavelength
    settings = {
        "recipe": repr(recipe),
        "wavelength": fingerprint(np.asarray(wavelength)),
        "label_names": repr(description.label_names),
        "validation_fraction": float(emulator.validation_fraction),
    }
    return {
        "spectra": fingerprint(spectra.labels, spectra.flux),
        "settings": further | settings,
    }
