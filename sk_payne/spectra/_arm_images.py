"""Spectra in images named after arms: BLUE_DATA, BLUE_IVAR, RED_DATA, ..., and WEAVE.

Each arm has its own errors, mask and wavelengths; reading the first image alone would
lose the others.
"""

import re

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._columns import errors_and_mask, role_of
from sk_payne.spectra._file_units import unit_or_ask
from sk_payne.spectra._fits_image import has_wavelengths, wavelengths_of
from sk_payne.spectra._header_statements import star_of, stated_frame, stated_medium
from sk_payne.spectra._spectrum_file import (
    agreed_medium,
    data_of,
    describe_hdus,
    image_of,
    make_spectrum,
    table_of,
)
from sk_payne.spectra._wavelength_units import check_unstated_unit, scale_to_angstrom

__all__ = ["is_arms", "is_weave", "read_arms", "read_weave"]

_FLUX = re.compile(r"(.+)_(DATA|FLUX|SCI|SCIENCE|COUNTS|SPEC|SPECTRUM)$", re.IGNORECASE)

# Columns of FIBTABLE that name a target, in the order in which they are asked.
_TARGETS = ("CNAME", "TARGID", "TARGNAME")

# Spectra of WEAVE before the sky was subtracted: never read.
_BEFORE_SKY = "_NOSS"


# Arms of one star ----------------------------------------------------------------


def is_arms(hdus):
    """Return whether a FITS file has images of one row named after arms."""
    arms = _arms(hdus)
    return bool(arms) and all(_is_row(hdus[key]) for key in arms.values())


def read_arms(hdus, *, medium=None, wavelength_unit=None, flux_unit=None):
    """Read all arms with their errors and masks."""
    from specutils import SpectrumList

    arms = _arms(hdus)
    if not is_arms(hdus):
        raise FileFormatError(
            "It has no images of one row that are named after arms, such as BLUE_DATA,"
            f" but {describe_hdus(hdus)}. Build specutils Spectrum objects from its "
            "arrays."
        )
    spectra = [
        _read(hdus, arm, None, None, medium, wavelength_unit, flux_unit) for arm in arms
    ]
    prefixes = tuple(f"{arm}_".lower() for arm in arms)
    left = [
        f"image {hdu.name or i}"
        for i, hdu in enumerate(hdus)
        if hdu.is_image and hdu.shape and not hdu.name.lower().startswith(prefixes)
    ]
    spectra[0].meta["unread"] = [*spectra[0].meta["unread"], *left]
    return SpectrumList(spectra)


# WEAVE ---------------------------------------------------------------------------


def is_weave(hdus):
    """Return whether a FITS file is a Level 1 file of WEAVE, of one arm."""
    endings = ("_DATA", "_IVAR", "_DATA_NOSS")
    return "FIBTABLE" in hdus and any(h.name.upper().endswith(endings) for h in hdus)


def read_weave(hdus, *, target=None, medium=None, flux_unit=None):
    """Read spectra of targets, in counts."""
    from specutils import SpectrumList

    arms = _arms(hdus)
    if not arms:
        raise FileFormatError(
            "It has no image whose name ends in _DATA, such as BLUE_DATA, with the "
            "keywords CRVAL1 and CD1_1, but "
            f"{describe_hdus(hdus)}. Check that the file is complete and of this "
            "format."
        )
    rows = _rows(hdus, target)
    spectra = [
        _read(hdus, arm, row, name, medium, None, flux_unit)
        for row, name in rows
        for arm in arms
    ]
    return spectra[0] if len(spectra) == 1 else SpectrumList(spectra)


def _rows(hdus, target):
    """Return row and name of the fibres of targets."""
    columns = table_of(hdus, "FIBTABLE").columns.names
    key = next((name for name in _TARGETS if name in columns), None)
    if key is None:
        raise FileFormatError(
            f"HDU FIBTABLE has none of the columns {', '.join(_TARGETS)}; it has "
            f"{', '.join(columns)}. Check that the file is complete and of this format."
        )
    table = data_of(hdus, "FIBTABLE")
    names = [str(name).strip() for name in table[key]]
    rows = range(len(names))
    if "NSPEC" in (name.upper() for name in columns):
        rows = [int(number) - 1 for number in table["NSPEC"]]
    if target is None and len(names) == 1:
        target = names[0]
    wanted = [target] if isinstance(target, str) else list(target or ())
    missing = [one for one in wanted if one not in names]
    if not wanted or missing:
        got = f"got {missing[0]!r}" if missing else "none is given"
        raise ValueError(
            f"`target` must be one or several of the {len(names)} {key} of this file; "
            f"{got}. The first are {', '.join(map(repr, names[:3]))}."
        )
    return [
        (row, name)
        for one in wanted
        for row, name in zip(rows, names, strict=True)
        if name == one
    ]


# Both ----------------------------------------------------------------------------


def _arms(hdus):
    """Return {arm: number of the HDU of its flux}."""
    found = {}
    for key, hdu in enumerate(hdus):
        match = _FLUX.match(hdu.name)
        if match and hdu.is_image and hdu.shape:
            if has_wavelengths(hdu.header) or _wavelength_image(hdus, match[1]):
                found.setdefault(match[1], key)
    return found


def _wavelength_image(hdus, arm):
    """Return the name of the image of wavelengths of an arm, or None."""
    prefix = f"{arm}_".lower()
    names = (hdu.name for hdu in hdus if hdu.name.lower().startswith(prefix))
    of_role = (n for n in names if role_of(n[len(prefix) :]) == "wavelength")
    return next(of_role, None)


def _wavelength(hdus, arm, key, pixels, unit):
    """Return wavelengths in Å, from their image or the header of the flux."""
    name = _wavelength_image(hdus, arm)
    if name is None:
        header, shape = hdus[key].header, hdus[key].shape
        return wavelengths_of(header, shape[-1], unit)
    unit = unit or hdus[name].header.get("BUNIT")
    wavelength = pixels(name)
    if unit is None:
        check_unstated_unit(wavelength)
        return wavelength
    unit = unit_or_ask(unit, "the wavelengths", "wavelength_unit")
    return wavelength * scale_to_angstrom(unit)


def _is_row(hdu):
    return hdu.shape[-1] == np.prod(hdu.shape)


def _read(hdus, arm, row, name, medium, wavelength_unit, flux_unit):
    """Read one arm, of one row of a file of many."""
    key = _arms(hdus)[arm]
    header, shape = hdus[key].header, hdus[key].shape

    def pixels(number):
        image = image_of(hdus, number, shape=shape)
        if row is None:
            return np.array(image, dtype=np.float64).ravel()
        if image.ndim != 2 or not 0 <= row < len(image):
            raise FileFormatError(
                f"HDU {number} must have a row for each fibre of FIBTABLE, row {row} "
                f"among them; its shape is {image.shape}. Copy the file again."
            )
        return np.array(image[row], dtype=np.float64)

    parts = {
        hdu.name[len(arm) + 1 :]: number
        for number, hdu in enumerate(hdus)
        if hdu.is_image
        and hdu.shape
        and number != key
        and hdu.name.lower().startswith(f"{arm}_".lower())
        and not hdu.name.upper().endswith(_BEFORE_SKY)
    }
    found = errors_and_mask(list(parts), lambda part, power: pixels(parts[part]))
    left = [part for part in parts if role_of(part) is None and part != "SENSFUNC"]
    unit = header.get("BUNIT", "") if flux_unit is None else flux_unit
    primary = hdus[0].header
    return make_spectrum(
        _wavelength(hdus, arm, key, pixels, wavelength_unit),
        pixels(key),
        **found
        | {"unread": [f"image {arm}_{part}" for part in [*found["unread"], *left]]},
        unit=unit_or_ask(unit, "the flux", "flux_unit"),
        medium=agreed_medium(stated_medium(header, primary), medium),
        frame=stated_frame(header, primary),
        name=name or star_of(primary, header) or "star",
        arm=arm,
        **({"sensitivity": pixels(parts["SENSFUNC"])} if "SENSFUNC" in parts else {}),
    )
