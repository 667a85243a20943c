"""Functions of all readers of spectrum files: look-up of data, and the Spectrum.

All readers use the same messages, which call the file "it"; `read_spectra` adds its
path.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._medium import check_medium
from sk_payne.spectra._padding import find_padding

__all__ = [
    "agreed_medium",
    "check_columns",
    "column_of",
    "data_of",
    "describe_hdus",
    "image_of",
    "make_spectrum",
    "pick_hdu",
    "table_of",
]

# Names of columns in a message, at most.
_N_SHOWN = 5

# Bytes of a block of FITS.
_BLOCK = 2880

_REMEDY = "Check that the file is complete and of this format."


# Look up -------------------------------------------------------------------------


def describe_hdus(hdus):
    """Give one line on each HDU, without reading data."""
    lines = []
    for i, hdu in enumerate(hdus):
        if hdu.is_image:
            content = f"image {hdu.shape}" if hdu.shape else "no data"
        else:
            names = hdu.columns.names
            shown = ", ".join(names[:_N_SHOWN] + ["..."] * (len(names) > _N_SHOWN))
            content = f"table of {len(names)} columns: {shown}"
        lines.append(f"{i} {hdu.name or 'unnamed'} ({content})")
    return ", ".join(lines)


def pick_hdu(hdus, key):
    """Return the HDU of a number or name."""
    try:
        return hdus[key]
    except (IndexError, KeyError) as error:
        raise FileFormatError(
            f"It has no HDU {key}, but {describe_hdus(hdus)}. {_REMEDY}"
        ) from error


def data_of(hdus, key):
    """Return what an HDU holds, an array or a table."""
    hdu = pick_hdu(hdus, key)
    _check_complete(hdu, key)
    try:
        data = hdu.data
    except Exception as error:  # astropy lets many kinds through
        raise FileFormatError(
            f"HDU {key} is damaged or truncated ({error}). Copy the file again."
        ) from error
    if data is None:
        raise FileFormatError(f"HDU {key} holds no data. {_REMEDY}")
    return data


def _check_complete(hdu, key):
    """Refuse data that end before their header says, before memory is taken."""
    info = hdu.fileinfo()
    if not info:
        return
    file = info["file"]
    here = file.tell()
    file.seek(0, 2)
    end = file.tell()
    file.seek(here)
    # some writers leave out the filling of the last block
    if info["datLoc"] + info["datSpan"] - _BLOCK >= end and info["datSpan"]:
        raise FileFormatError(
            f"HDU {key} is truncated: its header states {info['datSpan']} bytes of "
            f"data, and the file has {max(end - info['datLoc'], 0)}. Copy the file "
            "again."
        )


def image_of(hdus, key, *, n_dimensions=None, shape=None):
    """Return the array of an image HDU, after checking its dimensions or its shape."""
    if not pick_hdu(hdus, key).is_image:
        raise FileFormatError(f"HDU {key} must be an image, and is a table. {_REMEDY}")
    data = data_of(hdus, key)
    if n_dimensions is not None and data.ndim not in n_dimensions:
        wanted = " or ".join(str(n) for n in n_dimensions)
        raise FileFormatError(
            f"HDU {key} must have {wanted} dimensions; its shape is {data.shape}. "
            f"{_REMEDY}"
        )
    if shape is not None and data.shape != shape:
        raise FileFormatError(
            f"HDU {key} must have the shape of the flux, {shape}; its shape is "
            f"{data.shape}. {_REMEDY}"
        )
    return data


def table_of(hdus, key):
    """Return a table HDU, after checking that it is one."""
    hdu = pick_hdu(hdus, key)
    if hdu.is_image:
        raise FileFormatError(f"HDU {key} must be a table, and is an image. {_REMEDY}")
    return hdu


def check_columns(hdus, key, *names):
    """Refuse a table that lacks a column, in capitals or not; name those it has."""
    known = table_of(hdus, key).columns.names
    small = {name.lower() for name in known}
    missing = [name for name in names if name.lower() not in small]
    if missing:
        raise FileFormatError(
            f"HDU {key} has no column {missing[0]}; it has {', '.join(known)}. "
            f"{_REMEDY}"
        )


def column_of(hdus, key, name, row=None):
    """Return a vector from a table, as integers or float64.

    Parameters
    ----------
    hdus : HDUList
        The file.
    key : int or str
        Number or name of the HDU.
    name : str
        Name of the column.
    row : None or int, default=None
        The row whose cell holds the vector; None takes the only row of a table whose
        cells are vectors, and otherwise a number from each row.

    Returns
    -------
    values : ndarray of shape (n_pixels,)
        A copy.
    """
    check_columns(hdus, key, name)
    data = data_of(hdus, key)
    try:
        column = data[name]
        if row is not None:
            column = column[row]
        elif len(data) == 1:
            column = column[0]
        values = np.array(column)
        if values.dtype.kind not in "iub":
            values = values.astype(np.float64)
    except (IndexError, KeyError, TypeError, ValueError, OSError) as error:
        raise FileFormatError(
            f"The column {name} of HDU {key} must hold numbers ({error}). {_REMEDY}"
        ) from error
    if values.ndim != 1:
        raise FileFormatError(
            f"The column {name} of HDU {key} must hold a vector; its shape is "
            f"{values.shape}. {_REMEDY}"
        )
    return values


def agreed_medium(stated, medium):
    """Return the medium that a file states or the caller gives."""
    if medium is not None:
        check_medium(medium)
    if stated is None and medium is None:
        raise FileFormatError(
            "Nothing in it says whether its wavelengths are in air or in vacuum. Pass "
            "medium='air' or medium='vacuum'; the two differ by 80 km/s."
        )
    if stated is None:
        return medium
    stated = str(stated).lower()
    if stated not in ("air", "vacuum"):
        raise FileFormatError(
            f"It states the medium {stated!r}, which must be 'air' or 'vacuum'. "
            "Correct the file."
        )
    if medium not in (None, stated):
        raise FileFormatError(
            f"It states that its wavelengths are in {stated}, but `medium` is "
            f"{medium!r}. Leave out `medium`, or correct the file."
        )
    return stated


# Build ---------------------------------------------------------------------------


def make_spectrum(
    wavelength,
    flux,
    *,
    unit,
    medium,
    frame,
    name,
    error=None,
    ivar=None,
    bad=None,
    resolving_power=None,
    **meta,
):
    """Put arrays of a file into a Spectrum.

    Parameters
    ----------
    wavelength : array-like of shape (n_pixels,)
        Å, strictly increasing or decreasing.
    flux : array-like of shape (n_pixels,)
        In `unit`.
    unit : astropy unit
        That of the flux.
    medium : {"air", "vacuum"}
        Medium of the wavelengths.
    frame : str or None
        Frame of the wavelengths, such as "barycentric".
    name : object or None
        Name of the star in the file; kept as text.
    error, ivar : None or array-like of shape (n_pixels,)
        Error (1 sigma) or inverse variance of the flux, not both.
    bad : None or array-like of bool, shape (n_pixels,)
        Pixels that the file marks. Those without a finite flux and a positive, finite
        error are added, and those that hold padding.
    resolving_power : None, float or array of shape (n_pixels,)
        Wavelength over the full width at half maximum.
    **meta : object
        More entries of the metadata.

    Returns
    -------
    spectrum : specutils.Spectrum
        With copies of all arrays. ``meta["n_padding"]`` counts pixels of padding.
    """
    from astropy import units
    from astropy.nddata import InverseVariance, StdDevUncertainty
    from specutils import Spectrum

    wavelength = _checked_wavelength(wavelength)
    flux = _vector(flux, "flux", wavelength.shape)
    mask = ~np.isfinite(flux)
    if bad is not None:
        mask = mask | (_vector(bad, "mask", wavelength.shape) != 0)
    uncertainty, sigma = None, None
    for values, kind, of in (
        (error, StdDevUncertainty, unit),
        (ivar, InverseVariance, unit**-2),
    ):
        if values is not None:
            values = _vector(values, "error", wavelength.shape)
            mask = mask | ~(np.isfinite(values) & (values > 0))
            uncertainty = kind(values, unit=of)
            sigma = values if kind is StdDevUncertainty else _sigma(values)
    padding = find_padding(flux, sigma)
    return Spectrum(
        flux=flux * unit,
        spectral_axis=wavelength * units.AA,
        uncertainty=uncertainty,
        mask=mask | padding,
        meta={
            "medium": medium,
            "frame": frame,
            "object": None if name is None else str(name).strip(),
            "resolving_power": resolving_power,
            "n_padding": int(padding.sum()),
            **meta,
        },
    )


def _sigma(ivar):
    with np.errstate(divide="ignore", invalid="ignore"):
        return ivar**-0.5


def _checked_wavelength(wavelength):
    wavelength = np.array(wavelength, dtype=np.float64)
    if wavelength.ndim != 1 or wavelength.size == 0:
        raise FileFormatError(
            "Its wavelengths must be one row of numbers; their shape is "
            f"{wavelength.shape}. {_REMEDY}"
        )
    steps = np.diff(wavelength)
    if not (
        np.isfinite(wavelength).all()
        and (wavelength > 0).all()
        and ((steps > 0).all() or (steps < 0).all())
    ):
        raise FileFormatError(
            "Its wavelengths must be positive, finite and strictly increasing or "
            f"decreasing; they run from {wavelength[0]:g} to {wavelength[-1]:g}, not "
            "all in order. Sort its pixels and drop those without a wavelength."
        )
    return wavelength


def _vector(values, what, shape):
    try:
        values = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FileFormatError(
            f"Its {what} must hold numbers ({error}). {_REMEDY}"
        ) from error
    if values.shape != shape:
        raise FileFormatError(
            f"Its {what} must have one value per wavelength, {shape}; its shape is "
            f"{values.shape}. {_REMEDY}"
        )
    return values
