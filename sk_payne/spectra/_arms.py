"""Grouping of the spectra of a list that are arms of one star.

Readers of several arms, such as that of DESI, return them one after the other.
"""

import warnings
from collections.abc import Mapping

__all__ = ["group_arms", "warn_of_arms"]


def group_arms(spectra):
    """Group the arms of each star in a flat sequence of spectra.

    Neighbours are arms of one star if their ``meta`` has the same `object` and another
    `arm`. An arm that comes a second time begins the next exposure.

    Parameters
    ----------
    spectra : iterable
        Spectra, of which some may state `object` and `arm`; anything else is a star of
        its own.

    Yields
    ------
    star : object
        A list of arms, or the item itself if it has no neighbour of its star.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from specutils import Spectrum
    >>> from sk_payne.spectra import group_arms
    >>> b, r = (
    ...     Spectrum(flux=np.ones(3) * u.one, spectral_axis=[1, 2, 3] * u.AA,
    ...              meta={"object": "HD 1", "arm": arm}) for arm in "BR"
    ... )
    >>> [len(star) for star in group_arms([b, r, b, r])]
    [2, 2]
    """
    star, name, seen = [], None, []
    for spectrum in spectra:
        object_, arm = _stated(spectrum)
        is_arm = object_ is not None and arm is not None
        if star and not (is_arm and object_ == name and arm not in seen):
            yield _alone_or_together(star)
            star, seen = [], []
        if is_arm:
            star.append(spectrum)
            seen.append(arm)
            name = object_
        else:
            yield spectrum  # at once: the next one need not be known
    if star:
        yield _alone_or_together(star)


def _alone_or_together(star):
    return star if len(star) > 1 else star[0]


def warn_of_arms(stars, stacklevel):
    """Warn if neighbours have one name and hardly a wavelength in common.

    Parameters
    ----------
    stars : list
        Spectra, and lists of arms.
    stacklevel : int
        As for :func:`warnings.warn`.
    """
    for i in range(len(stars) - 1):
        pair = stars[i : i + 2]
        (name, _), (other, _) = map(_stated, pair)
        if name is None or name != other:
            continue
        (low, high), (next_low, next_high) = (
            (axis.min(), axis.max()) for axis in (one.wavelength for one in pair)
        )
        shorter = min(high - low, next_high - next_low)
        if min(high, next_high) - max(low, next_low) < shorter / 2:
            warnings.warn(
                f"Items {i} and {i + 1} of `X` are both of {name!r}, and share few "
                "wavelengths: two spectra or two arms? Arms go into a list of lists, "
                "[[arm, arm], ...].",
                stacklevel=stacklevel,
            )
            return


def _stated(spectrum):
    """Name of the star and of the arm, each None if it is not stated."""
    meta = getattr(spectrum, "meta", None)
    if not isinstance(meta, Mapping) or getattr(spectrum, "flux", None) is None:
        return None, None
    name, arm = meta.get("object"), meta.get("arm")
    is_name = isinstance(name, str | int) and name != ""
    return (name if is_name else None), (arm if isinstance(arm, str | int) else None)
