"""Flux of a training set, in memory or on disk, and the weights of its pixels.

Flux on disk is read in blocks, so that a training set may be larger than memory.
"""

import hashlib

import numpy as np
from scipy import sparse

from sk_payne.grids import RowView
from sk_payne.trained import add_rows, row_blocks

__all__ = ["StackedFlux", "TrainingFlux", "fingerprint", "is_streamed", "stack_flux"]


class TrainingFlux:
    """Flux of a training set, and the weights of its pixels.

    All of it is read once, to check it.

    Parameters
    ----------
    flux : ndarray, or array-like for which :func:`is_streamed` holds
        Flux of shape (n_spectra, n_wavelengths); neither copied nor changed.
    mask : array-like of shape (n_spectra, n_wavelengths), bool, default=None
        True for bad pixels; their flux may have any value.
    uncertainty : array-like of shape (n_spectra, n_wavelengths), default=None
        1 sigma error of the flux; NaN and infinity mean a bad pixel.
    name : str, default="y"
        Name of the argument in errors.

    Attributes
    ----------
    shape : tuple of int
        (n_spectra, n_wavelengths).
    dtype : numpy.dtype
        Precision of rows, float32 or float64.
    is_streamed : bool
        Whether the flux stays on disk.
    has_weights : bool
        Whether there is a mask or an uncertainty.
    mean_spectrum : ndarray of shape (n_wavelengths,), float64
        Mean flux of the good pixels at each wavelength.
    fingerprint : str
        Hash of flux, mask and uncertainty, as text.

    Raises
    ------
    ValueError
        If values are not numbers, a good pixel is not finite or has an uncertainty that
        is not positive, or a wavelength is bad in every spectrum.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.emulators._flux import TrainingFlux
    >>> flux = np.ma.array([[1.0, 9.0], [0.9, 0.7]], mask=[[0, 1], [0, 0]])
    >>> flux = TrainingFlux(flux.data, mask=flux.mask)
    >>> flux.mean_spectrum, flux[[0]], flux.weights([0])
    (array([0.95, 0.7 ]), array([[1. , 0.7]]), array([[1., 0.]], dtype=float32))
    """

    ndim = 2

    def __init__(self, flux, *, mask=None, uncertainty=None, name="y"):
        self.is_streamed = is_streamed(flux)
        if flux.dtype.kind not in "fiu":
            raise ValueError(
                f"`{name}` (flux F) must be real numbers; got {flux.dtype}. Convert it."
            )
        self._flux = _rows_of(flux)
        self._mask = None if mask is None else _rows_of(mask)
        self._uncertainty = None if uncertainty is None else _rows_of(uncertainty)
        self.shape = self._flux.shape
        plain = flux.dtype in (np.float32, np.float64) and flux.dtype.isnative
        self.dtype = flux.dtype if plain else np.dtype(np.float64)
        self.has_weights = mask is not None or uncertainty is not None
        self.mean_spectrum = np.zeros(self.shape[1])
        self._read_once(name)

    def _read_once(self, name):
        digest = hashlib.blake2b(digest_size=16)
        digest.update(f"{self.dtype.str}{self.shape}".encode())
        total, n_good = np.zeros(self.shape[1]), np.zeros(self.shape[1], np.int64)
        inverse, n_inverse = 0.0, 0
        for rows in row_blocks(*self.shape):
            block, bad = self._block(rows), self.bad_pixels(rows)
            if bad is not None:
                block = np.where(bad, 0, block).astype(self.dtype, copy=False)
                digest.update(np.packbits(bad).tobytes())
            _check_finite(block, rows.start, name)
            if self._uncertainty is not None:
                sigma = self._sigma(rows)
                _check_positive(sigma, bad, rows.start)
                digest.update(sigma)
                inverse += (1 / sigma[~bad]).sum(dtype=np.float64)
                n_inverse += np.count_nonzero(~bad)
            add_rows(total, block)
            n_good += len(block) if bad is None else (~bad).sum(axis=0)
            digest.update(block)
        if len(self) and not n_good.all():
            raise ValueError(
                f"`{name}` (flux F) must have a good value at every wavelength in some "
                f"spectrum; {(n_good == 0).sum()} wavelengths have none, the first is "
                f"column {np.argmin(n_good)}. Leave those wavelengths out."
            )
        self.mean_spectrum = total / np.maximum(n_good, 1)
        self._typical_sigma = n_inverse / inverse if n_inverse else 1.0
        self.fingerprint = digest.hexdigest()

    def __len__(self):
        return self.shape[0]

    def announce(self, rows):
        """Ask the system to prefetch rows; return whether it can."""
        if not isinstance(self._flux, RowView):
            return True
        parts = (self._flux, self._mask, self._uncertainty)
        on_disk = [part for part in parts if isinstance(part, RowView)]
        return all([part[rows].announce() for part in on_disk])

    def __getitem__(self, rows):
        """Flux of rows, by a slice or an array of integers.

        Flux of bad pixels is replaced by the mean flux at their wavelength.
        """
        block, bad = self._block(rows), self.bad_pixels(rows)
        if bad is None:
            return block
        return np.where(bad, self.mean_spectrum, block).astype(self.dtype, copy=False)

    def bad_pixels(self, rows):
        """Mask of rows, True for bad pixels; None if every pixel is good."""
        if not self.has_weights:
            return None
        bad = np.zeros((), bool)
        if self._mask is not None:
            bad = np.asarray(self._mask[rows], dtype=bool)
        if self._uncertainty is not None:
            bad = bad | ~np.isfinite(self._sigma(rows))
        return bad

    def weights(self, rows):
        """Factors of the residuals of rows in the loss; None if all are one.

        The factor is the harmonic mean of all uncertainties over the uncertainty of the
        pixel; it is 0 for bad pixels.
        """
        if not self.has_weights:
            return None
        bad = self.bad_pixels(rows)
        if self._uncertainty is None:
            return (~bad).astype(np.float32)
        sigma = np.where(bad, 1, self._sigma(rows))
        return np.where(bad, 0, self._typical_sigma / sigma).astype(np.float32)

    def _block(self, rows):
        return np.ascontiguousarray(self._flux[rows], dtype=self.dtype)

    def _sigma(self, rows):
        return np.ascontiguousarray(self._uncertainty[rows], dtype=np.float64)


class StackedFlux:
    """Flux of two training sets, one after the other.

    Parameters
    ----------
    first, second : TrainingFlux of shape (n_spectra, n_wavelengths)
        Flux on the same wavelengths.

    Attributes
    ----------
    shape : tuple of int
        Shape of both together.
    dtype : numpy.dtype
        Precision of the first.
    is_streamed, has_weights : bool
        Whether either part is streamed, or has weights.
    """

    ndim = 2

    def __init__(self, first, second):
        self._parts = first, second
        self.shape = (len(first) + len(second), first.shape[1])
        self.dtype = first.dtype
        self.is_streamed = first.is_streamed or second.is_streamed
        self.has_weights = first.has_weights or second.has_weights

    def __len__(self):
        return self.shape[0]

    def announce(self, rows):
        """Ask the system to prefetch rows; return whether it can."""
        return all([part.announce(own) for part, _, own in self._split(rows)])

    def __getitem__(self, rows):
        """Flux of rows, by an array of integers."""
        flux = np.empty((len(rows), self.shape[1]), self.dtype)
        for part, places, own in self._split(rows):
            flux[places] = part[own]
        return flux

    def weights(self, rows):
        """Factors of the residuals of rows in the loss; None if all are one."""
        if not self.has_weights:
            return None
        weights = np.ones((len(rows), self.shape[1]), np.float32)
        for part, places, own in self._split(rows):
            if part.has_weights:
                weights[places] = part.weights(own)
        return weights

    def _split(self, rows):
        """Yield each part, where its rows are among `rows`, and their numbers in it."""
        rows, (first, second) = np.asarray(rows), self._parts
        of_first = rows < len(first)
        yield first, of_first, rows[of_first]
        yield second, ~of_first, rows[~of_first] - len(first)


def is_streamed(flux):
    """Whether flux is on disk, or elsewhere outside memory.

    Parameters
    ----------
    flux : object
        Flux as given by the user.

    Returns
    -------
    streamed : bool
        True for a `numpy.memmap` and for other two-dimensional objects with a numpy
        dtype that are not numpy arrays, such as a dataset of h5py or a view of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.emulators._flux import is_streamed
    >>> from sk_payne.grids import RowView
    >>> is_streamed(np.zeros((2, 3))), is_streamed(RowView(np.zeros((2, 3))))
    (False, True)
    """
    if isinstance(flux, np.ndarray):
        return isinstance(flux, np.memmap) and flux.ndim == 2
    return (
        isinstance(getattr(flux, "dtype", None), np.dtype)
        and len(getattr(flux, "shape", ())) == 2
        and not sparse.issparse(flux)
    )


def stack_flux(first, second):
    """Stack the flux of two training sets.

    Parameters
    ----------
    first : TrainingFlux of shape (n_spectra, n_wavelengths)
        Flux.
    second : TrainingFlux or None
        More flux on the same wavelengths.

    Returns
    -------
    flux : TrainingFlux or StackedFlux
        Flux in the precision of the first.
    """
    return first if second is None else StackedFlux(first, second)


def fingerprint(*arrays):
    """Hash of arrays, as text.

    Parameters
    ----------
    *arrays : ndarray or TrainingFlux
        Labels and flux.

    Returns
    -------
    text : str
        Hash of types, shapes and all values.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.emulators._flux import fingerprint
    >>> fingerprint(np.zeros(3)) == fingerprint(np.zeros(4))
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        own = getattr(array, "fingerprint", None)
        digest.update((own or _fingerprint_of(array)).encode())
    return digest.hexdigest()


def _fingerprint_of(array):
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{array.dtype.str}{array.shape}".encode())
    for row in array:
        digest.update(np.ascontiguousarray(row))
    return digest.hexdigest()


def _rows_of(array):
    return RowView(array) if is_streamed(array) else np.asarray(array)


def _check_finite(block, first_row, name):
    if not np.isfinite(block).all():
        is_bad = ~np.isfinite(block).all(axis=1)
        raise ValueError(
            f"`{name}` (flux F) must be finite; the first spectrum with NaN or "
            f"infinity is in row {first_row + int(np.argmax(is_bad))}. Mask those "
            "pixels with `mask`, or leave the spectra out."
        )


def _check_positive(sigma, bad, first_row):
    wrong = ~bad & ~(sigma > 0)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise ValueError(
            "`uncertainty` must be positive at every pixel that is not masked; got "
            f"{sigma[row, column]:g} in row {first_row + row}, column {column}. Mask "
            "those pixels with `mask`."
        )
