"""The training grid shipped with the package, and the decoder of its file."""

import zlib
from importlib.resources import files

import numpy as np
from sklearn.utils import Bunch

__all__ = ["load_sme_grid"]

_N_TEST = 300


def load_sme_grid(*, return_X_y=False, as_frame=False):
    """Load the shipped grid of synthetic spectra, 4500-4600 Å, 19 labels.

    3725 LTE spectra of cool dwarfs computed with PySME, at R = 50 000. Stellar
    parameters are drawn uniformly: Teff 4000-6000 K, log g 4-5, and 17 abundances
    [X/H] between -2 and 1, each independent of the others.

    Parameters
    ----------
    return_X_y : bool, default=False
        If True, return ``(P, F)`` instead of a Bunch.
    as_frame : bool, default=False
        If True, the stellar parameters are a pandas DataFrame, with the label names
        as columns. The flux is an array in either case.

    Returns
    -------
    grid : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : ndarray of shape (3725, 19), float64, or DataFrame
            Stellar parameters P, in the order of `label_names`.
        target : ndarray of shape (3725, 2198), float32
            Flux F, continuum-normalised, a multiple of 1/1024.
        wavelength : ndarray of shape (2198,)
            Wavelength in Å, in air, spaced by 1e-5 in its natural logarithm.
        label_names : list of str
            "teff", "logg", then "C_H" to "Ba_H" in order of atomic number.
        label_units : list of str
            "K" for Teff, "dex" for all others (log g is of cm/s2).
        medium : str
            "air".
        resolving_power : float
            50 000, of a Gaussian instrument.
        train_indices, test_indices : ndarray of int
            A fixed split: the last 300 spectra are the test set.
        quantisation_error : dict
            Largest ("max") and root-mean-square ("rms") difference between `target`
            and the computed flux, in units of the continuum.
        frame : DataFrame or None
            The stellar parameters as a DataFrame if `as_frame` is True.
        DESCR : str
            Origin, purpose and citation of the grid.

    (P, F) : tuple
        The stellar parameters and the flux alone, if `return_X_y` is True.

    Raises
    ------
    ImportError
        If `as_frame` is True and pandas is not installed.

    See Also
    --------
    make_spectra : Analytic spectra of any size, for tests and tutorials.
    sk_payne.grids.read_grid : Read a grid of your own.

    Notes
    -----
    The file holds the flux as integers, each pixel predicted from other pixels of the
    same spectrum. Unpacking takes about a second and gives the same bits on
    every machine, as only integers below 2**53 are added and multiplied.

    Examples
    --------
    >>> from sk_payne.datasets import load_sme_grid
    >>> grid = load_sme_grid()
    >>> grid.data.shape, grid.target.shape
    ((3725, 19), (3725, 2198))
    >>> grid.label_names[:3], grid.label_units[:3]
    (['teff', 'logg', 'C_H'], ['K', 'dex', 'dex'])
    >>> P_test, F_test = grid.data[grid.test_indices], grid.target[grid.test_indices]
    >>> len(P_test)
    300
    """
    room = files("sk_payne.datasets")
    with (room / "data" / "sme_grid.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as archive:
            stored = dict(archive)
    label_names = [str(name) for name in stored["label_names"]]
    data = stored["labels"].astype(np.float64)
    frame = None
    if as_frame:
        data = frame = _as_frame(data, label_names)
    target = _decode_flux(stored)
    if return_X_y:
        return data, target
    n_train = len(target) - _N_TEST
    largest, rms = stored["quantisation_error"].tolist()
    return Bunch(
        data=data,
        target=target,
        wavelength=stored["wavelength"],
        label_names=label_names,
        label_units=["K"] + ["dex"] * (len(label_names) - 1),
        medium="air",
        resolving_power=50_000.0,
        train_indices=np.arange(n_train),
        test_indices=np.arange(n_train, len(target)),
        quantisation_error={"max": largest, "rms": rms},
        frame=frame,
        DESCR=(room / "descr" / "sme_grid.rst").read_text(encoding="utf-8"),
    )


def _as_frame(data, label_names):
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise ImportError(
            "`as_frame=True` needs pandas. Install it with `pip install pandas`, or "
            "leave `as_frame` at False."
        ) from error
    return DataFrame(data, columns=label_names)


def _decode_flux(stored):
    """Undo the prediction of pixels; see `benchmarks/build_sme_grid.py`.

    Pixels are stored in the order of ``order``. Each of the first K pixels, the pivots,
    is predicted from the pivots before it; the others from all K pivots and from up to
    M pixels just before them. A prediction is a rounded sum of integer pixels times
    integer coefficients over a power of two.

    The sums run in float64 because BLAS is fast, and are exact all the same: pixels
    stay below 2**11, coefficients below 2**15 and 332 terms below 2**9, so that no
    partial sum in any order, fused or not, reaches 2**53.
    """
    n_pivots, n_before, shift, scale = stored["layout"].tolist()
    coefficients = _unfold(stored["coefficients_high"], stored["coefficients_low"])
    pixels = _decode_residuals(stored)
    n_wavelengths = len(pixels)

    start = 0
    for t in range(n_pivots):
        weights = coefficients[start : start + t]
        pixels[t] += _rounded(weights @ pixels[:t], shift)
        start += t

    weights = coefficients[start : start + n_pivots * (n_wavelengths - n_pivots)]
    start += len(weights)
    from_pivots = weights.reshape(-1, n_pivots) @ pixels[:n_pivots]
    for t in range(n_pivots, n_wavelengths):
        first = max(n_pivots, t - n_before)
        weights = coefficients[start : start + t - first]
        prediction = from_pivots[t - n_pivots] + weights @ pixels[first:t]
        pixels[t] += _rounded(prediction, shift)
        start += t - first

    flux = np.empty((pixels.shape[1], n_wavelengths), dtype=np.float32)
    flux[:, stored["order"]] = pixels.T
    # Exact in float32 as long as the scale is a power of two.
    return (flux + stored["offset"].astype(np.float32)) / np.float32(scale)


def _decode_residuals(stored):
    high = stored["residuals_high"]
    low = np.frombuffer(zlib.decompress(stored["residuals_low"]), dtype=np.uint8)
    return _unfold(high, low.reshape(high.shape))


def _unfold(high, low):
    """Join two bytes to signed integers (float64); 0, 1, 2, ... mean 0, -1, 1, ..."""
    folded = high.astype(np.int32) * 256 + low
    return ((folded >> 1) ^ -(folded & 1)).astype(np.float64)


def _rounded(total, shift):
    half = 2.0 ** (shift - 1)
    return np.floor((total + half) / 2.0**shift)
