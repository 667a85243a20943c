"""What a stored grid tells an emulator beyond its numbers.

It is here so that nobody types again what the folder of a grid knows.
"""

from typing import NamedTuple

import numpy as np

from sk_payne.emulators._labels import resolve_label_units
from sk_payne.grids import StoredGrid

__all__ = ["Description", "describe", "open_source"]


class Description(NamedTuple):
    """What the columns of P and F are, each None if nothing was said."""

    wavelength: np.ndarray | None
    medium: str | None
    label_names: list | None
    label_units: list | None


def open_source(X, y):
    """Tell a grid from labels and flux.

    Parameters
    ----------
    X : StoredGrid or array-like of shape (n_spectra, n_labels)
        As given to ``fit``.
    y : array-like of shape (n_spectra, n_wavelengths) or None
        As given to ``fit``.

    Returns
    -------
    X : array-like of shape (n_spectra, n_labels)
        Labels.
    y : array-like of shape (n_spectra, n_wavelengths) or None
        Flux.
    grid : StoredGrid or None
        If it was one.

    Raises
    ------
    ValueError
        If there is flux besides a grid.
    """
    if not isinstance(X, StoredGrid):
        return X, y, None
    if y is not None:
        raise ValueError(
            "`y` must be left out when `X` is a StoredGrid, which has its flux; got "
            f"{type(y).__name__}. Pass grid.data and another flux otherwise."
        )
    return X.data, X.target, X


def describe(emulator, grid):
    """Combine what the user said of the columns with what a grid says.

    Parameters
    ----------
    emulator : BaseEmulator
        Its arguments `wavelength`, `medium`, `label_names` and `label_units`.
    grid : StoredGrid or None
        What is fitted.

    Returns
    -------
    description : Description
        The arguments, or what the grid says where they are None.

    Raises
    ------
    ValueError
        If they contradict each other.
    """
    names = Description._fields
    if grid is None:
        return Description(*(getattr(emulator, name) for name in names))
    for name in names:
        given, known = getattr(emulator, name), getattr(grid, name)
        if given is not None and not _agrees(name, given, known, grid.label_names):
            shown = [_shown(value) for value in (known, given)]
            raise ValueError(
                f"`{name}` must be that of the grid '{grid.path}', {shown[0]}; got "
                f"{shown[1]}. Leave it out, or pass grid.data and grid.target."
            )
    return Description(*(getattr(grid, name) for name in names))


def _agrees(name, given, known, label_names):
    if name == "wavelength":
        return np.array_equal(given, known)
    if name == "label_units":
        # what was left open is no contradiction
        units = resolve_label_units(given, label_names)
        return all(unit in ("", k) for unit, k in zip(units, known, strict=True))
    return given == known if name == "medium" else list(given) == list(known)


def _shown(value):
    if isinstance(value, str | dict):
        return repr(value)
    if isinstance(value, list | tuple):
        return repr(list(value))
    return f"{np.size(value)} from {np.min(value):g} to {np.max(value):g} Å"
