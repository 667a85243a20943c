"""Arrays of specutils objects, and of the containers that hold them.

Each kind of container keeps axes, errors and masks in its own way.
"""

import sys

import numpy as np

from sk_payne.spectra._arms import group_arms, warn_of_arms
from sk_payne.spectra._frame import read_frame
from sk_payne.spectra._spectrum_set import SpectrumSet

__all__ = [
    "ACCEPTED",
    "check_same_unit",
    "specutils_containers",
    "stated_media",
    "unpack",
]

ACCEPTED = (
    "a SpectrumSet, a 1-D or 2-D specutils Spectrum, a SpectrumCollection, a list or "
    "SpectrumList of 1-D Spectrum, a list of such lists (the arms of each star), or an "
    "array of shape (n_spectra, n_wavelengths)"
)


def specutils_containers(X):
    """Find the specutils objects in whatever may hold them.

    Parameters
    ----------
    X : object
        As :func:`as_spectra` takes it.

    Returns
    -------
    containers : None or list
        None if `X` holds none. Otherwise Spectrum objects and SpectrumCollections, one
        after the other; a star of several arms is a list of its own.

    Raises
    ------
    TypeError
        If a list holds something else as well.
    ValueError
        If a star has no arm, or a list holds spectra that are not 1-D.

    Warns
    -----
    UserWarning
        If neighbours have one name and hardly a wavelength in common.
    """
    # Without specutils imported by somebody, X cannot hold its objects; importing it
    # here would cost seconds to users of plain arrays.
    if "specutils" not in sys.modules:
        return None
    from specutils import Spectrum, SpectrumCollection

    if isinstance(X, (Spectrum, SpectrumCollection)):
        return [X]
    if isinstance(X, np.ndarray) and X.dtype == object:
        X = list(X.ravel())
    if not isinstance(X, (list, tuple)):
        return None
    stars = [s if isinstance(s, (list, tuple)) else [s] for s in X]
    known = (Spectrum, SpectrumCollection)
    if not any(isinstance(arm, known) for star in stars for arm in star):
        return None
    for i, star in enumerate(stars):
        if not star:
            raise ValueError(
                f"`X` must hold at least one arm of every star; item {i} is empty."
            )
        for spectrum in star:
            _check_one_star(spectrum, i)
    stars = [star[0] if len(star) == 1 else star for star in stars]
    stars = list(group_arms(stars))
    # up to the caller of as_spectra
    warn_of_arms(stars, stacklevel=4)
    return stars


def _check_one_star(spectrum, i):
    from specutils import Spectrum

    if not isinstance(spectrum, Spectrum):
        raise TypeError(
            "`X` must hold nothing but 1-D Spectrum objects when it is a list; "
            f"item {i} is a {type(spectrum).__name__}. Pass {ACCEPTED}."
        )
    if spectrum.flux.ndim != 1:
        raise ValueError(
            "`X` must hold 1-D spectra when it is a list; item "
            f"{i} has the shape {spectrum.flux.shape}. Pass 2-D spectra one by "
            "one, or split them into rows."
        )


def unpack(container, position):
    """Read one container, its pixels ordered by wavelength.

    Parameters
    ----------
    container : Spectrum or SpectrumCollection
        At most two dimensions.
    position : int
        Number of its first spectrum among all, for messages.

    Returns
    -------
    spectra : SpectrumSet
        Its medium is None. Bad pixels have a flux and an ivar of 0.

    Raises
    ------
    ValueError
        If dimensions, units, errors or resolution are not as they must be.
    """
    # A collection always has its spectral axis last, but one made from 1-D spectra
    # repeats their `spectral_axis_index` of 0.
    axis = container.spectral_axis_index
    if axis is None or container.spectral_axis.ndim > 1:
        axis = -1
    if container.flux.ndim > 2:
        raise ValueError(
            "`X` must hold 1-D or 2-D spectra; got flux of the shape "
            f"{container.flux.shape}. Reshape a cube to (n_spectra, n_wavelengths)."
        )

    def rows(values):
        return np.atleast_2d(np.moveaxis(np.asarray(values), axis, -1))

    unit = _plain_unit(container.flux.unit)
    flux = rows(container.flux.to_value(unit)).astype(np.float64)
    bad = ~np.isfinite(flux)
    if container.mask is not None:
        bad |= rows(np.broadcast_to(container.mask, container.flux.shape)).astype(bool)
    if container.uncertainty is None:
        ivar = np.ones_like(flux)
    else:
        values, power = _error_values(container.uncertainty, unit)
        values = rows(np.broadcast_to(values, container.flux.shape))
        ivar = _ivar_of_survey(values, power, bad, position)
    bad |= ivar == 0
    flux, ivar = np.where(bad, 0.0, flux), np.where(bad, 0.0, ivar)
    wavelength = np.atleast_2d(_wavelength_values(container))
    power, matrix = _stated_resolution(container, flux.shape)
    backwards = wavelength[:, :1] > wavelength[:, -1:]
    wavelength, flux, ivar = (
        np.where(backwards, values[:, ::-1], values)
        for values in (wavelength, flux, ivar)
    )
    if power is not None:
        power = np.where(backwards, power[:, ::-1], power)
    if matrix is not None:
        # what was before a pixel is now behind it
        matrix = np.where(backwards[..., None], matrix[:, ::-1, ::-1], matrix)
    shared = (wavelength == wavelength[0]).all()
    return SpectrumSet(
        flux,
        ivar,
        wavelength=wavelength[0] if shared else wavelength,
        has_uncertainty=container.uncertainty is not None,
        resolving_power=power,
        resolution_matrix=matrix,
        frame=_stated_frames(container, len(flux)),
    )


def _stated_frames(container, n):
    """Frames that metas state, "" where they do not; None if none does."""
    frames = [read_frame(meta.get("frame")) or "" for meta in _metas(container)]
    return np.broadcast_to(frames, n) if any(frames) else None


def _stated_resolution(container, shape):
    """Return resolving powers and rows of resolution matrices that metas state."""
    powers, matrices = [], []
    for meta in _metas(container):
        powers.append(meta.get("resolving_power"))
        matrices.append(meta.get("resolution_matrix"))
    power = matrix = None
    if any(value is not None for value in powers):
        rows = [np.nan if value is None else value for value in powers]
        power = _broadcast_meta("resolving_power", rows, shape)
        if (power <= 0).any():
            raise ValueError(
                '`meta["resolving_power"]` must be positive; got '
                f"{power[power <= 0][0]}. Leave it out where it is not known."
            )
    if any(value is not None for value in matrices):
        if len(matrices) != 1 or np.ndim(matrices[0]) != 2:
            raise ValueError(
                '`meta["resolution_matrix"]` must be of shape (n_diag, n_pixels), for '
                "a 1-D spectrum. Split other spectra into rows."
            )
        matrix = _rows_of_diagonals(np.asarray(matrices[0], dtype=np.float64), shape)
    return power, matrix


def _broadcast_meta(name, rows, shape):
    try:
        values = [np.broadcast_to(row, shape[1]) for row in rows]
        return np.array(np.broadcast_to(values, shape), dtype=np.float64)
    except ValueError as error:
        raise ValueError(
            f'`meta["{name}"]` must be one number, or one per pixel; got '
            f"{[np.shape(row) for row in rows]} for spectra of {shape[1]} pixels."
        ) from error


def _rows_of_diagonals(diagonals, shape):
    """Return the rows (1, p, d) of a matrix whose diagonals a survey gives.

    Diagonal k holds at pixel j what that pixel adds to the pixel j + k - d // 2, which
    is how DESI writes them.
    """
    n_diagonals, n_pixels = diagonals.shape
    if n_diagonals % 2 == 0 or n_pixels != shape[1]:
        raise ValueError(
            '`meta["resolution_matrix"]` must have an odd number of diagonals of '
            f"{shape[1]} pixels; got {diagonals.shape}."
        )
    half = n_diagonals // 2
    rows = np.zeros((n_pixels, n_diagonals))
    for k, diagonal in enumerate(diagonals):
        # of the pixel that is `offset` behind the one that sees it
        offset = half - k
        sees = np.arange(max(0, -offset), min(n_pixels, n_pixels - offset))
        rows[sees, offset + half] = diagonal[sees + offset]
    return rows[None]


def _wavelength_values(container):
    from astropy import units

    try:
        return np.asarray(container.wavelength.to_value(units.AA), dtype=np.float64)
    except units.UnitConversionError as error:
        raise ValueError(
            "`X` must have spectral axes that amount to wavelengths; got the unit "
            f"{container.spectral_axis.unit}. Pass wavelength, frequency or energy."
        ) from error


def _plain_unit(unit):
    """Return the unit that flux is read in: percent and the like become fractions."""
    from astropy import units

    if unit.is_equivalent(units.dimensionless_unscaled):
        return units.dimensionless_unscaled
    return unit


def check_same_unit(containers):
    """Refuse spectra whose flux differs in unit.

    Parameters
    ----------
    containers : list of Spectrum or SpectrumCollection
        At least one.

    Raises
    ------
    ValueError
        If one has another unit than the first.
    """
    first = containers[0].flux.unit
    for i, container in enumerate(containers):
        if container.flux.unit != first:
            raise ValueError(
                "`X` must have flux in one unit, since units are dropped; spectrum 0 "
                f"is in {first.to_string() or 'no unit'!r}, spectrum {i} in "
                f"{container.flux.unit.to_string() or 'no unit'!r}. "
                "Convert the spectra to one unit first."
            )


# How 1 sigma, its square and the inverse square scale with the unit of the flux.
_POWERS = {"std": 1, "var": 2, "ivar": -2}


def _error_values(uncertainty, flux_unit):
    """Return the values of an error in the unit of the flux, and its power of sigma."""
    kind = uncertainty.uncertainty_type
    if kind not in _POWERS:
        raise ValueError(
            "The uncertainty of a Spectrum must be a StdDevUncertainty, "
            f"VarianceUncertainty or InverseVariance; got "
            f"{type(uncertainty).__name__}. Convert it to one of these."
        )
    power = _POWERS[kind]
    values = np.asarray(uncertainty.array, dtype=np.float64)
    if uncertainty.unit is None:
        return values, power
    return values * uncertainty.unit.to(flux_unit**power), power


def _ivar_of_survey(values, power, bad, position):
    """Return the inverse variance, 0 where an error says nothing."""
    negative = ~bad & (values < 0)
    if negative.any():
        row, pixel = np.argwhere(negative)[0]
        raise ValueError(
            "The uncertainty of a Spectrum must not be negative at pixels that are "
            f"not masked; got {negative.sum()} negative values, the first "
            f"{values[row, pixel]} at spectrum {position + row}, pixel {pixel}. "
            "Pass mask=True at the pixels that hold no information."
        )
    with np.errstate(all="ignore"):
        ivar = values ** (-2.0 / power)
    return np.where(np.isfinite(ivar) & (values > 0), ivar, 0.0)


def stated_media(container):
    """Return the medium that a container states for its wavelengths.

    Parameters
    ----------
    container : Spectrum or SpectrumCollection
        With one meta, or one for each spectrum.

    Returns
    -------
    media : list of str or None
        One for each meta, None where it says nothing.
    """
    return [meta.get("medium") for meta in _metas(container)]


def _metas(container):
    meta = container.meta
    return [m or {} for m in (meta if isinstance(meta, (list, tuple)) else [meta])]
