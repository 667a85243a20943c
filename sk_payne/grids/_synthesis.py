"""One spectrum of a grid: call an engine, check its result, and record its errors."""

import numpy as np

__all__ = ["describe_engine", "synthesise"]

# Characters of a reason, one line of a file, which need not hold a whole traceback.
_LONGEST_REASON = 1000


def synthesise(engine, wavelength, labels):
    """Compute one normalised spectrum, or return the reason of the failure.

    Parameters
    ----------
    engine : callable
        Engine of :func:`build_grid`.
    wavelength : ndarray of shape (n_wavelengths,)
        Wavelengths in Å.
    labels : dict of str to float
        Labels of the star.

    Returns
    -------
    flux : ndarray of shape (n_wavelengths,), float32, or None
        Normalised flux; None if the engine failed.
    reason : str or None
        Reason of the failure.

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
    with np.errstate(all="ignore"):  # the result is checked below
        flux = (flux / np.asarray(continuum, dtype=np.float64)).astype(np.float32)
    n_bad = np.count_nonzero(~np.isfinite(flux))
    if n_bad:
        raise ValueError(
            f"The flux must be finite; the engine gave {n_bad} of {flux.size} values "
            f"that are not, the first at {wavelength[np.argmin(np.isfinite(flux))]} Å."
        )
    return flux


def describe_engine(engine):
    """Describe an engine, for the provenance of a grid.

    Parameters
    ----------
    engine : callable
        Engine with or without a method `to_dict`.

    Returns
    -------
    description : dict or str
        Result of `to_dict`, or the name of the function or class.

    Examples
    --------
    >>> from sk_payne.grids._synthesis import describe_engine
    >>> describe_engine(describe_engine)
    'describe_engine'
    """
    if hasattr(engine, "to_dict"):
        return engine.to_dict()
    return getattr(engine, "__qualname__", type(engine).__qualname__)
