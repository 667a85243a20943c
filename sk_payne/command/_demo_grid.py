"""Grid of the demonstration: its training and test spectra."""

import warnings

import numpy as np

from sk_payne.command._output import echo
from sk_payne.datasets import load_sme_grid
from sk_payne.grids import read_grid

__all__ = ["read_demo_grid", "weights_of"]


def read_demo_grid(arguments):
    """Read the grid; choose the rows to train on and those to test on.

    Parameters
    ----------
    arguments : namespace
        Options `grid`, `drop_bad`, `medium` and `seed`.

    Returns
    -------
    grid : Bunch
        As of :func:`sk_payne.grids.read_grid`.
    train, test : ndarray of int
        Rows.
    """
    if arguments.grid is None:
        grid = load_sme_grid()
        return grid, grid.train_indices, grid.test_indices
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        grid = read_grid(arguments.grid, drop_bad=arguments.drop_bad)
    for warning in caught:
        echo(f"Note: {warning.message}")
    bad = _bad_pixels(grid)
    if bad is not None and bad.any():
        echo(
            f"Note: the grid marks {np.count_nonzero(bad)} flux values as bad; "
            "they have no part in the training."
        )
    if arguments.medium is not None:
        if grid.medium not in (None, arguments.medium):
            raise ValueError(
                f"--medium says {arguments.medium}, but {arguments.grid} says "
                f"{grid.medium}. Leave it out."
            )
        grid.medium = arguments.medium
    if grid.wavelength is not None and grid.medium is None:
        raise ValueError(
            f"{arguments.grid} does not say whether its wavelengths are in air or "
            "vacuum. Pass --medium."
        )
    rows = np.random.default_rng(arguments.seed).permutation(len(grid.data))
    n_test = min(300, len(rows) // 10)
    if n_test < 1:
        raise ValueError(
            f"{arguments.grid} must hold at least 10 spectra, to train on nine tenths "
            f"and test on the rest; got {len(rows)}."
        )
    if bad is not None:
        # spectra with bad pixels can be learned from, but not judged by
        rows = rows[np.argsort(bad[rows].any(axis=1), kind="stable")]
        if bad[rows[:n_test]].any():
            raise ValueError(
                f"{arguments.grid} must hold at least {n_test} spectra without bad "
                "pixels, to test on. Repair some, or leave out the mask."
            )
    return grid, np.sort(rows[n_test:]), np.sort(rows[:n_test])


def _bad_pixels(grid):
    """Mask of the flux, True for bad pixels; None if the grid has none."""
    if grid.uncertainty is None:
        return grid.mask
    bad = ~np.isfinite(grid.uncertainty)
    return bad if grid.mask is None else bad | grid.mask


def weights_of(grid, rows):
    """Give mask and uncertainty of flux, as far as the grid has them.

    Parameters
    ----------
    grid : Bunch
        As of :func:`sk_payne.grids.read_grid`.
    rows : ndarray of int
        Spectra.

    Returns
    -------
    weights : dict of str to ndarray
        Keywords of :meth:`SpectrumEmulator.fit`.
    """
    known = {name: grid.get(name) for name in ("mask", "uncertainty")}
    return {name: array[rows] for name, array in known.items() if array is not None}
