"""Spectra of PypeIt: spec1d files, of one or several objects, and coadd1d files.

Their masks are nonzero where a pixel is good, unlike those of other formats.
"""

import re

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._frame import read_frame
from sk_payne.spectra._header_statements import first_number, star_of
from sk_payne.spectra._spectrum_file import (
    check_columns,
    column_of,
    describe_hdus,
    make_spectrum,
)

__all__ = ["is_coadd1d", "is_spec1d", "read_coadd1d", "read_spec1d"]

# Objects of an echelle: one HDU for each order.
_ORDER = re.compile(r"(.*)-ORDER(\d+)", re.IGNORECASE)


# coadd1d -------------------------------------------------------------------------


def is_coadd1d(hdus):
    """Return whether a FITS file is a coadd1d file."""
    return _coadd_of(hdus) is not None


def read_coadd1d(hdus):
    """Read the combined spectrum."""
    key = _coadd_of(hdus)
    if key is None:
        raise FileFormatError(
            "It has no table with the columns wave and wave_grid_mid, but "
            f"{describe_hdus(hdus)}. Check that the file is complete and of this "
            "format."
        )
    is_fluxed = hdus[key].header.get("FLUXED", True)
    return _spectrum(
        hdus, key, "wave", "flux", "ivar", "mask", is_fluxed, star_of(hdus[0].header)
    )


def _coadd_of(hdus):
    for key, hdu in enumerate(hdus):
        if not hdu.is_image and {"wave", "wave_grid_mid"} <= set(hdu.columns.names):
            return key
    return None


# spec1d --------------------------------------------------------------------------


def is_spec1d(hdus):
    """Return whether a FITS file is a spec1d file."""
    return bool(_objects(hdus))


def read_spec1d(hdus, *, target=None):
    """Read an object, with its orders as arms."""
    from specutils import SpectrumList

    objects = _objects(hdus)
    if not objects:
        raise FileFormatError(
            "It has no table with the columns OPT_WAVE or BOX_WAVE, but "
            f"{describe_hdus(hdus)}. Check that the file is complete and of this "
            "format."
        )
    if target is None and len(objects) == 1:
        target = next(iter(objects))
    if target not in objects:
        got = "none is given" if target is None else f"got {target!r}"
        raise ValueError(
            f"`target` must be one of the objects of this file, {', '.join(objects)}; "
            f"{got}."
        )
    orders = objects[target]
    name = star_of(hdus[0].header) or target
    spectra = [
        _read_object(hdus, key, name, {} if order is None else {"arm": order})
        for key, order in orders
    ]
    return spectra[0] if len(spectra) == 1 else SpectrumList(spectra)


def _objects(hdus):
    """Return {name of an object: [(number of the HDU, order or None), ...]}."""
    found = {}
    for key, hdu in enumerate(hdus):
        if hdu.is_image or not {"OPT_WAVE", "BOX_WAVE"} & set(hdu.columns.names):
            continue
        match = _ORDER.match(hdu.name)
        name, order = (match[1], int(match[2])) if match else (hdu.name, None)
        found.setdefault(name, []).append((key, order))
    return found


def _read_object(hdus, key, name, arm):
    names = hdus[key].columns.names
    kind = "OPT" if "OPT_WAVE" in names else "BOX"
    is_fluxed = f"{kind}_FLAM" in names
    flux = f"{kind}_FLAM" if is_fluxed else f"{kind}_COUNTS"
    columns = (f"{kind}_WAVE", flux, f"{flux}_IVAR", f"{kind}_MASK")
    return _spectrum(hdus, key, *columns, is_fluxed, name, **arm)


# Both ----------------------------------------------------------------------------


def _spectrum(hdus, key, wave, flux, ivar, mask, is_fluxed, name, **meta):
    from astropy import units

    check_columns(hdus, key, wave, flux, ivar, mask)
    columns = [column_of(hdus, key, column) for column in (wave, flux, ivar, mask)]
    known = columns[0] > 0  # wavelengths are 0 where the detector saw nothing
    wavelength, values, inverse, good = (np.asarray(c)[known] for c in columns)
    headers = (hdus[key].header, hdus[0].header)
    power = first_number(hdus[0].header, "SPEC_RES")
    words = [header.get(word) for header in headers for word in ("VEL_TYPE", "SPECSYS")]
    return make_spectrum(
        wavelength,
        values,
        ivar=inverse,
        bad=good == 0,
        unit=units.Unit("1e-17 erg / (s cm2 Angstrom)") if is_fluxed else units.count,
        medium="vacuum",
        frame=read_frame(*words),
        name=name,
        resolving_power=power,
        **meta,
    )
