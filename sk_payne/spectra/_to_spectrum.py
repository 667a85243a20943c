"""Model flux as a specutils spectrum.

It is here because only this room knows specutils.
"""

import numpy as np

from sk_payne.spectra._medium import check_medium

__all__ = ["to_spectrum"]


def to_spectrum(flux, wavelength, medium):
    """Put flux on a wavelength grid into a specutils spectrum.

    Parameters
    ----------
    flux : ndarray of shape (n_wavelengths,) or (n_spectra, n_wavelengths)
        Dimensionless.
    wavelength : ndarray of shape (n_wavelengths,)
        Å, increasing.
    medium : {"air", "vacuum"}
        Kept as ``meta["medium"]``.

    Returns
    -------
    spectrum : specutils.Spectrum
        Of the shape of `flux`, with copies of both arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.spectra import to_spectrum
    >>> to_spectrum(np.ones((2, 3)), np.array([5000.0, 5001.0, 5002.0]), "air").shape
    (2, 3)
    """
    from astropy import units as u
    from specutils import Spectrum

    flux = np.array(flux)
    return Spectrum(
        flux=flux * u.dimensionless_unscaled,
        spectral_axis=np.array(wavelength, dtype=float) * u.AA,
        # without it a square array of flux has no last axis
        spectral_axis_index=flux.ndim - 1,
        meta={"medium": check_medium(medium)},
    )
