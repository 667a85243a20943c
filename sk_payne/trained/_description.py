"""Columns of P and F: names and units of labels, wavelengths, and their checks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from sk_payne.exceptions import did_you_mean
from sk_payne.inputs import plain_wavelengths
from sk_payne.spectra import check_covered, check_medium

__all__ = [
    "Description",
    "check_grid",
    "check_query",
    "resolve_label_names",
    "resolve_label_units",
]

# Stellar photospheres are dark below the Lyman limit; nm and µm are small numbers.
_SHORTEST = 900.0

# Without wavelengths, pixels are taken to sample R = 100 000: steps of 1e-5 in ln.
_PIXEL_DEX = 1e-5 / np.log(10)


@dataclass(frozen=True, eq=False)
class Description:
    """Columns of P and F of an emulator.

    Parameters
    ----------
    label_names : list of str
        Names of the labels.
    label_units : list of str
        astropy units of the labels, "" where unknown.
    n_wavelengths : int
        Number of wavelengths.
    wavelength : ndarray of shape (n_wavelengths,) or None
        Wavelengths in Å; None if the columns of F are pixels without wavelengths.
    medium : {"air", "vacuum"} or None
        Medium of the wavelengths.
    resolving_power : float, ndarray of shape (n_wavelengths,) or None
        Resolving power of the spectra; None if unknown.
    has_feature_names : bool, default=False
        Whether the names came with the columns of a table.

    Examples
    --------
    >>> from sk_payne.trained import Description
    >>> Description(["teff"], ["K"], 2, None, None, None).log_wavelength.shape
    torch.Size([2])
    """

    label_names: list
    label_units: list
    n_wavelengths: int
    wavelength: np.ndarray | None
    medium: str | None
    resolving_power: float | np.ndarray | None
    has_feature_names: bool = False

    @property
    def log_wavelength(self):
        """Input of a network that takes wavelengths, for the training grid.

        Returns
        -------
        log_wavelength : Tensor of shape (n_wavelengths,), float64
            log10 of the wavelength in Å. Pixels without wavelengths get steps of 1e-5
            in the natural logarithm.
        """
        if self.wavelength is None:
            # starts at one: at zero all sines vanish, and a zero code has no gradients
            pixels = torch.arange(
                1, self.n_wavelengths + 1, dtype=torch.float64, device="cpu"
            )
            return pixels * _PIXEL_DEX
        return torch.from_numpy(np.log10(self.wavelength))

    def slice_grid(self, pixels):
        """Describe a part of the wavelengths.

        Parameters
        ----------
        pixels : slice
            The wavelengths, of a description that has them.

        Returns
        -------
        description : Description
            The same columns of P, and these of F.
        """
        power = self.resolving_power
        wavelength = self.wavelength[pixels]
        return replace(
            self,
            n_wavelengths=len(wavelength),
            wavelength=wavelength,
            resolving_power=power[pixels] if np.ndim(power) else power,
        )

    def resolving_power_at(self, wavelength):
        """Return the resolving power of the emulator at some wavelengths.

        Parameters
        ----------
        wavelength : ndarray of shape (n,)
            Wavelengths in Å, within the grid.

        Returns
        -------
        resolving_power : float, ndarray of shape (n,) or None
            One number if it is the same everywhere, otherwise the resolving power at
            the nearest wavelength of the grid.
        """
        power = self.resolving_power
        if power is None or np.ndim(power) == 0:
            return power
        middles = (self.wavelength[1:] + self.wavelength[:-1]) / 2
        return power[np.searchsorted(middles, wavelength)]

    def check_query(self, wavelength):
        """Check wavelengths for a prediction.

        Parameters
        ----------
        wavelength : array-like of shape (n,)
            Wavelengths in Å.

        Returns
        -------
        wavelength : ndarray of shape (n,), float64
            Wavelengths in Å, a copy.

        Raises
        ------
        ValueError
            If the emulator has no wavelengths, or `wavelength` is not a 1-D array of
            finite numbers.
        WavelengthMismatchError
            If a wavelength is outside the grid, or in one of its gaps.
        """
        return check_query(wavelength, self.wavelength)


def resolve_label_names(label_names, n_labels):
    """Check the names of labels; number them if there are none.

    Parameters
    ----------
    label_names : sequence of str or None
        Names; None if unknown.
    n_labels : int
        Number of columns of P.

    Returns
    -------
    names : list of str
        Names; "label_0", "label_1", ... if unknown.

    Raises
    ------
    ValueError
        If their number is wrong, or a name appears twice.

    Examples
    --------
    >>> from sk_payne.trained import resolve_label_names
    >>> resolve_label_names(None, 2)
    ['label_0', 'label_1']
    """
    if label_names is None:
        return [f"label_{i}" for i in range(n_labels)]
    names = [str(name) for name in label_names]
    if len(names) != n_labels or len(set(names)) != n_labels:
        raise ValueError(
            f"`label_names` must be {n_labels} different names, one for each column of "
            f"P; got {names}."
        )
    return names


def resolve_label_units(label_units, label_names):
    """Check the units of labels, and put them in order.

    Parameters
    ----------
    label_units : sequence of str, mapping of name to str, or None
        Units as astropy reads them.
    label_names : list of str
        Names of the labels.

    Returns
    -------
    units : list of str
        One unit per label; "" where unknown.

    Raises
    ------
    ValueError
        If their number is wrong or a name is unknown.

    Examples
    --------
    >>> from sk_payne.trained import resolve_label_units
    >>> resolve_label_units({"teff": "K"}, ["teff", "Fe_H"])
    ['K', '']
    """
    if label_units is None:
        return [""] * len(label_names)
    if isinstance(label_units, Mapping):
        for name in label_units:
            if name not in label_names:
                raise ValueError(
                    f"`label_units` names {name!r}, but the labels are {label_names}."
                    f"{did_you_mean(name, label_names)}"
                )
        return [str(label_units.get(name, "")) for name in label_names]
    if isinstance(label_units, str) or len(label_units) != len(label_names):
        raise ValueError(
            f"`label_units` must be one unit for each of {label_names}, or a dict; got "
            f"{label_units!r}."
        )
    return [str(unit) for unit in label_units]


def check_grid(wavelength, medium, n_wavelengths):
    """Check the wavelengths of the training set.

    Parameters
    ----------
    wavelength : array-like of shape (n_wavelengths,) or None
        Wavelengths in Å.
    medium : {"air", "vacuum"} or None
        Medium; required with `wavelength`.
    n_wavelengths : int
        Number of columns of the flux.

    Returns
    -------
    wavelength : ndarray of shape (n_wavelengths,), float64, or None
        Wavelengths in Å, a copy.
    medium : str or None
        The medium.

    Raises
    ------
    TypeError
        If the wavelengths carry a unit.
    ValueError
        If wavelengths are not increasing or not in Å, their number is not that of the
        columns of the flux, or the medium is missing.

    Examples
    --------
    >>> from sk_payne.trained import check_grid
    >>> check_grid([4500, 4501], "air", 2)
    (array([4500., 4501.]), 'air')
    """
    if wavelength is None:
        if medium is not None:
            check_medium(medium)
        return None, medium
    wavelength = plain_wavelengths(wavelength)
    if wavelength.shape != (n_wavelengths,):
        raise ValueError(
            f"`wavelength` must have one value for each of the {n_wavelengths} columns "
            f"of the flux; got an array of shape {wavelength.shape}."
        )
    if not np.all(np.isfinite(wavelength)) or np.any(np.diff(wavelength) <= 0):
        raise ValueError(
            "`wavelength` must be finite and strictly increasing; sort it, and the "
            "columns of the flux with it. The first fault is at index "
            f"{_first_fault(wavelength)}."
        )
    if wavelength[0] < _SHORTEST:
        raise ValueError(
            f"`wavelength` must be in Å; {wavelength[0]:g} to {wavelength[-1]:g} looks "
            "like nm or µm. Multiply nm by 10 and µm by 10 000."
        )
    if medium is None:
        raise ValueError(
            "`medium` must be given with `wavelength`: 'air' or 'vacuum'. They differ "
            "by 80 km/s."
        )
    return wavelength, check_medium(medium)


def check_query(wavelength, grid):
    """Check wavelengths for a prediction.

    Parameters
    ----------
    wavelength : array-like of shape (n,)
        Wavelengths in Å.
    grid : ndarray of shape (n_wavelengths,) or None
        Wavelengths of the emulator.

    Returns
    -------
    wavelength : ndarray of shape (n,), float64
        Wavelengths in Å, a copy.

    Raises
    ------
    ValueError
        If the emulator has no wavelengths, or `wavelength` is not a 1-D array of finite
        numbers.
    WavelengthMismatchError
        If a wavelength is outside the grid, or in one of its gaps.

    Examples
    --------
    >>> from sk_payne.trained import check_query
    >>> check_query([4500.5], [4500.0, 4501.0])
    array([4500.5])
    """
    if grid is None:
        raise ValueError(
            "`wavelength` cannot be chosen: the emulator was trained without "
            "wavelengths; pass `wavelength=` and `medium=` to SpectrumEmulator."
        )
    wavelength = plain_wavelengths(wavelength)
    if wavelength.ndim != 1 or not np.all(np.isfinite(wavelength)):
        raise ValueError(
            "`wavelength` must be a 1-D array of finite numbers; got shape "
            f"{wavelength.shape}."
        )
    check_covered(wavelength, grid)
    return wavelength


def _first_fault(wavelength):
    good = np.isfinite(wavelength)
    good[1:] &= np.diff(wavelength) > 0
    return int(np.argmin(good))
