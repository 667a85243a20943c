"""One spectrum of a grid: an engine is called, and what it gives is judged.

It is here so that a run goes on whatever an engine does, and tells why a row is not
there.
"""

import numpy as np

__all__ = ["describe_engine", "synthesise"]

# A reason is one line of a file; a traceback of Fortran need not be all of it.
_LONGEST_REASON = 1000


def synthesise(engine, wavelength, labels):
    """Make one normalised spectrum, or tell why it could not be made.

    Parameters
    ----------
    engine : callable
        As in :func:`build_grid`.
    wavelength : ndarray of shape (n_wavelengths,)
        Å.
    labels : dict of str to float
        Of the star.

    Returns
    -------
    flux : ndarray of shape (n_wavelengths,), float32, or None
        Flux over continuum.
    reason : str or None
        Why there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.grids._synthesis import synthesise
    >>> wavelength = np.array([5000.0, 5001.0])
    >>> synthesise(lambda labels, w: (w / w[0], 2.0), wavelength, {"teff": 5000.0})
    (array([0.5   , 0.5001], dtype=float32), None)
    >>> synthesise(lambda labels, w: w / labels["vmic"], wavelength, {"teff": 5000.0})
    (None, "KeyError: 'vmic'")
    """
    try:
        return _normalised(engine(dict(labels), wavelength.copy()), wavelength), None
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return None, reason[:_LONGEST_REASON]


def _normalised(result, wavelength):
    flux, continuum = result if isinstance(result, tuple) else (result, 1.0)
    flux = np.asarray(flux, dtype=np.float64)
    if flux.shape != wavelength.shape:
        raise ValueError(
            f"The flux must have the shape {wavelength.shape} of the wavelengths; the "
            f"engine gave {flux.shape}."
        )
    with np.errstate(all="ignore"):  # what comes of it is judged next
        flux = (flux / np.asarray(continuum, dtype=np.float64)).astype(np.float32)
    n_bad = np.count_nonzero(~np.isfinite(flux))
    if n_bad:
        raise ValueError(
            f"The flux must be finite; the engine gave {n_bad} of {flux.size} values "
            f"that are not, the first at {wavelength[np.argmin(np.isfinite(flux))]} Å."
        )
    return flux


def describe_engine(engine):
    """Tell what an engine is, for the provenance of a grid.

    Parameters
    ----------
    engine : callable
        With or without a method `to_dict`.

    Returns
    -------
    description : dict or str
        What `to_dict` gives, or the name of the function or class.

    Examples
    --------
    >>> from sk_payne.grids._synthesis import describe_engine
    >>> describe_engine(describe_engine)
    'describe_engine'
    """
    if hasattr(engine, "to_dict"):
        return engine.to_dict()
    return getattr(engine, "__qualname__", type(engine).__qualname__)
