"""Blocks of rows, to process spectra in bounded memory."""

__all__ = ["add_rows", "row_blocks"]

# Flux values per block, outside the network.
_FLUX_BLOCK = 2**23


def row_blocks(n, n_wavelengths):
    """Divide spectra into blocks of bounded memory.

    Parameters
    ----------
    n : int
        Number of spectra.
    n_wavelengths : int
        Number of wavelengths per spectrum.

    Returns
    -------
    blocks : list of slice
        Rows of each block, at least one.

    Examples
    --------
    >>> from sk_payne.trained import row_blocks
    >>> row_blocks(3, 2**22)
    [slice(0, 2, None), slice(2, 3, None)]
    """
    step = max(1, _FLUX_BLOCK // max(n_wavelengths, 1))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def add_rows(total, block):
    """Add rows to a sum one by one: rounding does not depend on the size of blocks.

    Parameters
    ----------
    total : ndarray of shape (n_columns,), float64
        The sum, changed in place.
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
