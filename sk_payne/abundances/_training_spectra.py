"""Training spectra: on one grid, without bad pixels, with the labels of the emulator.

An emulator demands more of its spectra than a measurement does.
"""

import warnings
from collections.abc import Mapping

import numpy as np
from sklearn.frozen import FrozenEstimator

from sk_payne.inputs import LabelTable, read_labels
from sk_payne.spectra import SpectrumSet

__all__ = ["describe", "fill_bad_pixels", "on_one_grid", "read_training_labels"]

# Rounds of filling bad pixels; each reduces the error of a pixel that is good in most
# spectra by a factor of several.
_FILLING_STEPS = 10


def describe(emulator, spectra, labels):
    """Set wavelengths, names and units of an emulator where its arguments are None.

    Parameters
    ----------
    emulator : estimator
        Emulator, not fitted; its arguments are changed.
    spectra : SpectrumSet
        Spectra on one grid.
    labels : LabelTable
        Labels of the spectra.

    Returns
    -------
    emulator : estimator
        The same emulator. Arguments that were not None stay as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.abundances._training_spectra import describe
    >>> from sk_payne.inputs import LabelTable
    >>> from sk_payne.spectra import as_spectra
    >>> spectra = as_spectra(np.ones((2, 3)), require_uncertainty=False)
    >>> labels = LabelTable(np.ones((2, 1)), ["teff"], ["K"])
    >>> describe(SpectrumEmulator(arch="payne"), spectra, labels).label_names
    ['teff']
    """
    metadata = {"label_names": labels.names, "label_units": labels.units}
    metadata |= {"wavelength": spectra.wavelength, "medium": spectra.medium}
    # a search for the best parameters passes them to its estimator
    prefix = "estimator__" if hasattr(emulator, "refit") else ""
    params = emulator.get_params(deep=bool(prefix))
    if spectra.wavelength is None or params.get(f"{prefix}wavelength", 0) is not None:
        del metadata["medium"]
    unset = {
        f"{prefix}{name}": value
        for name, value in metadata.items()
        if value is not None and params.get(f"{prefix}{name}", 0) is None
    }
    if unset:  # empty for a frozen emulator
        emulator.set_params(**unset)
    return emulator


def read_training_labels(y, emulator):
    """Read labels in the order and units of the emulator to be trained.

    Parameters
    ----------
    y : array-like or table of shape (n_spectra, n_labels) or (n_spectra,)
        Labels, as given to ``fit``.
    emulator : estimator
        Emulator, not fitted unless it is frozen.

    Returns
    -------
    labels : LabelTable
        Labels; names are None if neither `y` nor the emulator has them.

    Raises
    ------
    ValueError
        If a label is missing or masked, or its unit does not convert.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.abundances._training_spectra import read_training_labels
    >>> y = QTable({"Fe_H": [0.1], "teff": [5.8] * u.kK})
    >>> emulator = SpectrumEmulator(label_names=["teff", "Fe_H"], label_units=["K", ""])
    >>> read_training_labels(y, emulator).values
    array([[5.8e+03, 1.0e-01]])
    """
    names, units = _expected_labels(emulator)
    if isinstance(units, Mapping):
        label_names = (
            read_labels(y, argument="y", names=names).names if names is None else names
        )
        units = (
            None
            if label_names is None
            else [units.get(name, "") for name in label_names]
        )
    table = read_labels(y, argument="y", names=names, units=units)
    known_names = table.names or names
    name = getattr(y, "name", None)
    if known_names is None and isinstance(name, str) and np.ndim(y) == 1:
        known_names = [name]
    return LabelTable(table.values, known_names, table.units)


def _expected_labels(emulator):
    """Names and units of the labels of an emulator, None if unspecified."""
    if isinstance(emulator, FrozenEstimator):
        inner = emulator.estimator
        return getattr(inner, "label_names_", None), getattr(
            inner, "label_units_", None
        )
    if hasattr(emulator, "refit"):  # a search for the best parameters
        emulator = emulator.estimator
    names = getattr(emulator, "label_names", None)
    units = getattr(emulator, "label_units", None)
    base = getattr(emulator, "base", None)
    if units is None and hasattr(base, "label_units_"):
        units = dict(zip(base.label_names_, base.label_units_, strict=True))
    return names, None if isinstance(units, str) else units


def on_one_grid(spectra):
    """Replace equal wavelengths of all spectra by one grid.

    Parameters
    ----------
    spectra : SpectrumSet
        Spectra with wavelengths of shape (n_spectra, n_pixels).

    Returns
    -------
    spectra : SpectrumSet
        Spectra with wavelengths of shape (n_pixels,).

    Raises
    ------
    ValueError
        If the wavelengths differ.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._training_spectra import on_one_grid
    >>> from sk_payne.spectra import SpectrumSet
    >>> wavelength = np.tile([5000.0, 5001.0, 5002.0], (2, 1))
    >>> flux = np.ones((2, 3))
    >>> spectra = SpectrumSet(flux, flux, wavelength=wavelength, medium="air")
    >>> on_one_grid(spectra).wavelength
    array([5000., 5001., 5002.])
    """
    if not np.all(spectra.wavelength == spectra.wavelength[0]):
        raise ValueError(
            "`X` must be on one wavelength grid in training; the spectra differ. "
            "Resample them, for instance with specutils' FluxConservingResampler."
        )
    return SpectrumSet(
        spectra.flux,
        spectra.ivar,
        wavelength=spectra.wavelength[0],
        medium=spectra.medium,
        has_uncertainty=spectra.has_uncertainty,
    )


def fill_bad_pixels(flux, bad, labels):
    """Replace bad pixels by a linear fit of the flux on the labels, and warn.

    Parameters
    ----------
    flux : ndarray of shape (n_spectra, n_pixels)
        Flux, not changed.
    bad : ndarray of shape (n_spectra, n_pixels), bool
        True for pixels to replace.
    labels : ndarray of shape (n_spectra, n_labels)
        Labels of the spectra.

    Returns
    -------
    flux : ndarray of shape (n_spectra, n_pixels)
        Flux without bad pixels.

    Raises
    ------
    ValueError
        If a pixel is bad in all spectra.

    Warns
    -----
    UserWarning
        If there are bad pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._training_spectra import fill_bad_pixels
    >>> flux = np.ones((3, 2))
    >>> fill_bad_pixels(flux, flux == 0, np.arange(3.0)[:, None]) is flux
    True
    """
    if not bad.any():
        return flux
    n_good = (~bad).sum(axis=0)
    if not n_good.all():
        lost = np.flatnonzero(n_good == 0)
        raise ValueError(
            "`X` must have a good value of every pixel in some training spectrum; "
            f"{len(lost)} pixels have none, the first is pixel {lost[0]}. Leave those "
            "wavelengths out."
        )
    warnings.warn(
        f"{bad.any(axis=1).sum()} of {len(bad)} training spectra have bad pixels, "
        f"{bad.mean():.2%} of all; they are filled by a linear fit on the labels.",
        stacklevel=3,
    )
    spread = labels.std(axis=0)
    scaled = (labels - labels.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    design = np.column_stack([np.ones(len(labels)), scaled])
    inverse = np.linalg.pinv(design)
    flux = np.where(bad, 0.0, flux)
    flux = np.where(bad, flux.sum(axis=0) / n_good, flux)
    # one matrix fits all pixels; repeat it with better values of the bad ones
    for _ in range(_FILLING_STEPS):
        flux = np.where(bad, design @ (inverse @ flux), flux)
    return flux
