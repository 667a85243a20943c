"""as_spectra: arrays, lists and specutils objects become a SpectrumSet.

Units, masks, kinds of error and padding are converted here, once for the package.
"""

import numpy as np

from sk_payne.inputs import read_flux, to_floats
from sk_payne.spectra._containers import (
    ACCEPTED,
    check_same_unit,
    specutils_containers,
    stated_media,
    unpack,
)
from sk_payne.spectra._medium import check_medium
from sk_payne.spectra._spectrum_set import SpectrumSet


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
        - list of lists (or of SpectrumList) of 1-D Spectrum: the arms of each star. In
          a flat list, neighbours of the same ``meta["object"]`` and of different
          ``meta["arm"]`` are arms of one star, as the reader of DESI gives them;
        - SpectrumCollection;
        - array-like of shape (n, p), masked or with a unit if need be: flux on the
          wavelengths of the model that will read it (`wavelength` is None in the
          result).

        Spectral axes may be in any unit that amounts to a wavelength, in either
        direction. They are taken as stored: an annotated radial velocity shifts
        nothing. Units of flux are dropped, but percent and the like become fractions.
    medium : None, "air" or "vacuum", default=None
        Medium of the wavelengths. None means that ``meta["medium"]`` of the spectra
        says it; when neither does, the medium of the set is None.
    uncertainty : None or array-like broadcastable to (n, p), default=None
        Error of the flux (1 sigma), for plain arrays only: Spectrum objects carry
        their own. A unit is converted to that of the flux; numbers without are in it
        already, or are fractions if flux is in percent. An infinite or masked error
        means no information.
    mask : None or array-like broadcastable to (n, p), default=None
        Bad pixels (True or not zero), for plain arrays and SpectrumSet: Spectrum
        objects carry their own.
    snr : None, float or array-like of shape (n,), default=None
        Signal-to-noise ratio per pixel of the continuum, which stands for the
        uncertainty of spectra without one: sigma = 1 / snr. Only right for
        continuum-normalised flux, and an error if the median flux of a spectrum with
        wavelengths is positive and below 0.01 or above 10.
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
        uncertainty but one is required, or `snr` does not go with the flux.

    Warns
    -----
    UserWarning
        If neighbours in a list have the same ``meta["object"]`` and share less than
        half of their wavelengths, but do not state that they are arms.

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
        containers = specutils_containers(X)
        if containers is None:
            found = _from_array(X, medium, uncertainty, mask)
        else:
            _refuse_extras(uncertainty, mask)
            found = _from_containers(containers, medium)
    return _with_known_ivar(found, snr, require_uncertainty)


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
    table = read_flux(X, argument="X")
    flux = _checked_flux(X, table.values)
    bad = ~np.isfinite(flux)
    if table.mask is not None:
        bad |= table.mask
    if mask is not None:
        bad |= _mask(mask, flux.shape)
    ivar = np.ones_like(flux)
    if uncertainty is not None:
        ivar = _ivar(uncertainty, bad, table.unit or "")
    bad |= ivar == 0
    return SpectrumSet(
        np.where(bad, 0.0, flux),
        np.where(bad, 0.0, ivar),
        medium=medium,
        has_uncertainty=uncertainty is not None,
    )


def _checked_flux(X, values):
    """Give flux in float64, and refuse what is no table of numbers."""
    try:
        flux = np.asarray(values)
        # "same_kind" refuses complex numbers and text; objects convert one by one.
        casting = "unsafe" if flux.dtype == object else "same_kind"
        flux = flux.astype(np.float64, casting=casting, copy=False)
        if flux.ndim == 0:
            raise TypeError("not an array")
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`X` must be {ACCEPTED}; got {type(X).__name__} ({error})."
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


def _ivar(uncertainty, bad, unit):
    """Return 1 / uncertainty**2, (n, p), after checking it where pixels are good."""
    how = {"argument": "uncertainty", "unit": unit, "missing": np.inf}
    try:
        sigma = to_floats(uncertainty, **how)
    except TypeError as error:
        raise _no_uncertainty(uncertainty, bad.shape) from error
    try:
        sigma = np.broadcast_to(sigma, bad.shape)
    except ValueError as error:
        raise _no_uncertainty(uncertainty, bad.shape) from error
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


def _no_uncertainty(uncertainty, shape):
    return ValueError(
        "`uncertainty` must be numbers that broadcast to the shape of the "
        f"spectra, {shape}; got {type(uncertainty).__name__} of shape "
        f"{np.shape(uncertainty)}. Pass one error (1 sigma) per pixel."
    )


def _from_containers(containers, medium):
    stars = [c if isinstance(c, list | tuple) else [c] for c in containers]
    every = [arm for star in stars for arm in star]
    check_same_unit(every)
    sets = [
        SpectrumSet.join_arms([unpack(arm, i) for arm in star])
        for i, star in enumerate(stars)
    ]
    stated = [m for c in every for m in stated_media(c)]
    return SpectrumSet.concatenate(sets).replace(medium=_agree(stated, medium))


# Assemble ------------------------------------------------------------------------


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
                "per pixel; for Spectrum objects when building them) or, for "
                "normalised flux, `snr=` (signal-to-noise ratio of the continuum)."
            )
        return spectra
    if spectra.wavelength is not None:
        _refuse_other_scales(spectra, unknown)
    # Rows without an uncertainty hold an ivar of 1 at good pixels and 0 elsewhere.
    scale = np.where(unknown, snr**2, 1.0)
    return spectra.replace(ivar=spectra.ivar * scale[:, None], has_uncertainty=True)


def _refuse_other_scales(spectra, unknown):
    """Refuse flux that is normalised to nothing near 1."""
    for row in np.flatnonzero(unknown):
        good = spectra.ivar[row] > 0
        level = np.median(spectra.flux[row][good]) if good.any() else 1.0
        if level > 10 or 0 < level < 0.01:
            raise ValueError(
                "`snr` is for flux with a continuum of 1; the median of spectrum "
                f"{row} is {level:.3g}. Pass `uncertainty=`, such as that median over "
                "the signal-to-noise ratio; for a Spectrum, set spectrum.uncertainty "
                "= StdDevUncertainty(...)."
            )


def _checked_snr(snr, n):
    values = to_floats(snr, argument="snr")
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
