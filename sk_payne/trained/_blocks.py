"""Blocks of rows: spectra are worked on in pieces of bounded memory."""

__all__ = ["add_rows", "row_blocks"]

# Flux values worked on at a time, outside the network.
_FLUX_BLOCK = 2**23


def row_blocks(n, n_wavelengths):
    """Cut spectra into blocks of bounded memory.

    Parameters
    ----------
    n : int
        Number of spectra.
    n_wavelengths : int
        Number of wavelengths of each.

    Returns
    -------
    blocks : list of slice
        At least one spectrum each.

    Examples
    --------
    >>> from sk_payne.trained import row_blocks
    >>> row_blocks(3, 2**22)
    [slice(0, 2, None), slice(2, 3, None)]
    """
    step = max(1, _FLUX_BLOCK // max(n_wavelengths, 1))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def add_rows(total, block):
    """Add rows to a sum one by one, so that the size of blocks does not matter.

    Parameters
    ----------
    total : ndarray of shape (n_columns,), float64
        Changed in place.
    block : ndarray of shape (n_rows, n_columns)
        Rows to add.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.trained import add_rows
    >>> total = np.zeros(2)
    >>> add_rows(total, np.ones((3, 2)))
    >>> total
    array([3., 3.])
    """
    for row in block:
        total += row
