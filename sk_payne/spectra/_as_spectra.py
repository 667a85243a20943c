"""as_spectra: whatever holds spectra, unpacked once into a SpectrumSet.

The door of the package: units, masks, kinds of error and padding end here.
"""

import sys

import numpy as np

from sk_payne.spectra._medium import check_medium
from sk_payne.spectra._spectrum_set import SpectrumSet

_ACCEPTED = (
    "a SpectrumSet, a 1-D or 2-D specutils Spectrum, a SpectrumCollection, a list or "
    "SpectrumList of 1-D Spectrum, a list of such lists (the arms of each star), or an "
    "array of shape (n_spectra, n_wavelengths)"
)


def as_spectra(
    X,
    *,
    medium=None,
    uncertainty=None,
    mask=None,
    snr=None,
    require_uncertainty=True,
):
    """Return spectra, in whatever container, as a SpectrumSet.

    Parameters
    ----------
    X : spectra
        One of:

        - SpectrumSet;
        - specutils Spectrum, 1-D (one star) or 2-D (stars on one spectral axis);
        - list, tuple, SpectrumList or object array of 1-D Spectrum, each on its own
          wavelengths and of its own length;
        - list of lists (or of SpectrumList) of 1-D Spectrum: the arms of each star;
        - SpectrumCollection;
        - array-like of shape (n, p): flux on the wavelengths of the model that will
          read it (`wavelength` is None in the result).

        Spectral axes may be in any unit that amounts to a wavelength, in either
        direction. They are taken as stored: an annotated radial velocity shifts
        nothing. Units of flux are dropped.
    medium : None, "air" or "vacuum", default=None
        Medium of the wavelengths. None means that ``meta["medium"]`` of the spectra
        says it; when neither does, the medium of the set is None.
    uncertainty : None or array-like broadcastable to (n, p), default=None
        Error of the flux (1 sigma), for plain arrays only: Spectrum objects carry
        their own. An infinite error means no information.
    mask : None or array-like broadcastable to (n, p), default=None
        Bad pixels (True or not zero), for plain arrays and SpectrumSet: Spectrum
        objects carry their own.
    snr : None, float or array-like of shape (n,), default=None
        Signal-to-noise ratio per pixel of the continuum, which stands for the
        uncertainty of spectra without one: sigma = 1 / snr. Only right for
        continuum-normalised flux.
    require_uncertainty : bool, default=True
        Whether spectra without any uncertainty are an error. Otherwise they get an
        ``ivar`` of 1 at good pixels, and ``has_uncertainty`` False.

    Returns
    -------
    spectra : SpectrumSet
        Flux, inverse variance and wavelengths in Å. Pixels that are masked, have
        a flux that is not finite, or an error that says nothing, have a flux and an
        ivar of 0. A star whose pixels are all bad is kept. Shorter spectra are
        padded at the end with an ivar of 0.

    Raises
    ------
    TypeError
        If `X` holds no spectra.
    ValueError
        If shapes, units or media disagree; if an error is negative, or, in
        `uncertainty`, zero or NaN at a pixel that is not masked; if there is no
        uncertainty but one is required.

    Notes
    -----
    Inside Spectrum objects, an error of zero or NaN masks its pixel, because surveys
    mark bad pixels so. Nothing that is passed is modified.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.spectra import as_spectra
    >>> spectra = as_spectra([[1.0, 0.9, np.nan], [1.0, 0.8, 1.0]], snr=100)
    >>> spectra.ivar
    array([[10000., 10000.,     0.],
           [10000., 10000., 10000.]])
    """
    if medium is not None:
        check_medium(medium)
    if isinstance(X, SpectrumSet):
        found = _from_set(X, medium, uncertainty, mask)
    else:
        containers = _specutils_containers(X)
        if containers is None:
            found = _from_array(X, medium, uncertainty, mask)
        else:
            _refuse_extras(uncertainty, mask)
            found = _from_containers(containers, medium)
    return _with_known_ivar(found, snr, require_uncertainty)


# Recognise -----------------------------------------------------------------------


def _specutils_containers(X):
    """Return the specutils objects in X as a list, or None if X holds none."""
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
    return [star[0] if len(star) == 1 else star for star in stars]


def _check_one_star(spectrum, i):
    from specutils import Spectrum

    if not isinstance(spectrum, Spectrum):
        raise TypeError(
            "`X` must hold nothing but 1-D Spectrum objects when it is a list; "
            f"item {i} is a {type(spectrum).__name__}. Pass {_ACCEPTED}."
        )
    if spectrum.flux.ndim != 1:
        raise ValueError(
            "`X` must hold 1-D spectra when it is a list; item "
            f"{i} has the shape {spectrum.flux.shape}. Pass 2-D spectra one by "
            "one, or split them into rows."
        )


def _refuse_extras(uncertainty, mask):
    for name, value in (("uncertainty", uncertainty), ("mask", mask)):
        if value is not None:
            raise ValueError(
                f"`{name}` goes with plain arrays; Spectrum objects carry their own. "
                f"Build them with Spectrum(..., {name}=...)."
            )


# Unpack --------------------------------------------------------------------------


def _from_set(spectra, medium, uncertainty, mask):
    if uncertainty is not None:
        raise ValueError(
            "`uncertainty` goes with plain arrays; a SpectrumSet carries its own as "
            "`ivar`. Build the set from the array with as_spectra(uncertainty=...)."
        )
    medium = _agree([spectra.medium], medium)
    if mask is None and medium == spectra.medium:
        return spectra
    bad = np.zeros(spectra.shape, bool) if mask is None else _mask(mask, spectra.shape)
    return spectra.replace(
        flux=np.where(bad, 0.0, spectra.flux),
        ivar=np.where(bad, 0.0, spectra.ivar),
        medium=medium,
    )


def _from_array(X, medium, uncertainty, mask):
    flux = _plain_flux(X)
    bad = ~np.isfinite(flux)
    if isinstance(X, np.ma.MaskedArray):
        bad |= np.ma.getmaskarray(X)
    if mask is not None:
        bad |= _mask(mask, flux.shape)
    ivar = np.ones_like(flux) if uncertainty is None else _ivar(uncertainty, bad)
    bad |= ivar == 0
    return SpectrumSet(
        np.where(bad, 0.0, flux),
        np.where(bad, 0.0, ivar),
        medium=medium,
        has_uncertainty=uncertainty is not None,
    )


def _plain_flux(X):
    try:
        flux = np.asarray(X)
        # "same_kind" refuses complex numbers and text; objects convert one by one.
        casting = "unsafe" if flux.dtype == object else "same_kind"
        flux = flux.astype(np.float64, casting=casting)
        if flux.ndim == 0:
            raise TypeError("not an array")
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`X` must be {_ACCEPTED}; got {type(X).__name__} ({error})."
        ) from error
    if flux.size == 0:
        raise ValueError(
            "`X` must hold at least one spectrum and one wavelength; got the shape "
            f"{flux.shape}. Pass one row per spectrum."
        )
    if flux.ndim != 2:
        raise ValueError(
            "`X` must be a 2D array of shape (n_spectra, n_wavelengths); got a "
            f"{flux.ndim}D array of shape {flux.shape}. Reshape your data: "
            "array.reshape(1, -1) if it is a single spectrum."
        )
    return flux


def _mask(mask, shape):
    mask = np.asarray(mask)
    try:
        return np.broadcast_to(mask.astype(bool), shape)
    except ValueError as error:
        raise ValueError(
            f"`mask` must broadcast to the shape of the spectra, {shape}; got "
            f"{mask.shape}. Pass one value per pixel, True where it is bad."
        ) from error


def _ivar(uncertainty, bad):
    """Return 1 / uncertainty**2, (n, p), after checking it where pixels are good."""
    try:
        sigma = np.asarray(uncertainty, dtype=np.float64)
        sigma = np.broadcast_to(sigma, bad.shape)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`uncertainty` must be numbers that broadcast to the shape of the "
            f"spectra, {bad.shape}; got {type(uncertainty).__name__} of shape "
            f"{np.shape(uncertainty)}. Pass one error (1 sigma) per pixel."
        ) from error
    with np.errstate(all="ignore"):
        ivar = 1.0 / sigma**2
    wrong = ~bad & ~((sigma > 0) & np.isfinite(ivar))
    if wrong.any():
        row, pixel = np.argwhere(wrong)[0]
        raise ValueError(
            "`uncertainty` must be positive at every pixel that is not masked; got "
            f"{wrong.sum()} zero, negative or NaN values, the first "
            f"{sigma[row, pixel]} at spectrum {row}, pixel {pixel}. "
            "Pass mask=True at the pixels that hold no information."
        )
    return ivar


def _from_containers(containers, medium):
    stars = [c if isinstance(c, list | tuple) else [c] for c in containers]
    every = [arm for star in stars for arm in star]
    _check_same_unit(every)
    sets = [
        SpectrumSet.join_arms([_unpack(arm, i) for arm in star])
        for i, star in enumerate(stars)
    ]
    stated = [m for c in every for m in _stated_media(c)]
    return SpectrumSet.concatenate(sets).replace(medium=_agree(stated, medium))


def _unpack(container, position):
    """Return the set of one container, its pixels ordered by wavelength."""
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
    )


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


def _check_same_unit(containers):
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


# Assemble ------------------------------------------------------------------------


def _stated_media(container):
    return [meta.get("medium") for meta in _metas(container)]


def _metas(container):
    meta = container.meta
    return [m or {} for m in (meta if isinstance(meta, (list, tuple)) else [meta])]


def _agree(stated, medium):
    """Return the one medium that the spectra and the caller agree on."""
    found = {None if m is None else check_medium(m, 'meta["medium"]') for m in stated}
    if medium is not None:
        for other in found - {None, medium}:
            raise ValueError(
                f"`medium` is {medium!r}, but the spectra state {other!r}. Leave out "
                "`medium`, or convert the wavelengths with convert_medium."
            )
        return medium
    if len(found) > 1:
        words = ", ".join(sorted("nothing" if m is None else repr(m) for m in found))
        raise ValueError(
            f"`X` must have its wavelengths in one medium; the spectra state {words}. "
            "Convert them with convert_medium, or pass `medium` where none is stated."
        )
    return found.pop()


def _with_known_ivar(spectra, snr, require_uncertainty):
    """Give rows without an uncertainty the one of `snr`, or refuse them."""
    snr = None if snr is None else _checked_snr(snr, len(spectra))
    unknown = ~spectra.has_uncertainty
    if not unknown.any():
        return spectra
    if snr is None:
        if require_uncertainty:
            raise ValueError(
                f"{unknown.sum()} of {len(spectra)} spectra have no uncertainty, the "
                f"first is spectrum {unknown.argmax()}. Pass `uncertainty=` (1 sigma "
                "per pixel; for Spectrum objects when building them) or `snr=` "
                "(signal-to-noise ratio of the continuum)."
            )
        return spectra
    # Rows without an uncertainty hold an ivar of 1 at good pixels and 0 elsewhere.
    scale = np.where(unknown, snr**2, 1.0)
    return spectra.replace(ivar=spectra.ivar * scale[:, None], has_uncertainty=True)


def _checked_snr(snr, n):
    values = np.asarray(snr, dtype=np.float64)
    if values.shape not in ((), (n,)):
        raise ValueError(
            f"`snr` must be one number or one per spectrum, {(n,)}; got the shape "
            f"{values.shape}. Pass `uncertainty=` for errors that differ by pixel."
        )
    wrong = ~((values > 0) & np.isfinite(values))
    if wrong.any():
        raise ValueError(
            f"`snr` must be positive and finite; got {values[wrong].flat[0]}. "
            "Mask spectra that hold no information instead."
        )
    return values
