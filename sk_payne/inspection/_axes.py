"""Axes to draw on, and the one place that asks for matplotlib.

It is here because every display starts the same way.
"""

import math

import numpy as np

from sk_payne.exceptions import did_you_mean
from sk_payne.spectra import break_at_gaps, grid_segments, is_covered

__all__ = [
    "broken_lines",
    "chosen_labels",
    "covered_lines",
    "import_pyplot",
    "segments_of",
    "wavelength_label",
    "with_error",
    "with_unit",
]


def import_pyplot():
    """Import matplotlib, or say how to get it.

    Returns
    -------
    pyplot : module
        ``matplotlib.pyplot``.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "Plotting needs matplotlib; install it with pip install 'sk_payne[plot]'."
        ) from error
    return pyplot


def segments_of(wavelength):
    """Segments of an axis of wavelengths in Å; one, of pixel numbers."""
    if _are_pixels(wavelength):
        return [slice(0, len(wavelength))]
    return grid_segments(wavelength)


def broken_lines(wavelength, *values):
    """Give what is drawn over an axis, so that no line crosses a gap of it."""
    if _are_pixels(wavelength):
        return [wavelength, *values]
    return break_at_gaps(wavelength, *values)


def covered_lines(at, wavelength):
    """Spectral lines that an axis of wavelengths covers, not those in its gaps."""
    at = np.asarray(at, dtype=float)
    if _are_pixels(wavelength):
        return at[(at >= wavelength[0]) & (at <= wavelength[-1])]
    return at[is_covered(at, at, wavelength)]


def _are_pixels(wavelength):
    return np.asarray(wavelength).dtype.kind in "iu"


def wavelength_label(medium):
    """Label of a wavelength axis."""
    return f"wavelength in {medium} [Å]" if medium else "pixel"


def with_error(value, error):
    """Value and error with two digits of the error."""
    if not (math.isfinite(error) and error > 0):
        return f"{value:.4g} ± {error:.2g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def with_unit(name, unit):
    """Name of a label with its unit, if it has one."""
    return f"{name} [{unit}]" if unit else name


def chosen_labels(labels, known):
    """Names of the labels to draw, all if None.

    Raises
    ------
    ValueError
        If one is not known.
    """
    labels = list(known) if labels is None else list(labels)
    for name in labels:
        if name not in known:
            raise ValueError(
                f"`labels` must be among {list(known)}; got {name!r}."
                f"{did_you_mean(name, known)}"
            )
    return labels
