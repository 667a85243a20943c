"""Training spectra of the whole chain: on one grid, and without bad pixels.

It is here because an emulator wants more of its spectra than a measurement does.
"""

import warnings

import numpy as np

from sk_payne.spectra import SpectrumSet

__all__ = ["fill_bad_pixels", "on_one_grid", "with_grid"]

# Rounds of filling bad pixels; each brings a pixel that is good in most spectra nearer
# to its fit by a factor of several.
_FILLING_STEPS = 10


def with_grid(emulator, spectra):
    """Tell an emulator the wavelengths of its training spectra, unless it was told.

    Parameters
    ----------
    emulator : estimator
        Not fitted; changed.
    spectra : SpectrumSet
        On one grid.

    Returns
    -------
    emulator : estimator
        The same.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.abundances._training_spectra import with_grid
    >>> from sk_payne.spectra import as_spectra
    >>> spectra = as_spectra(np.ones((2, 3)), require_uncertainty=False)
    >>> with_grid(SpectrumEmulator(arch="payne"), spectra)
    SpectrumEmulator(arch='payne')
    """
    params = emulator.get_params(deep=False)
    if spectra.wavelength is None or params.get("wavelength", 0) is not None:
        return emulator
    medium = params.get("medium") or spectra.medium
    return emulator.set_params(wavelength=spectra.wavelength, medium=medium)


def on_one_grid(spectra):
    """Give spectra that bring wavelengths each of its own their common grid.

    Parameters
    ----------
    spectra : SpectrumSet
        With wavelengths of shape (n_spectra, n_pixels).

    Returns
    -------
    spectra : SpectrumSet
        With wavelengths of shape (n_pixels,).

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
        Not changed.
    bad : ndarray of shape (n_spectra, n_pixels), bool
        Where to replace it.
    labels : ndarray of shape (n_spectra, n_labels)
        Of the spectra.

    Returns
    -------
    flux : ndarray of shape (n_spectra, n_pixels)
        Without bad pixels.

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
    # fitting all pixels by one matrix, and again once the bad ones are better
    for _ in range(_FILLING_STEPS):
        flux = np.where(bad, design @ (inverse @ flux), flux)
    return flux
