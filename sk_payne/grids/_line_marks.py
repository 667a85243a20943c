"""The strongest lines of each element, to mark in a plot."""

import numpy as np

from sk_payne.exceptions import did_you_mean

__all__ = ["lines_by_element"]

# Components closer than this, in Å, are one line.
_CLOSE = 0.1
_THETA = 5040.0 / 5000.0  # 1/eV


def lines_by_element(lines, elements, wavelength_range=None, *, n=5):
    """Pick the strongest lines of elements.

    Strength is the central depth, if the list has it, and otherwise log gf -
    E · 5040/5000 with the lower energy E in eV: the logarithm of the absorber number
    at 5000 K, except for a constant of each ion. Among lines closer than 0.1 Å, such as
    hyperfine components, only the strongest is kept.

    Parameters
    ----------
    lines : astropy.table.QTable
        Line list from :func:`read_line_list`.
    elements : sequence of str
        Elements or molecules ("Fe", "CN"), or single ions of them ("Fe 2").
    wavelength_range : (float, float), default=None
        First and last wavelength in Å, in the medium of the list; all lines if None.
    n : int, default=5
        Largest number of lines per element.

    Returns
    -------
    marks : dict of str to ndarray
        Wavelengths in Å of each element, increasing, in the medium of the list; for
        ``SpectrumFitDisplay.plot(lines=...)``.

    Raises
    ------
    ValueError
        If an element is not in the list, or another argument is out of its range.

    See Also
    --------
    sk_payne.inspection.SpectrumFitDisplay : Draws the marks.
    sk_payne.spectra.convert_medium : Converts wavelengths to the other medium.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from sk_payne.grids import lines_by_element
    >>> lines = QTable({
    ...     "wavelength": [5167.32, 5172.68, 5183.60, 5183.61] * u.AA,
    ...     "element": ["Mg"] * 4, "species": ["Mg 1"] * 4,
    ...     "e_lower": [2.709, 2.712, 2.717, 2.717] * u.eV,
    ...     "log_gf": [-0.854, -0.363, -0.168, -1.0], "depth": [np.nan] * 4,
    ... })
    >>> lines_by_element(lines, ["Mg"], n=2)
    {'Mg': array([5172.68, 5183.6 ])}
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"`n` must be a positive integer; got {n!r}.")
    if isinstance(elements, str):
        raise ValueError(
            "`elements` must be a sequence of names; got the single string "
            f"{elements!r}. Pass [{elements!r}] instead."
        )
    wavelength = lines["wavelength"].to_value("AA")
    low, high = _check_range(wavelength_range)
    inside = (wavelength >= low) & (wavelength <= high)
    strength = _strength(lines)
    marks = {}
    for element in elements:
        own = _lines_of(lines, element) & inside
        marks[element] = _strongest(wavelength[own], strength[own], n)
    return marks


def _check_range(wavelength_range):
    if wavelength_range is None:
        return 0.0, np.inf
    problem = ValueError(
        "`wavelength_range` must be two increasing wavelengths in Å, such as "
        f"(4500.0, 4600.0); got {wavelength_range!r}."
    )
    try:
        low, high = (float(value) for value in wavelength_range)
    except (TypeError, ValueError):
        raise problem from None
    if not low < high:
        raise problem
    return low, high


def _lines_of(lines, element):
    column = "species" if " " in element else "element"
    own = np.asarray(lines[column]) == element
    if not own.any():
        known = sorted(set(np.asarray(lines[column]).tolist()))
        raise ValueError(
            f"`elements` must be in the list of lines, which holds {known}; got "
            f"{element!r}.{did_you_mean(element, known)}"
        )
    return own


def _strength(lines):
    depth = np.asarray(lines["depth"])
    if np.isfinite(depth).any():
        return np.nan_to_num(depth, nan=0.0)
    return np.asarray(lines["log_gf"]) - _THETA * lines["e_lower"].to_value("eV")


def _strongest(wavelength, strength, n):
    chosen = []
    for candidate in wavelength[np.argsort(-strength, kind="stable")].tolist():
        if all(abs(candidate - other) > _CLOSE for other in chosen):
            chosen.append(candidate)
        if len(chosen) == n:
            break
    return np.sort(chosen)
