"""Spectra of LAMOST: low resolution, as images and as tables, and medium resolution.

specutils has no loader of them.
"""

import re

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._bits import flagged
from sk_payne.spectra._header_statements import (
    first_number,
    star_of,
    stated_frame,
    stated_medium,
)
from sk_payne.spectra._spectrum_file import (
    agreed_medium,
    check_columns,
    column_of,
    describe_hdus,
    image_of,
    make_spectrum,
)

__all__ = ["is_lamost_lrs", "is_lamost_mrs", "read_lamost_lrs", "read_lamost_mrs"]

# Nominal, of the two modes (Zhao et al. 2012; Liu et al. 2020).
_LOW_RESOLUTION, _MEDIUM_RESOLUTION = 1800.0, 7500.0

# Rows of the image of earlier releases.
_FLUX, _IVAR, _WAVELENGTH, _ANDMASK = range(4)

# HDUs of medium resolution: combined spectra, and those of an exposure.
_COMBINED = re.compile(r"COADD_([BR])$", re.IGNORECASE)
_EXPOSURE = re.compile(r"([BR])-\w+", re.IGNORECASE)


def is_lamost_lrs(hdus):
    """Return whether a FITS file is a spectrum of low resolution."""
    return _is_lamost(hdus) and not is_lamost_mrs(hdus)


def is_lamost_mrs(hdus):
    """Return whether a FITS file holds spectra of medium resolution."""
    return _is_lamost(hdus) and bool(_arms(hdus))


def read_lamost_lrs(hdus, *, medium=None, bad_bits=None):
    """Read the spectrum, from the image or the table."""
    if hdus[0].shape:
        rows = image_of(hdus, 0, n_dimensions=(2,))
        if len(rows) <= _ANDMASK:
            raise FileFormatError(
                "HDU 0 must have the rows flux, inverse variance, wavelength, and-mask "
                f"and or-mask; its shape is {rows.shape}. Copy the file again."
            )
        columns = (rows[_FLUX], rows[_IVAR], rows[_WAVELENGTH], rows[_ANDMASK])
    else:
        columns = _columns(hdus, 1)
    return _spectrum(
        hdus,
        *columns,
        medium=medium,
        bad_bits=bad_bits,
        resolving_power=_LOW_RESOLUTION,
    )


def read_lamost_mrs(hdus, *, medium=None, bad_bits=None):
    """Read the blue and the red arm, combined if the file has them so."""
    from specutils import SpectrumList

    arms = _arms(hdus)
    if not arms:
        raise FileFormatError(
            "It has no table COADD_B or COADD_R, nor any of an exposure, such as "
            f"B-84420148, but {describe_hdus(hdus)}. Check that the file is complete "
            "and of this format."
        )
    return SpectrumList(
        [
            _spectrum(
                hdus,
                *_columns(hdus, key),
                medium=medium,
                bad_bits=bad_bits,
                resolving_power=_MEDIUM_RESOLUTION,
                arm=arm,
            )
            for key, arm in arms
        ]
    )


def _is_lamost(hdus):
    return str(hdus[0].header.get("TELESCOP", "")).strip().upper() == "LAMOST"


def _arms(hdus):
    """Return number of the HDU and letter of each arm, exposure by exposure."""
    for pattern in (_COMBINED, _EXPOSURE):
        matches = [(key, pattern.match(hdu.name)) for key, hdu in enumerate(hdus)]
        arms = [(key, match[1].upper()) for key, match in matches if match]
        if arms:
            # B, R, B, R, as they come or by the name of the exposure
            return sorted(arms, key=lambda arm: (hdus[arm[0]].name[2:], arm[1]))
    return []


def _columns(hdus, key):
    """Return flux, inverse variance, wavelength in Å and and-mask of a table."""
    check_columns(hdus, key, "FLUX", "IVAR")
    flux, ivar = (column_of(hdus, key, name) for name in ("FLUX", "IVAR"))
    name = _first_column(hdus, key, "WAVELENGTH", "LOGLAM")
    wavelength = column_of(hdus, key, name)
    if name == "LOGLAM":
        wavelength = 10**wavelength
    mask = column_of(hdus, key, _first_column(hdus, key, "ANDMASK", "PIXMASK"))
    return flux, ivar, wavelength, mask


def _first_column(hdus, key, *names):
    """Return the first of some names that a table has as a column."""
    known = [name.upper() for name in hdus[key].columns.names]
    found = [name for name in names if name in known]
    if not found:
        raise FileFormatError(
            f"HDU {key} must have a column {' or '.join(names)}; it has "
            f"{', '.join(known)}. Check that the file is complete and of this format."
        )
    return found[0]


def _spectrum(
    hdus, flux, ivar, wavelength, mask, *, medium, bad_bits, resolving_power, **meta
):
    from astropy import units

    header = hdus[0].header
    bits = np.nan_to_num(np.asarray(mask, dtype=np.float64)).astype(np.int64)
    redshift = first_number(header, "Z")
    return make_spectrum(
        wavelength,
        flux,
        ivar=ivar,
        bad=flagged(bits, bad_bits),
        unit=units.dimensionless_unscaled,
        medium=agreed_medium(stated_medium(header), medium),
        frame=stated_frame(header),
        name=star_of(header) or str(header.get("OBSID", "star")),
        resolving_power=resolving_power,
        # -9999 stands for one that was not measured
        redshift=redshift if redshift is not None and redshift > -1 else None,
        bitmask=bits,
        **meta,
    )
