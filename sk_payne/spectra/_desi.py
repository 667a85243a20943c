"""Spectra of DESI, three arms of many targets in one file.

specutils' loader gives all targets of an arm at once, says no medium, and leaves the
resolution matrices of all of them in the metadata.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._file_units import as_unit
from sk_payne.spectra._spectrum_file import (
    data_of,
    image_of,
    make_spectrum,
    pick_hdu,
)

__all__ = ["is_desi", "read_desi"]

_ARMS = ("B", "R", "Z")
_FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))


def is_desi(hdus):
    """Return whether a FITS file holds spectra of DESI."""
    has_arm = any(f"{arm}_{part}" in hdus for arm in _ARMS for part in ("FLUX", "IVAR"))
    # anybody may call images so, but not with these beside them
    return has_arm and (
        "FIBERMAP" in hdus or any(f"{arm}_RESOLUTION" in hdus for arm in _ARMS)
    )


def read_desi(hdus, *, target=None):
    """Read the arms of targets of a coadd or spectra file, exposure by exposure."""
    from specutils import SpectrumList

    names = {hdu.name for hdu in hdus}
    arms = [arm for arm in _ARMS if any(name.startswith(f"{arm}_") for name in names)]
    targets = _targets(hdus)
    return SpectrumList(
        [
            _read_arm(hdus, arm, row, len(targets), name=str(targets[row]))
            for row in _rows(targets, target)
            for arm in arms or _ARMS
        ]
    )


def _targets(hdus):
    if "TARGETID" not in pick_hdu(hdus, "FIBERMAP").columns.names:
        raise FileFormatError("HDU FIBERMAP has no column TARGETID.")
    return np.array(data_of(hdus, "FIBERMAP")["TARGETID"], dtype=np.int64)


def _rows(targets, target):
    """Return the rows of targets, of which spectra files have one per exposure."""
    known = np.unique(targets)
    some = ", ".join(str(one) for one in known[:3])
    if target is None:
        if len(known) != 1:
            raise ValueError(
                f"`target` must be given for a file of {len(known)} targets. Pass a "
                f"TARGETID, or a list of them; the first are {some}."
            )
        target = known[0]
    wanted = np.atleast_1d(np.asarray(target))
    missing = [one for one in wanted.ravel().tolist() if one not in known]
    if wanted.ndim != 1 or len(wanted) == 0 or missing:
        named = f" with {missing[0]!r}" if missing and np.ndim(target) else ""
        raise ValueError(
            "`target` must be a TARGETID of this file, or a list of them; got "
            f"{target!r}{named}. It has {len(known)}; the first are {some}."
        )
    return np.concatenate([np.flatnonzero(targets == one) for one in wanted])


def _read_arm(hdus, arm, row, n_rows, name):
    wavelength = image_of(hdus, f"{arm}_WAVELENGTH", n_dimensions=(1,))
    shape = (n_rows, len(wavelength))
    flux = image_of(hdus, f"{arm}_FLUX", shape=shape)[row]
    ivar = image_of(hdus, f"{arm}_IVAR", shape=shape)[row]
    bits = image_of(hdus, f"{arm}_MASK", shape=shape)[row].astype(np.int64)
    matrix = image_of(hdus, f"{arm}_RESOLUTION", n_dimensions=(3,))
    n_diag = matrix.shape[1]
    if (matrix.shape[0], matrix.shape[2]) != shape or not (
        n_diag % 2 and n_diag < shape[1]
    ):
        raise FileFormatError(
            f"HDU {arm}_RESOLUTION must have the shape ({shape[0]}, n_diag, {shape[1]})"
            f" with an odd, smaller n_diag; its shape is {matrix.shape}. Copy the file "
            "again."
        )
    matrix = np.array(matrix[row], dtype=np.float64)
    wavelength = np.array(wavelength, dtype=np.float64)
    return make_spectrum(
        wavelength,
        flux,
        ivar=ivar,
        bad=bits != 0,
        unit=_unit(hdus, arm),
        medium="vacuum",
        frame="barycentric",
        name=name,
        resolving_power=_resolving_power(matrix, wavelength),
        arm=arm,
        bitmask=bits,
        resolution_matrix=matrix,
    )


def _unit(hdus, arm):
    text = pick_hdu(hdus, f"{arm}_FLUX").header.get("BUNIT")
    if text is None:
        text = "10**-17 erg/(s cm2 Angstrom)"  # by the data model
    return as_unit(text, f"HDU {arm}_FLUX")


def _resolving_power(matrix, wavelength):
    """Return the resolving power of the Gaussian with the second moment of the LSF.

    Column j of the full matrix is what a line at pixel j becomes, and column j of the
    diagonals holds the same numbers, since scipy's DIA format, which DESI uses, has
    ``matrix[k, j]`` in row ``j - offset[k]``. NaN where there is no such moment.
    """
    reach = matrix.shape[0] // 2
    distance = np.arange(-reach, reach + 1)[:, None]  # rows away from the line, pixels
    # Lines near an end lose part of their profile: they get that of the last whole one.
    last = len(wavelength) - 1 - reach
    profile = matrix[:, np.clip(np.arange(len(wavelength)), reach, last)]
    with np.errstate(all="ignore"):
        total = profile.sum(axis=0)
        mean = (distance * profile).sum(axis=0) / total
        variance = ((distance - mean) ** 2 * profile).sum(axis=0) / total
        width = _FWHM_PER_SIGMA * np.sqrt(variance) * np.abs(np.gradient(wavelength))
        power = wavelength / width
    return np.where(np.isfinite(power) & (total > 0), power, np.nan)
