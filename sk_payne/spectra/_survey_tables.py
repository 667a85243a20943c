"""Spectra in the one-row tables of ESO: Science Data Products, and 4MOST Level 1.

It is here since specutils has no loader of either, and its generic one fails on one row
of vectors.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._columns import role_of
from sk_payne.spectra._frame import read_frame
from sk_payne.spectra._spectrum_file import (
    agreed_medium,
    as_unit,
    data_of,
    first_number,
    make_spectrum,
    pick_hdu,
)

__all__ = ["is_4most", "is_eso", "read_4most", "read_eso"]

_HDU_NAMES = ("SPECTRUM", "PHASE3SPECTRUM")

# What a column besides those of the standard must not be without a warning.
_UNEXPECTED = ("error", "ivar", "variance", "mask", "quality")

# Keywords for the velocity that is added to topocentric ones, in km/s: of the pipelines
# of ESO, and of HARPS and ESPRESSO.
_CORRECTIONS = ("ESO QC VRAD BARYCOR", "ESO QC BERV", "ESO DRS BERV")


# 4MOST ---------------------------------------------------------------------------


def is_4most(hdus):
    """Tell whether a FITS file is a Level 1 spectrum of 4MOST."""
    # Other surveys call the HDU so, too, and their error ERR.
    if "PHASE3SPECTRUM" not in hdus or hdus["PHASE3SPECTRUM"].is_image:
        return False
    return bool({"ERR_FLUX", "FLUX_IVAR"} & set(hdus["PHASE3SPECTRUM"].columns.names))


def read_4most(hdus, *, medium=None, flux_unit=None):
    """Read a Level 1 spectrum of 4MOST, in 1e-17 erg/s/cm2/Å."""
    from astropy import units

    return _read_table(
        hdus,
        "PHASE3SPECTRUM",
        (("FLUX", "ERR_FLUX"), ("FLUX", "FLUX_IVAR")),
        medium=medium,
        flux_unit=flux_unit,
        # in erg, squares of float32 would underflow
        target_unit=units.Unit("1e-17 erg / (s cm2 Angstrom)"),
    )


# ESO -----------------------------------------------------------------------------


def is_eso(hdus):
    """Tell whether a FITS file is a 1-D spectrum by the standard of ESO."""
    if str(hdus[0].header.get("PRODCATG", "")).startswith("SCIENCE.SPECTRUM"):
        return True
    tables = [hdu for hdu in hdus if hdu.name in _HDU_NAMES and not hdu.is_image]
    # others call a table so, too, but without the words of the Virtual Observatory
    return any(
        "WAVE" in hdu.columns.names
        and ("VOCLASS" in hdu.header or _column_keyword(hdu, "WAVE", "TUCD"))
        for hdu in tables
    )


def read_eso(hdus, *, medium=None, flux_unit=None):
    """Read a 1-D spectrum by the standard of ESO."""
    found = [name for name in _HDU_NAMES if name in hdus]
    header = hdus[0].header
    return _read_table(
        hdus,
        found[0] if found else 1,
        (("FLUX", "ERR"), ("FLUX_REDUCED", "ERR_REDUCED")),
        medium=medium,
        flux_unit=flux_unit,
        flux_calibration=header.get("FLUXCAL"),
        normalized=header.get("CONTNORM"),
    )


# Both ----------------------------------------------------------------------------


def _read_table(
    hdus, key, pairs, *, medium, flux_unit, target_unit=None, **more_metadata
):
    """Read one row of vectors; `pairs` are the columns that flux and error may have."""
    hdu = _checked_table(hdus, key)
    flux_name, error_name = _pick_pair(hdu, pairs)
    wave, flux, error = (_cell(hdus, key, n) for n in ("WAVE", flux_name, error_name))
    unit = _flux_unit(hdu, flux_name, flux_unit)
    scale = 1.0 if target_unit is None else _scale(unit, target_unit, flux_name)
    columns = hdu.columns.names
    bits = _cell(hdus, key, "QUAL") if "QUAL" in columns else None
    unexpected = set(columns) - {"QUAL"}.union(*pairs)
    header = hdus[0].header
    names = (header.get(name) for name in ("OBJECT", "OBJ_NME", "OBJ_UID"))
    resolving_power = header.get("SPEC_RES")
    return make_spectrum(
        wave * _wavelength_scale(hdu),
        flux * scale,
        **_uncertainty(error, error_name, scale),
        bad=bits,
        unit=unit if target_unit is None else target_unit,
        medium=agreed_medium(_stated_medium(hdu), medium),
        frame=read_frame(header.get("SPECSYS")),
        barycentric_correction=first_number(header, *_CORRECTIONS),
        name=next((name for name in names if name is not None), None),
        resolving_power=None if resolving_power is None else float(resolving_power),
        **({} if bits is None else {"bitmask": bits.astype(np.int64)}),
        unread=[c for c in columns if c in unexpected and role_of(c) in _UNEXPECTED],
        **more_metadata,
    )


def _checked_table(hdus, key):
    hdu = pick_hdu(hdus, key)
    if hdu.is_image:
        raise FileFormatError(f"HDU {key} must be a table, and is an image.")
    n_rows = len(data_of(hdus, key))
    if n_rows != 1:
        raise FileFormatError(
            f"HDU {key} must have one row, whose cells hold vectors; it has {n_rows}. "
            "Pass format='fits-table' for a table of one pixel per row."
        )
    return hdu


def _pick_pair(hdu, pairs):
    """Return the first flux column with its error column, which must belong to it."""
    names = hdu.columns.names
    for pair in pairs:
        if set(pair) <= set(names):
            return pair
    wanted = " or ".join(f"{flux} and {error}" for flux, error in pairs)
    raise FileFormatError(
        f"HDU {hdu.name} must have the columns {wanted}; it has {', '.join(names)}. "
        "Check that the file is complete and of this format."
    )


def _cell(hdus, key, name):
    """Return the vector in a column of one row."""
    names = pick_hdu(hdus, key).columns.names
    if name not in names:
        raise FileFormatError(
            f"HDU {key} has no column {name}; it has {', '.join(names)}. Check that "
            "the file is complete and of this format."
        )
    cell = np.array(data_of(hdus, key)[name][0])
    if cell.ndim != 1:
        raise FileFormatError(
            f"The column {name} of HDU {key} must hold a vector; its cell has the "
            f"shape {cell.shape}."
        )
    return cell if cell.dtype.kind in "iu" else cell.astype(np.float64)


def _column_keyword(hdu, column, prefix):
    """Return a keyword such as TUNIT of a column, or an empty text."""
    number = hdu.columns.names.index(column) + 1
    return str(hdu.header.get(f"{prefix}{number}", "")).strip()


def _flux_unit(hdu, column, flux_unit):
    from astropy import units

    if flux_unit is not None:
        return units.Unit(flux_unit)
    try:
        return as_unit(_column_keyword(hdu, column, "TUNIT"), f"column {column}")
    except FileFormatError as error:
        raise FileFormatError(f"{error} Pass flux_unit=, an astropy unit.") from error


def _scale(unit, target, column):
    from astropy import units

    try:
        return unit.to(target)
    except units.UnitConversionError as error:
        raise FileFormatError(
            f"The unit of column {column}, {unit.to_string()!r}, must amount to "
            "erg/s/cm2/Å. Pass flux_unit=, an astropy unit."
        ) from error


def _wavelength_scale(hdu):
    from astropy import units

    text = _column_keyword(hdu, "WAVE", "TUNIT")
    try:
        return as_unit(text, "column WAVE").to(units.AA)
    except units.UnitConversionError as error:
        raise FileFormatError(
            f"The unit of column WAVE, {text!r}, must be one of length. Correct TUNIT "
            "in the header."
        ) from error


def _uncertainty(values, name, scale):
    """Return the error as make_spectrum takes it, or none if the file knows none."""
    if not np.isfinite(values).any():  # so do the HARPS and FEROS pipelines
        return {}
    if name == "FLUX_IVAR":
        return {"ivar": values / scale**2}
    return {"error": values * scale}


def _stated_medium(hdu):
    """Return the medium by the UCD of the wavelengths, where ESO states it."""
    words = _column_keyword(hdu, "WAVE", "TUCD").lower().split(";")
    if words[0] != "em.wl":
        return None
    return "air" if "obs.atmos" in words else "vacuum"
