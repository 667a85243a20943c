"""RowView: rows of an array on disk, for cross-validation without a copy.

scikit-learn picks rows with ``F[train]``, which would copy the grid into memory.
"""

import mmap

import numpy as np

from sk_payne.grids._lazy_rows import LazyRows

__all__ = ["RowView"]


class RowView:
    """View of rows of a 2-D array; rows of a view are views, too.

    Parameters
    ----------
    array : array-like of shape (n_all, n_columns)
        A `numpy.memmap`, the `target` of a stored grid, a dataset of h5py, an array of
        Zarr, or any object with a shape and a dtype whose rows and slices of rows can
        be indexed. It is not copied.

    Attributes
    ----------
    shape : tuple of int
        (n_rows, n_columns).
    dtype : numpy.dtype
        Data type of the array.
    ndim : int
        2.

    Raises
    ------
    ValueError
        If the array does not have two dimensions.
    IndexError
        If columns are indexed.

    See Also
    --------
    open_grid : Open a grid whose `target` may exceed memory.

    Notes
    -----
    An array of integers, a mask or a slice of rows gives a view, one number gives that
    row, and ``numpy.asarray(view)`` reads them all.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.grids import RowView
    >>> view = RowView(np.arange(12).reshape(4, 3))[[3, 0, 1]]
    >>> view.shape, view[1], view[1:].shape
    ((3, 3), array([0, 1, 2]), (2, 3))
    >>> np.asarray(view[1:])
    array([[0, 1, 2],
           [3, 4, 5]])
    """

    ndim = 2

    def __init__(self, array):
        if len(array.shape) != 2:
            raise ValueError(
                "`array` must have two dimensions, spectra and wavelengths; got shape "
                f"{array.shape}. Make it so with array.reshape(n_spectra, -1)."
            )
        # views are not nested: rows of a view are rows of its array
        is_view = isinstance(array, RowView | LazyRows)
        self._array = array._array if is_view else array
        self._rows = array._rows if is_view else np.arange(array.shape[0])
        self.dtype = array.dtype

    @property
    def shape(self):
        """Numbers of rows and columns."""
        return len(self._rows), self._array.shape[1]

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, key):
        if isinstance(key, tuple):
            key, *columns = key
            # scikit-learn indexes all columns by an ellipsis
            if columns not in ([...], [slice(None)]):
                raise IndexError(
                    f"A RowView picks rows alone; got columns {columns}. Read the rows "
                    "with numpy.asarray(view[rows]), then pick columns."
                )
        rows = self._rows[key]
        if np.ndim(rows) == 0:
            return np.asarray(self._array[int(rows)])
        view = RowView(self._array)
        view._rows = rows
        return view

    def announce(self):
        """Prefetch the rows of a memory-map: ask the system to read them.

        Returns
        -------
        announced : bool
            False if the array is not a memory-map, and nothing was done.
        """
        announced = isinstance(self._array, np.memmap)
        if announced:
            _announce(self._array, self._rows)
        return announced

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("A RowView becomes an array only by being read.")
        return np.array(_read(self._array, self._rows), dtype=dtype, copy=copy)


def _read(array, rows):
    """Read rows, in as few pieces as possible."""
    n = len(rows)
    if n and rows[-1] - rows[0] == n - 1 and np.all(np.diff(rows) == 1):
        return np.asarray(array[int(rows[0]) : int(rows[-1]) + 1])
    if isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            _announce(array, rows)
        return np.asarray(array[rows])
    # h5py takes increasing rows only, and other libraries are slow for many rows
    out = np.empty((n, array.shape[1]), array.dtype)
    for place, row in enumerate(rows):
        out[place] = array[int(row)]
    return out


def _announce(array, rows):
    """Prefetch rows of a memory-map by ``madvise``.

    The system then reads these rows alone, and all at once. Without it, it reads around
    each row, often megabytes, one row after the other.
    """
    pages = array._mmap
    if not hasattr(pages, "madvise"):
        return
    address = np.frombuffer(pages, np.uint8).__array_interface__["data"][0]
    start = array.__array_interface__["data"][0] - address
    n_bytes = array.shape[1] * array.itemsize
    for row in rows.tolist():
        first = start + row * array.strides[0]
        before = first % mmap.PAGESIZE
        pages.madvise(mmap.MADV_WILLNEED, first - before, before + n_bytes)
