"""Spectra of HARPS, HARPS-N, CORALIE and ESPRESSO by their pipelines: s1d and e2ds.

The older pipeline keeps wavelengths in the header, the newer one, of ESPRESSO, beside
the flux. specutils has no loader of either.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._columns import first_of
from sk_payne.spectra._file_units import unit_or_ask
from sk_payne.spectra._fits_image import has_wavelengths, wavelengths_of
from sk_payne.spectra._header_statements import first_number, number_of, star_of
from sk_payne.spectra._spectrum_file import (
    column_of,
    describe_hdus,
    image_of,
    make_spectrum,
)

__all__ = ["is_e2ds", "is_s1d", "read_e2ds", "read_s1d"]

# Who wrote the keywords: ESO, or the TNG for HARPS-N.
_OWNERS = ("ESO", "TNG")

# Nominal resolving power by mode and instrument (Mayor et al. 2003; Cosentino et al.
# 2012; Queloz et al. 2000; Pepe et al. 2021).
_RESOLVING_POWERS = {
    "EGGS": 80000.0,
    "HARPS": 115000.0,
    "HARPN": 115000.0,
    "CORALIE": 60000.0,
    "SINGLEHR": 140000.0,
    "SINGLEUHR": 190000.0,
    "MULTIMR": 70000.0,
}


# One row -------------------------------------------------------------------------


def is_s1d(hdus):
    """Return whether a FITS file is an s1d file, of either pipeline."""
    return _is_image_s1d(hdus) or _table_of_s1d(hdus) is not None


def read_s1d(hdus, *, flux_unit=None):
    """Read the merged orders: barycentric, in air or, of ESPRESSO, in vacuum."""
    header = hdus[0].header
    key = _table_of_s1d(hdus)
    if key is not None:
        names = hdus[key].columns.names
        wavelength, flux, error = (
            column_of(hdus, key, first_of(role, names) or role)
            for role in ("wavelength", "flux", "error")
        )
        quality = first_of("quality", names)
        return make_spectrum(
            wavelength,
            flux,
            error=error,
            bad=None if quality is None else column_of(hdus, key, quality),
            unit=unit_or_ask(flux_unit or "electron", "the flux", "flux_unit"),
            medium="vacuum",
            **_described(header, "barycentric"),
        )
    if not _is_image_s1d(hdus):
        raise FileFormatError(
            "It has neither an image of one row with CRVAL1, CDELT1 and keywords ESO "
            "DRS, nor a table with wavelength, wavelength_air, flux and error, but "
            f"{describe_hdus(hdus)}. Check that the file is complete and of this "
            "format."
        )
    flux = image_of(hdus, 0, n_dimensions=(1,))
    unit = header.get("BUNIT", "") if flux_unit is None else flux_unit
    return make_spectrum(
        wavelengths_of(header, flux.size, "Angstrom"),
        flux,
        unit=unit_or_ask(unit, "the flux", "flux_unit"),
        medium="air",
        **_described(header, "barycentric"),
    )


def _is_image_s1d(hdus):
    header = hdus[0].header
    return (
        hdus[0].is_image
        and len(hdus[0].shape) == 1
        and has_wavelengths(header)
        and _owner(header) is not None
    )


def _table_of_s1d(hdus):
    """Return the number of the table of the newer pipeline, or None."""
    for key, hdu in enumerate(hdus):
        if not hdu.is_image:
            names = {name.lower() for name in hdu.columns.names}
            if {"wavelength", "wavelength_air", "flux"} <= names:
                return key
    return None


# Orders --------------------------------------------------------------------------


def is_e2ds(hdus):
    """Return whether a FITS file is an e2ds or S2D file, of either pipeline."""
    return _is_old_e2ds(hdus) or _has_wavelengths_beside(hdus)


def read_e2ds(hdus):
    """Read each order as an arm; the blaze is in the flux."""
    from astropy import units
    from specutils import SpectrumList

    header = hdus[0].header
    if _has_wavelengths_beside(hdus):
        flux = image_of(hdus, "SCIDATA", n_dimensions=(2,))
        wavelength, error, quality = (
            image_of(hdus, name, shape=flux.shape)
            for name in (_wavelength_image(hdus), "ERRDATA", "QUALDATA")
        )
        medium = "vacuum" if "VAC" in _wavelength_image(hdus) else "air"
        described = _described(header, "barycentric")
    elif _is_old_e2ds(hdus):
        flux = image_of(hdus, 0, n_dimensions=(2,))
        wavelength, medium = _polynomials(header, flux.shape), "air"
        error, quality = None, None
        described = _described(header, "topocentric")
    else:
        raise FileFormatError(
            "It has neither the HDUs SCIDATA and WAVEDATA_VAC_BARY, nor an image of "
            f"orders with the keywords DRS CAL TH, but {describe_hdus(hdus)}. Check "
            "that the file is complete and of this format."
        )
    described["name"] = described["name"] or "star"
    return SpectrumList(
        [
            make_spectrum(
                wavelength[order],
                flux[order],
                error=None if error is None else error[order],
                bad=None if quality is None else quality[order],
                unit=units.electron,
                medium=medium,
                arm=order,
                **described,
            )
            for order in range(len(flux))
            if np.any(wavelength[order] > 0)  # orders without a solution have none
        ]
    )


def _is_old_e2ds(hdus):
    header = hdus[0].header
    return (
        hdus[0].is_image
        and len(hdus[0].shape) == 2
        and any(f"{owner} DRS CAL TH DEG LL" in header for owner in _OWNERS)
    )


def _has_wavelengths_beside(hdus):
    return "SCIDATA" in hdus and _wavelength_image(hdus) is not None


def _wavelength_image(hdus):
    names = ("WAVEDATA_VAC_BARY", "WAVEDATA_AIR_BARY")
    return next((name for name in names if name in hdus), None)


def _polynomials(header, shape):
    """Return wavelengths in Å, a polynomial of the pixel in each order."""
    owner = next(o for o in _OWNERS if f"{o} DRS CAL TH DEG LL" in header)
    degree = int(number_of(header, f"{owner} DRS CAL TH DEG LL"))
    if not 0 < degree < 20:
        raise FileFormatError(
            f"Its keyword {owner} DRS CAL TH DEG LL must be the degree of a polynomial"
            f"; it is {degree}. Copy the file again."
        )
    n_orders, n_pixels = shape
    coefficients = np.array(
        [
            number_of(header, f"{owner} DRS CAL TH COEFF LL{i}")
            for i in range(n_orders * (degree + 1))
        ]
    ).reshape(n_orders, degree + 1)
    return np.polynomial.polynomial.polyval(np.arange(n_pixels), coefficients.T)


# Both ----------------------------------------------------------------------------


def _owner(header):
    """Return who wrote the keywords of the older pipeline, or None."""
    keys = ("DRS VERSION", "DRS BERV", "DRS CAL TH DEG LL")
    return next((o for o in _OWNERS for k in keys if f"{o} {k}" in header), None)


def _described(header, frame):
    modes = (header.get(f"{owner} INS MODE") for owner in _OWNERS)
    words = [
        str(word or "").strip().upper() for word in (*modes, header.get("INSTRUME"))
    ]
    powers = (_RESOLVING_POWERS[word] for word in words if word in _RESOLVING_POWERS)
    corrections = [f"{owner} DRS BERV" for owner in _OWNERS]
    return {
        "frame": frame,
        "name": star_of(header),
        "resolving_power": next(powers, None),
        "barycentric_correction": first_number(
            header, "ESO QC BERV", "TNG QC BERV", *corrections
        ),
    }
