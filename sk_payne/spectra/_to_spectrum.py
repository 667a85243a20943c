"""Arrays as specutils spectra: model flux, and rows of a SpectrumSet."""

import numpy as np

from sk_payne.spectra._medium import check_medium

__all__ = ["spectrum_of_row", "to_spectrum"]


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
        It has the shape of `flux`, and copies of both arrays.

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


def spectrum_of_row(spectra, row, flux_unit):
    """Make a specutils spectrum of a row of a set.

    Parameters
    ----------
    spectra : SpectrumSet
        With wavelengths.
    row : int
        Number of the spectrum.
    flux_unit : None, str or astropy unit
        Unit of the flux; None means dimensionless.

    Returns
    -------
    spectrum : specutils.Spectrum
        Without padding; `mask` is True where `ivar` is 0.
    """
    from astropy import units as u
    from astropy.nddata import InverseVariance
    from specutils import Spectrum

    real = slice(0, spectra.n_pixels[row])
    wavelength = np.broadcast_to(spectra.wavelength, spectra.shape)[row]
    ivar = spectra.ivar[row, real]
    meta = {} if spectra.medium is None else {"medium": spectra.medium}
    if spectra.frame is not None and spectra.frame[row]:
        meta["frame"] = str(spectra.frame[row])
    has_uncertainty = spectra.has_uncertainty[row]
    return Spectrum(
        flux=u.Quantity(
            spectra.flux[row, real],
            u.dimensionless_unscaled if flux_unit is None else flux_unit,
        ),
        spectral_axis=u.Quantity(wavelength[real], u.AA),
        uncertainty=InverseVariance(ivar.copy()) if has_uncertainty else None,
        mask=ivar == 0,
        meta=meta,
    )
