"""Flux that stays on disk: read in blocks, looked at as a whole only once.

It is here so that a training set may be larger than memory.
"""

import hashlib

import numpy as np
from scipy import sparse

from sk_payne.emulators._state import update_digest
from sk_payne.grids import RowView

__all__ = [
    "StackedFlux",
    "StreamedFlux",
    "add_rows",
    "is_streamed",
    "row_blocks",
    "stack_flux",
]

# Flux values worked on at a time, outside the network.
_FLUX_BLOCK = 2**23


class StreamedFlux:
    """Rows of an array that are read when they are asked for.

    Parameters
    ----------
    flux : array-like of shape (n_spectra, n_wavelengths)
        What :func:`is_streamed` is true of. All of it is read once.
    name : str, default="y"
        What errors call it.

    Attributes
    ----------
    shape : tuple of int
        (n_spectra, n_wavelengths).
    dtype : numpy.dtype
        float32 or float64, which rows are given in.
    mean_spectrum : ndarray of shape (n_wavelengths,), float64
        Over all spectra; the same to the last bit as ``flux.mean(axis=0,
        dtype=float)`` of more than one wavelength.
    fingerprint : str
        That of the same flux in memory.

    Raises
    ------
    ValueError
        If values are no numbers, or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.emulators._flux import StreamedFlux
    >>> from sk_payne.grids import RowView
    >>> flux = StreamedFlux(RowView(np.array([[1.0, 0.5], [0.9, 0.7]])))
    >>> flux.mean_spectrum, flux[[1]]
    (array([0.95, 0.6 ]), array([[0.9, 0.7]]))
    """

    ndim = 2

    def __init__(self, flux, name="y"):
        if flux.dtype.kind not in "fiu":
            raise ValueError(
                f"`{name}` (flux F) must be real numbers; got {flux.dtype}. Convert it."
            )
        self._rows = RowView(flux)
        self.shape = self._rows.shape
        plain = flux.dtype in (np.float32, np.float64)
        self.dtype = flux.dtype if plain else np.dtype(np.float64)
        total, digest = np.zeros(self.shape[1]), hashlib.blake2b(digest_size=16)
        update_digest(digest, self.dtype, self.shape, ())
        for rows in row_blocks(*self.shape):
            block = self[rows]
            _check_finite(block, rows.start, name)
            add_rows(total, block)
            digest.update(block)
        self.mean_spectrum = total / max(len(self), 1)
        self.fingerprint = digest.hexdigest()

    def __len__(self):
        return self.shape[0]

    def announce(self, rows):
        """Begin to read rows, if the system can; tell whether it can."""
        return self._rows[rows].announce()

    def __getitem__(self, rows):
        """Read rows, by a slice or an array of integers."""
        return np.ascontiguousarray(self._rows[rows], dtype=self.dtype)


class StackedFlux:
    """Two sets of spectra, one after the other, each where it is.

    Parameters
    ----------
    first, second : ndarray or StreamedFlux of shape (n_spectra, n_wavelengths)
        Of the same wavelengths.

    Attributes
    ----------
    shape : tuple of int
        Of both.
    dtype : numpy.dtype
        Of the first, which rows are given in.
    """

    ndim = 2

    def __init__(self, first, second):
        self._parts = first, second
        self.shape = (len(first) + len(second), first.shape[1])
        self.dtype = first.dtype

    def __len__(self):
        return self.shape[0]

    def announce(self, rows):
        """Begin to read rows, if the system can; tell whether it can."""
        first, second = self._parts
        parts = (
            (first, rows[rows < len(first)]),
            (
                second,
                rows[rows >= len(first)] - len(first),
            ),
        )
        return all(
            isinstance(part, np.ndarray) or part.announce(mine) for part, mine in parts
        )

    def __getitem__(self, rows):
        """Read rows, by an array of integers."""
        rows = np.asarray(rows)
        first, second = self._parts
        of_first = rows < len(first)
        flux = np.empty((len(rows), self.shape[1]), self.dtype)
        flux[of_first] = first[rows[of_first]]
        flux[~of_first] = second[rows[~of_first] - len(first)]
        return flux


def is_streamed(flux):
    """Whether flux is on disk, or somewhere else than in memory.

    Parameters
    ----------
    flux : object
        As given by the user.

    Returns
    -------
    streamed : bool
        True of a `numpy.memmap` and of all that has rows and a numpy dtype but is no
        array of numpy, such as a dataset of h5py or a view of rows.

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
    """Put two sets of spectra one after the other, in memory if both are.

    Parameters
    ----------
    first, second : ndarray or StreamedFlux of shape (n_spectra, n_wavelengths)
        Of the same wavelengths.

    Returns
    -------
    flux : ndarray or StackedFlux
        In the precision of the first.
    """
    if not len(second):
        return first
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.concatenate([first, second.astype(first.dtype, copy=False)])
    return StackedFlux(first, second)


def row_blocks(n, n_wavelengths):
    """Cut spectra into blocks of bounded memory.

    Parameters
    ----------
    n : int
        Number of spectra.
    n_wavelengths : int
        Of each.

    Returns
    -------
    blocks : list of slice
        At least one spectrum each.

    Examples
    --------
    >>> from sk_payne.emulators._flux import row_blocks
    >>> row_blocks(3, 2**22)
    [slice(0, 2, None), slice(2, 3, None)]
    """
    step = max(1, _FLUX_BLOCK // max(n_wavelengths, 1))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def add_rows(total, block):
    """Add rows to a sum, one by one, so that blocks of any size give the same.

    Parameters
    ----------
    total : ndarray of shape (n_columns,), float64
        Changed in place.
    block : ndarray of shape (n_rows, n_columns)
        What to add.
    """
    for row in block:
        total += row


def _check_finite(block, first_row, name):
    if not np.isfinite(block).all():
        row = first_row + int(np.argmin(np.isfinite(block).all(axis=1)))
        raise ValueError(
            f"`{name}` (flux F) must be finite; the first spectrum with NaN or "
            f"infinity is in row {row}. Leave such spectra out."
        )
