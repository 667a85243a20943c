"""Spectra of Gaia's radial velocity spectrometer, in FITS and CSV.

CSV states neither unit nor medium: its three names and its range of wavelengths
identify it.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._spectrum_file import (
    check_columns,
    column_of,
    describe_hdus,
    make_spectrum,
)
from sk_payne.spectra._text_columns import header_of, numbers_of

__all__ = [
    "COLUMNS",
    "gaia_spectrum",
    "has_gaia_range",
    "is_gaia_rvs",
    "is_gaia_rvs_text",
    "read_gaia_rvs",
    "read_gaia_rvs_text",
]

COLUMNS = ("wavelength", "flux", "flux_error")

# Mean spectra of DR3 go from 846 to 870 nm, exactly (Seabroke et al. 2022).
_FIRST, _LAST, _NEAR = 846.0, 870.0, 0.005
_ANGSTROM_PER_NM = 10.0
# Of the instrument (Cropper et al. 2018).
_RESOLVING_POWER = 11500.0


def is_gaia_rvs(hdus):
    """Return whether a FITS file holds a mean spectrum of Gaia RVS."""
    key = _table_of(hdus)
    try:
        return key is not None and has_gaia_range(column_of(hdus, key, "wavelength"))
    except FileFormatError:  # another table of such names
        return False


def read_gaia_rvs(hdus):
    """Read the normalised flux, at rest."""
    key = _table_of(hdus)
    if key is None:
        raise FileFormatError(
            f"It has no table with the columns {', '.join(COLUMNS)}, but "
            f"{describe_hdus(hdus)}. Check that the file is complete and of this "
            "format."
        )
    check_columns(hdus, key, *COLUMNS)
    header = hdus[key].header
    return gaia_spectrum(
        *(column_of(hdus, key, name) for name in COLUMNS),
        name=header.get("SOURCE_ID", hdus[0].header.get("SOURCE_ID")),
    )


def is_gaia_rvs_text(lines):
    """Return whether text holds a mean spectrum of Gaia RVS."""
    names, is_data = header_of(lines)
    if names is None or not is_data or tuple(names) != COLUMNS:
        return False
    data = [line for line in lines if line.strip() and not line.startswith("#")][1:]
    if not data:
        return False
    try:
        ends = [numbers_of([line], names, False)[0] for line in (data[0], data[-1])]
    except FileFormatError:  # text of another kind
        return False
    return has_gaia_range(np.concatenate(ends))


def read_gaia_rvs_text(lines):
    """Read the normalised flux, at rest."""
    names, is_data = header_of(lines)
    missing = [name for name in COLUMNS if name not in (names or ())]
    if missing or not is_data:
        raise FileFormatError(
            f"Its first line must be {','.join(COLUMNS)}; {', '.join(missing)} is not "
            "there. Check that the file is complete and of this format."
        )
    columns = dict(zip(names, numbers_of(lines, names, is_data), strict=True))
    return gaia_spectrum(*(columns[n] for n in COLUMNS), name=None, header=lines[:1])


def _table_of(hdus):
    for key, hdu in enumerate(hdus):
        if not hdu.is_image and set(COLUMNS) <= {n.lower() for n in hdu.columns.names}:
            return key
    return None


def has_gaia_range(wavelength):
    """Return whether wavelengths in nm are those of a mean spectrum of Gaia RVS."""
    return bool(
        wavelength.size > 1
        and abs(wavelength[0] - _FIRST) < _NEAR
        and abs(wavelength[-1] - _LAST) < _NEAR
    )


def gaia_spectrum(wavelength, flux, error, name, **meta):
    """Make a Spectrum of wavelengths in nm, normalised flux and its error."""
    from astropy import units

    if not has_gaia_range(wavelength):
        raise FileFormatError(
            f"Its wavelengths must go from {_FIRST} to {_LAST} nm; they go from "
            f"{wavelength[0]:g} to {wavelength[-1]:g}. Leave out `format` to have the "
            "file recognised."
        )
    return make_spectrum(
        wavelength * _ANGSTROM_PER_NM,
        flux,
        error=error,
        unit=units.dimensionless_unscaled,
        medium="vacuum",
        frame="rest",
        name=name,
        resolving_power=_RESOLVING_POWER,
        **meta,
    )
