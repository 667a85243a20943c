"""Spectra in the one-row tables of ESO: Science Data Products, and 4MOST Level 1.

specutils has no loader of either, and its generic one fails on one row of vectors.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._columns import first_of, role_of
from sk_payne.spectra._file_units import as_unit, unit_or_ask
from sk_payne.spectra._header_statements import first_number, star_of, stated_frame
from sk_payne.spectra._spectrum_file import (
    agreed_medium,
    column_of,
    data_of,
    make_spectrum,
    table_of,
)

__all__ = ["is_4most", "is_eso", "read_4most", "read_eso"]

_HDU_NAMES = ("SPECTRUM", "PHASE3SPECTRUM")

# Meaning of the Virtual Observatory's TUTYP of a column.
_UTYPES = {
    "spec:data.spectralaxis.value": "wavelength",
    "spec:data.fluxaxis.value": "flux",
    "spec:data.fluxaxis.accuracy.staterror": "error",
    "spec:data.fluxaxis.accuracy.qualitystatus": "quality",
}

# Names of flux and its error, for files that have no TUTYP.
_PAIRS = (
    ("FLUX", "ERR"),
    ("FLUX", "ERR_FLUX"),
    ("FLUX", "FLUX_IVAR"),
    ("FLUX_REDUCED", "ERR_REDUCED"),
)

# Roles of columns that are not left out without a warning.
_UNEXPECTED = ("error", "ivar", "variance", "mask", "quality", "doubtful")

# Keywords for the velocity that is added to topocentric ones, in km/s: of the pipelines
# of ESO, and of HARPS and ESPRESSO.
_CORRECTIONS = ("ESO QC VRAD BARYCOR", "ESO QC BERV", "ESO DRS BERV")


# 4MOST ---------------------------------------------------------------------------


def is_4most(hdus):
    """Return whether a FITS file is a Level 1 spectrum of 4MOST."""
    # Other surveys call the HDU so, too, and their error ERR.
    if "PHASE3SPECTRUM" not in hdus or hdus["PHASE3SPECTRUM"].is_image:
        return False
    if str(hdus[0].header.get("INSTRUME", "QMOST")).strip() != "QMOST":
        return False
    return bool({"ERR_FLUX", "FLUX_IVAR"} & set(hdus["PHASE3SPECTRUM"].columns.names))


def read_4most(hdus, *, medium=None, flux_unit=None):
    """Read a Level 1 spectrum of 4MOST, in 1e-17 erg/s/cm2/Å."""
    from astropy import units

    return _read_table(
        hdus,
        "PHASE3SPECTRUM",
        medium=medium,
        flux_unit=flux_unit,
        # in erg, squares of float32 would underflow
        target_unit=units.Unit("1e-17 erg / (s cm2 Angstrom)"),
    )


# ESO -----------------------------------------------------------------------------


def is_eso(hdus):
    """Return whether a FITS file is a 1-D spectrum by the standard of ESO."""
    if str(hdus[0].header.get("PRODCATG", "")).startswith("SCIENCE.SPECTRUM"):
        return True
    tables = [hdu for hdu in hdus if hdu.name in _HDU_NAMES and not hdu.is_image]
    # others call a table so, too, but without the words of the Virtual Observatory
    return any(
        "VOCLASS" in hdu.header
        or "wavelength" in _roles(hdu).values()
        or ("WAVE" in hdu.columns.names and _column_keyword(hdu, "WAVE", "TUCD"))
        for hdu in tables
    )


def read_eso(hdus, *, medium=None, flux_unit=None):
    """Read a 1-D spectrum by the standard of ESO."""
    found = [name for name in _HDU_NAMES if name in hdus]
    header = hdus[0].header
    return _read_table(
        hdus,
        found[0] if found else 1,
        medium=medium,
        flux_unit=flux_unit,
        flux_calibration=header.get("FLUXCAL"),
        normalized=header.get("CONTNORM"),
    )


# Both ----------------------------------------------------------------------------


def _read_table(hdus, key, *, medium, flux_unit, target_unit=None, **more_metadata):
    """Read one row of vectors."""
    hdu = _checked_table(hdus, key)
    roles = _assigned(hdu)
    wave, flux = (column_of(hdus, key, roles[r]) for r in ("wavelength", "flux"))
    unit = unit_or_ask(
        _column_keyword(hdu, roles["flux"], "TUNIT")
        if flux_unit is None
        else flux_unit,
        f"column {roles['flux']}",
        "flux_unit",
    )
    scale = 1.0 if target_unit is None else _scale(unit, target_unit, roles["flux"])
    bits = column_of(hdus, key, roles["quality"]) if "quality" in roles else None
    header = hdus[0].header
    return make_spectrum(
        wave * _wavelength_scale(hdu, roles["wavelength"]),
        flux * scale,
        **_uncertainty(hdus, key, roles.get("error"), scale),
        bad=bits,
        unit=unit if target_unit is None else target_unit,
        medium=agreed_medium(_stated_medium(hdu, roles["wavelength"]), medium),
        frame=stated_frame(header, hdu.header),
        barycentric_correction=first_number(header, *_CORRECTIONS),
        name=star_of(header, hdu.header),
        resolving_power=first_number(header, "SPEC_RES"),
        **({} if bits is None else {"bitmask": bits.astype(np.int64)}),
        unread=_unread(hdu, roles),
        **more_metadata,
    )


def _checked_table(hdus, key):
    hdu = table_of(hdus, key)
    n_rows = len(data_of(hdus, key))
    if n_rows != 1:
        raise FileFormatError(
            f"HDU {key} must have one row, whose cells hold vectors; it has {n_rows}. "
            "Pass format='fits-table' for a table of one pixel per row."
        )
    return hdu


def _roles(hdu):
    """Return {column: role} by the TUTYP of the columns."""
    found = {}
    for name in hdu.columns.names:
        role = _UTYPES.get(_column_keyword(hdu, name, "TUTYP").lower())
        if role is not None and role not in found.values():
            found[name] = role
    return found


def _assigned(hdu):
    """Return {role: column} for wavelength, flux, error and quality.

    TUTYP decides. Without it names do, and the error must be that of the flux.
    """
    names = hdu.columns.names
    roles = {role: name for name, role in _roles(hdu).items()}
    roles.setdefault("wavelength", first_of("wavelength", names))
    if "flux" not in roles:
        pair = next((pair for pair in _PAIRS if set(pair) <= set(names)), None)
        if pair is None:
            wanted = ", or ".join(" and ".join(pair) for pair in _PAIRS)
            raise FileFormatError(
                f"HDU {hdu.name} must have the columns {wanted}, or say with TUTYP "
                f"what its columns hold; it has {', '.join(names)}. Check that the "
                "file is complete and of this format."
            )
        roles["flux"], roles["error"] = pair
    if roles["wavelength"] is None:
        raise FileFormatError(
            f"HDU {hdu.name} has no column WAVE; it has {', '.join(names)}. Check that "
            "the file is complete and of this format."
        )
    # FLUX_REDUCED has a quality of its own
    for name in (roles["flux"].replace("FLUX", "QUAL"), "QUAL"):
        if name in names and name != roles["flux"]:
            roles.setdefault("quality", name)
    return roles


def _unread(hdu, roles):
    """Return what looks like an error or a mask, of this flux or of no other."""
    known = {*roles.values(), *(name for pair in _PAIRS for name in pair)}
    known |= {"QUAL", "QUAL_REDUCED"}
    return [
        name
        for name in hdu.columns.names
        if name not in known
        and role_of(name) in _UNEXPECTED
        and not _column_keyword(hdu, name, "TUTYP").lower().startswith("eso:")
    ]


def _column_keyword(hdu, column, prefix):
    """Return a keyword such as TUNIT of a column, or an empty text."""
    number = hdu.columns.names.index(column) + 1
    return str(hdu.header.get(f"{prefix}{number}", "")).strip()


def _scale(unit, target, column):
    from astropy import units

    try:
        return unit.to(target)
    except units.UnitConversionError as error:
        raise FileFormatError(
            f"The unit of column {column}, {unit.to_string()!r}, must amount to "
            "erg/s/cm2/Å. Pass flux_unit=, an astropy unit."
        ) from error


def _wavelength_scale(hdu, column):
    from astropy import units

    text = _column_keyword(hdu, column, "TUNIT")
    try:
        return as_unit(text, f"column {column}").to(units.AA)
    except units.UnitConversionError as error:
        raise FileFormatError(
            f"The unit of column {column}, {text!r}, must be one of length. Correct "
            "TUNIT in the header."
        ) from error


def _uncertainty(hdus, key, column, scale):
    """Return the error as make_spectrum takes it, or none if the file knows none."""
    if column is None:
        return {}
    values = column_of(hdus, key, column)
    if not np.isfinite(values).any():  # so do the HARPS and FEROS pipelines
        return {}
    if role_of(column) == "ivar":
        return {"ivar": values / scale**2}
    return {"error": values * scale}


def _stated_medium(hdu, column):
    """Return the medium by the UCD of the wavelengths, where ESO states it."""
    words = _column_keyword(hdu, column, "TUCD").lower().split(";")
    if words[0] != "em.wl":
        return None
    return "air" if "obs.atmos" in words else "vacuum"
