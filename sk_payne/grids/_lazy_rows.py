"""LazyRows: some rows of an array on disk, read when they are indexed.

A grid with missing rows has no contiguous view, and may not fit into memory.
"""

import numpy as np

__all__ = ["LazyRows"]


class LazyRows:
    """Rows of a 2-D array, copied only when they are indexed.

    Parameters
    ----------
    array : ndarray of shape (n_all, n_columns)
        Usually a memory-map.
    rows : ndarray of shape (n_rows,), int
        Indices of the rows, in any order.

    Attributes
    ----------
    shape : tuple of int
        (n_rows, n_columns).
    dtype : numpy.dtype
        Data type of the array.
    ndim : int
        2.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.grids._lazy_rows import LazyRows
    >>> view = LazyRows(np.arange(12).reshape(4, 3), np.array([0, 2, 3]))
    >>> view.shape, view[1], view[1:, [0, 2]].tolist()
    ((3, 3), array([6, 7, 8]), [[6, 8], [9, 11]])
    >>> np.asarray(view).tolist()
    [[0, 1, 2], [6, 7, 8], [9, 10, 11]]
    """

    ndim = 2

    def __init__(self, array, rows):
        self._array = array
        self._rows = rows
        self.shape = (len(rows), array.shape[1])
        self.dtype = array.dtype

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, key):
        key, columns = key if isinstance(key, tuple) else (key, slice(None))
        rows = self._rows[key]
        if isinstance(key, slice) and not isinstance(columns, slice):
            columns = np.asarray(columns)
            # as in numpy, each row of a slice with each column
            rows = rows[:, None] if columns.ndim else rows
        return np.asarray(self._array[rows, columns])

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("LazyRows become an array only by being copied.")
        return np.asarray(self[:], dtype=dtype)
