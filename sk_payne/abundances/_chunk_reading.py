"""Reading of the items of a chunk: spectra with errors, and names of the stars."""

import numpy as np

from sk_payne.spectra import as_spectra, group_arms

__all__ = ["failure_of", "is_row", "read_item"]


def read_item(measuring, item):
    """Read the spectra of an item.

    Parameters
    ----------
    measuring : Measuring
        Reader, names, and properties of the spectra.
    item : object
        Item of the caller.

    Returns
    -------
    spectra : SpectrumSet
        Spectra with errors.
    names : list of str
        Names of the stars.

    Raises
    ------
    Exception
        If the item cannot be read, or holds no spectra.
    """
    if measuring.reader is not None:
        item = measuring.reader(item)
    if is_row(item):
        item = item[None]
    if isinstance(item, list | tuple):
        item = list(group_arms(item))
    regressor = measuring.regressor
    spectra = as_spectra(item, medium=regressor.medium, snr=regressor.snr)
    return spectra, _names(measuring.names, item, len(spectra))


def is_row(item):
    """Check whether an item is an array of flux of one star.

    Parameters
    ----------
    item : object
        Item of the caller.

    Returns
    -------
    is_row : bool
        True for an array of numbers with one dimension.
    """
    return isinstance(item, np.ndarray) and item.ndim == 1 and item.dtype != object


def failure_of(item, row, error):
    """Describe why an item could not be read, or a star not be measured.

    Parameters
    ----------
    item : int
        Number of the item.
    row : int or None
        Row of the star in the item; None for the whole item.
    error : Exception
        The error.

    Returns
    -------
    failure : dict
        `item`, `row` and `error`, a text of one line.
    """
    message = " ".join(f"{type(error).__name__}: {error}".split())
    return {"item": item, "row": row, "error": message}


def _names(names, item, n_stars):
    """Names of the stars of an item, on one line each."""
    name = names if callable(names) else lambda star: _from_meta(star, names)
    result = [name(star) for star in item] if isinstance(item, list) else name(item)
    if isinstance(result, str) or not hasattr(result, "__len__"):
        result = [result] * n_stars
    if len(result) != n_stars:
        raise ValueError(
            f"`names` must give a name for each of the {n_stars} stars of an item; got "
            f"{len(result)}."
        )
    return ["" if one is None else " ".join(str(one).split()) for one in result]


def _from_meta(star, key):
    """Entry of the meta of a spectrum, of its rows, or of the first arm that has it."""
    if isinstance(star, list | tuple):
        stated = (_from_meta(arm, key) for arm in star)
        return next((name for name in stated if name is not None), None)
    meta = getattr(star, "meta", None) or {}
    if isinstance(meta, list | tuple):
        return [(one or {}).get(key) for one in meta]
    return meta.get(key)
